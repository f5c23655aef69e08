"""Reads a pickle as data: nothing that it names is imported, and only an exact list is computed.

A pickle is a program for a stack machine (Python's ``pickletools`` documents it). This one runs it
on plain values alone. What the program calls is looked up in `Built`, a table of functions of this
project; anything else of another package becomes `Inert`, a name without content, and what the
standard library has beyond a few harmless types is refused, as no model has use for it.
"""

from __future__ import annotations

import pickletools
import re
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bci_lfads.errors import ModelError

MAX_BYTES = 1 << 25
Built = Mapping[tuple[str, str], Callable[..., Any]]
"""What a pickle may call, by module and name."""
_HARMLESS = {
    "builtins": "bool bytearray bytes complex dict float frozenset int list object range set slice "
    "str tuple",
    "collections": "OrderedDict defaultdict deque",
    "datetime": "date datetime timedelta",
    "pathlib": "Path PosixPath PurePosixPath PureWindowsPath WindowsPath",
    "argparse": "Namespace",
    "copyreg": "_reconstructor",
}
"""Of the standard library: these become inert where a pickle names them."""
_OLD_NAMES = {"__builtin__": "builtins", "copy_reg": "copyreg"}
_KEYS = (str, int, float, bool, bytes, type(None))
_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_VALUES = re.compile(
    r"(BIN)?INT[12]?|LONG[14]?|(BIN)?FLOAT|((SHORT_)?BIN)?(STRING|UNICODE8?)|"
    r"(SHORT_)?BINBYTES8?|BYTEARRAY8"
)
"""Instructions that push a plain value."""


@dataclass(frozen=True)
class Name:
    """A class or function that a pickle names."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(frozen=True)
class Inert:
    """An object of another package that was not made: what its class is called."""

    kind: Name


def load(pickle: bytes, built: Built, persistent: Callable[[Any], Any]) -> Any:
    """Return what a pickle describes.

    Dictionaries keep entries whose keys are plain; sets become lists.

    Parameters
    ----------
    pickle
        The program.
    built
        What it may call.
    persistent
        Makes what a persistent identifier stands for.

    Raises
    ------
    ModelError
        If it is damaged, or names or does what no model has use for.
    """
    if len(pickle) > MAX_BYTES:
        raise ModelError(f"its pickle has {len(pickle)} bytes; at most {MAX_BYTES} are read")
    try:
        with warnings.catch_warnings():
            # Of escapes in damaged text, which the parser decodes as it can.
            warnings.simplefilter("ignore", DeprecationWarning)
            return _Machine(built, persistent).run(pickle)
    except (
        AttributeError, IndexError, KeyError, LookupError, MemoryError, OverflowError, TypeError,
        ValueError,
    ) as error:  # fmt: skip
        raise ModelError(f"its pickle is damaged ({type(error).__name__}: {error})") from error


class _Machine:
    def __init__(self, built: Built, persistent: Callable[[Any], Any]) -> None:
        self._built, self._persistent = built, persistent
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def run(self, pickle: bytes) -> Any:
        for code, argument, _ in pickletools.genops(pickle):
            name = code.name
            if name == "STOP":
                return self._stack.pop()
            if _VALUES.fullmatch(name):
                self._stack.append(argument)
            elif name in _CONSTANTS:
                self._stack.append(_CONSTANTS[name])
            elif name not in ("PROTO", "FRAME"):
                step = getattr(self, f"_do_{name.lower()}", None)
                if step is None:
                    raise ModelError(f"its pickle has the instruction {name}, which no model needs")
                step(argument)
        raise ModelError("its pickle is cut short")

    def _since_mark(self) -> list[Any]:
        start = self._marks.pop()
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def _name(self, module: str, name: str) -> Name:
        module = _OLD_NAMES.get(module, module)
        found = Name(module, name)
        if (module, name) in self._built:
            return found
        if module.split(".")[0] in sys.stdlib_module_names and (
            name not in _HARMLESS.get(module, "").split()
        ):
            raise ModelError(
                f"its pickle asks for {found}, which no model needs: the file may be meant to run "
                "a program on the machine that opens it. Nothing of it was run; do not open it "
                "with other software"
            )
        return found

    def _made(self, kind: Any, arguments: Any) -> Any:
        if not isinstance(kind, Name) or not isinstance(arguments, tuple):
            raise ModelError("its pickle calls what is no function or class")
        build = self._built.get((kind.module, kind.name))
        return Inert(kind) if build is None else build(*arguments)

    def _put(self, items: list[Any]) -> None:
        held = self._stack[-1]
        if isinstance(held, dict):
            for key, value in zip(items[::2], items[1::2], strict=True):
                if isinstance(key, _KEYS):
                    held[key] = value
        elif not isinstance(held, Inert):
            raise ModelError("its pickle sets items of what has none")

    def _add(self, items: list[Any]) -> None:
        held = self._stack[-1]
        if isinstance(held, list):
            held.extend(items)
        elif not isinstance(held, Inert):
            raise ModelError("its pickle appends to what is no list")

    # Instructions, by their names in pickletools.

    def _do_mark(self, _: Any) -> None:
        self._marks.append(len(self._stack))

    def _do_pop(self, _: Any) -> None:
        self._stack.pop()

    def _do_pop_mark(self, _: Any) -> None:
        self._since_mark()

    def _do_dup(self, _: Any) -> None:
        self._stack.append(self._stack[-1])

    def _do_empty_list(self, _: Any) -> None:
        self._stack.append([])

    _do_empty_set = _do_empty_list

    def _do_empty_dict(self, _: Any) -> None:
        self._stack.append({})

    def _do_empty_tuple(self, _: Any) -> None:
        self._stack.append(())

    def _do_list(self, _: Any) -> None:
        self._stack.append(self._since_mark())

    _do_frozenset = _do_list

    def _do_dict(self, _: Any) -> None:
        items = self._since_mark()
        self._stack.append({})
        self._put(items)

    def _do_tuple(self, _: Any) -> None:
        self._stack.append(tuple(self._since_mark()))

    def _last(self, n: int) -> None:
        if len(self._stack) < n:
            raise ModelError("its pickle is damaged: a tuple of more than there is")
        items = tuple(self._stack[-n:])
        del self._stack[-n:]
        self._stack.append(items)

    def _do_tuple1(self, _: Any) -> None:
        self._last(1)

    def _do_tuple2(self, _: Any) -> None:
        self._last(2)

    def _do_tuple3(self, _: Any) -> None:
        self._last(3)

    def _do_append(self, _: Any) -> None:
        self._add([self._stack.pop()])

    def _do_appends(self, _: Any) -> None:
        self._add(self._since_mark())

    _do_additems = _do_appends

    def _do_setitem(self, _: Any) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._put([key, value])

    def _do_setitems(self, _: Any) -> None:
        self._put(self._since_mark())

    def _do_memoize(self, _: Any) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _do_put(self, index: Any) -> None:
        self._memo[index] = self._stack[-1]

    _do_binput = _do_long_binput = _do_put

    def _do_get(self, index: Any) -> None:
        self._stack.append(self._memo[index])

    _do_binget = _do_long_binget = _do_get

    def _do_global(self, both: str) -> None:
        module, _, name = both.partition(" ")
        self._stack.append(self._name(module, name))

    def _do_stack_global(self, _: Any) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        if not isinstance(module, str) or not isinstance(name, str):
            raise ModelError("its pickle names a class or function by what is no text")
        self._stack.append(self._name(module, name))

    def _do_reduce(self, _: Any) -> None:
        arguments, kind = self._stack.pop(), self._stack.pop()
        self._stack.append(self._made(kind, arguments))

    _do_newobj = _do_reduce

    def _do_newobj_ex(self, _: Any) -> None:
        self._stack.pop()
        self._do_reduce(None)

    def _do_inst(self, both: str) -> None:
        arguments = tuple(self._since_mark())
        module, _, name = both.partition(" ")
        self._stack.append(self._made(self._name(module, name), arguments))

    def _do_obj(self, _: Any) -> None:
        kind, *arguments = self._since_mark()
        self._stack.append(self._made(kind, tuple(arguments)))

    def _do_build(self, _: Any) -> None:
        self._stack.pop()  # the state of an object: attributes, which plain values do not have

    def _do_binpersid(self, _: Any) -> None:
        self._stack.append(self._persistent(self._stack.pop()))
