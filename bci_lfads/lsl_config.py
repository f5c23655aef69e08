"""LSL's own settings, as a rig file's ``[lsl]`` asks for them.

They belong to a process and are read once, before LSL does anything, from the file that the
variable ``LSLAPICFG`` names, or else from the first of some usual places. A rig file says only what
it changes: all else stays as that file has it.
"""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterator
from configparser import Error as ParsingError
from configparser import RawConfigParser
from contextlib import contextmanager
from pathlib import Path

from bci_lfads.errors import RigError
from bci_lfads.rig import LslSettings

VARIABLE = "LSLAPICFG"
_PLACES = (Path("lsl_api.cfg"), Path("~/lsl_api/lsl_api.cfg"), Path("/etc/lsl_api/lsl_api.cfg"))


def config_file() -> Path | None:
    """Return the file that LSL reads in this process, if there is one."""
    if named := os.environ.get(VARIABLE):
        return Path(named)
    return next((p for p in map(Path.expanduser, _PLACES) if p.is_file()), None)


def config_of(settings: LslSettings) -> str:
    """Return the text of a file with what `settings` ask for, and all else as it is in force.

    Raises
    ------
    RigError
        If the file in force cannot be read.
    """
    found = _read(config_file())
    for section, option, value in _asked(settings):
        if not found.has_section(section):
            found.add_section(section)
        found.set(section, option, value)
    text = io.StringIO()
    found.write(text)
    return text.getvalue()


def differences(settings: LslSettings) -> list[str]:
    """Return, in words, which of `settings` are not in force in this process."""
    found = _read(config_file())
    return [
        f"{option} is {found.get(section, option, fallback='not set')}, the rig asks for {value}"
        for section, option, value in _asked(settings)
        if found.get(section, option, fallback=None) != value
    ]


@contextmanager
def using(settings: LslSettings) -> Iterator[None]:
    """Have this process, and those that it starts, use `settings` from now on.

    Enter it before LSL does anything. It changes nothing where they are in force already.
    """
    if not differences(settings):
        yield
        return
    before = os.environ.get(VARIABLE)
    with tempfile.TemporaryDirectory(prefix="bci-lfads-lsl-") as folder:
        file = Path(folder) / "lsl_api.cfg"
        file.write_text(config_of(settings), "utf-8")
        os.environ[VARIABLE] = str(file)
        try:
            yield
        finally:
            os.environ.pop(VARIABLE)
            if before is not None:
                os.environ[VARIABLE] = before


def _asked(settings: LslSettings) -> list[tuple[str, str, str]]:
    asked = []
    if settings.session_id is not None:
        asked.append(("lab", "SessionID", settings.session_id))
    if settings.known_peers:
        asked.append(("lab", "KnownPeers", f"{{{', '.join(settings.known_peers)}}}"))
    if settings.scope is not None:
        asked.append(("multicast", "ResolveScope", settings.scope))
    return asked


def _read(file: Path | None) -> RawConfigParser:
    parser = RawConfigParser(strict=False, comment_prefixes=(";", "#"), delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    if file is None or not file.is_file():
        return parser
    try:
        parser.read_string(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, ParsingError) as error:
        raise RigError(f"cannot read LSL's settings in {file}: {error}") from error
    return parser
