"""Reads files of ``torch.save`` without torch, and without running what they hold.

The format (torch's serialisation notes and ``torch/csrc/serialize``): a zip archive of uncompressed
members, ``<root>/data.pkl`` with a pickle in which a tensor is a call of ``_rebuild_tensor_v2`` on
a storage, and ``<root>/data/<key>`` with each storage's bytes. Values are read when asked for.
"""

from __future__ import annotations

import math
import zipfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bci_lfads.errors import ModelError
from bci_lfads.models.inert_pickle import MAX_BYTES as MAX_PICKLE
from bci_lfads.models.inert_pickle import Built, Name, load

MAX_BYTES = 1 << 32
"""Of a file: checkpoints hold their optimiser's state too."""
MAX_ELEMENTS = 1 << 26
"""Of a tensor that is read."""
_MAX_MEMBERS = 100_000
_FEW = 64
_STORAGES = {
    "DoubleStorage": "f8", "FloatStorage": "f4", "HalfStorage": "f2", "BFloat16Storage": "bf16",
    "LongStorage": "i8", "IntStorage": "i4", "ShortStorage": "i2", "CharStorage": "i1",
    "ByteStorage": "u1", "BoolStorage": "?",
}  # fmt: skip


@dataclass(frozen=True)
class Storage:
    """Where the numbers of tensors are."""

    key: str
    kind: str
    """NumPy's code of their type, or ``bf16``."""
    size: int


@dataclass(frozen=True)
class StoredTensor:
    """A tensor that has not been read."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class TorchFile:
    """A file of ``torch.save``, open.

    Attributes
    ----------
    content
        What was saved: plain values, `StoredTensor` and `Inert`.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    ModelError
        If it cannot be read, or is not what torch writes.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._size = path.stat().st_size
            if self._size > MAX_BYTES:
                raise ModelError(f"{path} has {self._size} bytes; at most {MAX_BYTES} are read")
            self._zip = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError) as error:
            raise ModelError(
                f"{path} cannot be read as a zip archive ({error}); it is damaged or cut short. "
                "Fetch it again"
            ) from error
        try:
            self._open()
        except BaseException:
            self._zip.close()
            raise

    def _open(self) -> None:
        names = self._zip.namelist()
        roots = [n[: -len("data.pkl")] for n in names if n == "data.pkl" or n.endswith("/data.pkl")]
        if len(names) > _MAX_MEMBERS or len(roots) != 1:
            kind = "TorchScript" if any(n.endswith("constants.pkl") for n in names) else "zip"
            raise ModelError(
                f"{self._path} is a {kind} archive of {len(names)} members and not a checkpoint of "
                f"torch.save: it has {len(roots)} of data.pkl and should have one"
            )
        self._root = roots[0]
        if f"{self._root}constants.pkl" in names:
            raise ModelError(
                f"{self._path} is a TorchScript archive; give the checkpoint (.ckpt) itself"
            )
        order = "little"
        if f"{self._root}byteorder" in names:
            order = self._member("byteorder", 16).decode("ascii", "replace")
        if order not in ("little", "big"):
            raise ModelError(f"{self._path} has byte order {order!r}; expected little or big")
        self._order: Literal["<", ">"] = "<" if order == "little" else ">"
        try:
            self.content = load(self._member("data.pkl", MAX_PICKLE), _BUILT, _storage)
        except ModelError as error:
            raise ModelError(f"{self._path}: {error}") from error

    def _member(self, name: str, largest: int) -> bytes:
        full = self._root + name
        try:
            info = self._zip.getinfo(full)
            if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
                raise ModelError(
                    f"{self._path}: {full} is compressed, which torch never does; it is not read"
                )
            if info.file_size > min(largest, self._size):
                raise ModelError(
                    f"{self._path}: {full} says it has {info.file_size} bytes; at most "
                    f"{min(largest, self._size)} are expected"
                )
            return self._zip.read(info)
        except KeyError as error:
            raise ModelError(f"{self._path} lacks {full}; it is damaged. Fetch it again") from error
        except (
            OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError,
        ) as error:  # fmt: skip
            raise ModelError(
                f"{self._path}: {full} cannot be read ({error}); it is damaged. Fetch it again"
            ) from error

    def read(self, tensor: StoredTensor) -> NDArray[Any]:
        """Return a tensor's values; half and bfloat16 as float32.

        Raises
        ------
        ModelError
            If its bytes are not there, or are too few or too many.
        """
        storage = tensor.storage
        code = "u2" if storage.kind == "bf16" else storage.kind
        dtype = np.dtype(code).newbyteorder(self._order)
        if math.prod(tensor.shape) > MAX_ELEMENTS:
            raise ModelError(f"{self._path}: a tensor of shape {tensor.shape} is too large")
        last = tensor.offset + sum(
            (n - 1) * step for n, step in zip(tensor.shape, tensor.strides, strict=True)
        )
        if 0 not in tensor.shape and last >= storage.size:
            raise ModelError(
                f"{self._path}: a tensor of shape {tensor.shape} reaches beyond its "
                f"{storage.size} numbers"
            )
        if 0 in tensor.shape:
            return np.zeros(tensor.shape, np.float32 if code in ("u2", "f2") else code)
        data = self._member(f"data/{storage.key}", self._size)
        if len(data) != storage.size * dtype.itemsize:
            raise ModelError(
                f"{self._path}: storage {storage.key} has {len(data)} bytes and should have "
                f"{storage.size * dtype.itemsize}; it is damaged"
            )
        flat = np.frombuffer(data, dtype)
        if storage.kind == "bf16":  # the upper half of a float32
            flat = (flat.astype(np.uint32) << 16).view(np.float32)
        view = np.lib.stride_tricks.as_strided(
            flat[tensor.offset :], tensor.shape, [s * flat.itemsize for s in tensor.strides]
        )
        return view.astype(np.float32 if storage.kind == "f2" else flat.dtype.newbyteorder("="))

    def close(self) -> None:
        """Close the file."""
        self._zip.close()

    def __enter__(self) -> TorchFile:
        """Return the file."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()


@dataclass(frozen=True)
class _NumpyType:
    code: str


def _scalar(kind: _NumpyType, data: bytes) -> float | int | bool:
    if kind.code not in ("f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "b1"):
        raise ModelError(f"its pickle has a number of NumPy's type {kind.code!r}")
    value: float | int | bool = np.frombuffer(data, f"<{kind.code}", 1)[0].item()
    return value


def _latin(text: str, encoding: str) -> bytes:
    # How pickles of protocol 2 spell bytes; those of numbers are a few.
    if encoding != "latin1" or len(text) > _FEW:
        raise ModelError("its pickle has bytes in another form than numbers have")
    return text.encode("latin1")


def _sizes(sizes: Any) -> tuple[Any, ...]:
    if len(sizes) > _FEW:
        raise ModelError("its pickle has a tensor of more axes than there are")
    return tuple(sizes)


def _storage(identifier: Any) -> Storage:
    match identifier:
        case ("storage", Name("torch", kind), str(key), _, int(size)) if kind in _STORAGES:
            if key.isascii() and key.isalnum() and size >= 0:
                return Storage(key, _STORAGES[kind], size)
    raise ModelError("its pickle has a tensor of a kind that is not known")


def _rebuilt(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> StoredTensor:
    numbers = (offset, *_sizes(shape), *_sizes(strides))
    if (
        not isinstance(storage, Storage)
        or len(shape) != len(strides)
        or any(type(n) is not int or not 0 <= n < 1 << 40 for n in numbers)
    ):
        raise ModelError("its pickle has a tensor with a shape that is none")
    return StoredTensor(storage, offset, tuple(shape), tuple(strides))


_BUILT: Built = {
    # As pickles have them, dictionaries are called with nothing and filled afterwards.
    ("collections", "OrderedDict"): dict,
    ("pytorch_lightning.utilities.parsing", "AttributeDict"): dict,
    ("lightning.pytorch.utilities.parsing", "AttributeDict"): dict,
    ("lightning_fabric.utilities.data", "AttributeDict"): dict,
    ("lightning.fabric.utilities.data", "AttributeDict"): dict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuilt,
    ("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
    ("torch._utils", "_rebuild_parameter_with_state"): lambda tensor, *_: tensor,
    ("torch", "Size"): _sizes,
    ("_codecs", "encode"): _latin,
    ("numpy", "dtype"): lambda code, *_: _NumpyType(code if isinstance(code, str) else ""),
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy._core.multiarray", "scalar"): _scalar,
}
"""All that a file may call."""
