"""Models of other programs: which importer takes a file is decided by its content."""

from __future__ import annotations

from pathlib import Path

from bci_lfads.apart import read_apart
from bci_lfads.errors import ModelError
from bci_lfads.models.keras_import import convert
from bci_lfads.models.lfads_torch_import import import_lfads_torch
from bci_lfads.models.model import Model

SUPPORTED = (
    "Keras HDF5 files of the published LFADS model (arXiv 2402.04274) and checkpoints of "
    "lfads-torch (.ckpt)"
)
_ZIP = b"PK\x03\x04"
_HDF5 = b"\x89HDF\r\n\x1a\n"


def import_model(
    path: Path | str,
    bin_width: float | None = None,
    unit_labels: tuple[str, ...] | None = None,
    *,
    session: str | None = None,
    poisson: bool = False,
) -> Model:
    """Return the model in a file of another program.

    A Keras file is read in a process of its own (`bci_lfads.apart`).

    Parameters
    ----------
    path
        The file.
    bin_width
        Seconds, where the file does not say or says wrongly.
    unit_labels
        One a unit; default ``u0``, ``u1``...
    session, poisson
        Of checkpoints of lfads-torch; see `import_lfads_torch`.

    Raises
    ------
    ModelError
        If the file cannot be read or is of a kind that is not supported, saying which are.
    """
    path = Path(path)
    try:
        if not path.is_file():
            raise ModelError(f"no file at {path}; give the path of a model to import")
        with path.open("rb") as stream:
            start = stream.read(16)
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror or error}") from error
    if start.startswith(_ZIP):
        return import_lfads_torch(
            path, bin_width=bin_width, unit_labels=unit_labels, session=session, poisson=poisson
        )
    if session is not None or poisson:
        raise ModelError(f"{path} is no checkpoint of lfads-torch, which alone has sessions")
    if start.startswith(_HDF5):
        return read_apart(
            convert, path, Model.load, ModelError, bin_width=bin_width, unit_labels=unit_labels
        )
    raise ModelError(f"{path} is {_kind(start)}; supported: {SUPPORTED}")


def _kind(start: bytes) -> str:
    if start.startswith(b"\x80"):
        return (
            "a pickle, such as PyTorch wrote before version 1.6; if you trust it, load it there "
            "and save it again"
        )
    if start[8:9] == b"{":
        return (
            "a safetensors file: a bci-lfads model is used as it is, others are not supported yet"
        )
    return "empty" if not start else f"of an unknown kind (it starts with {start[:8]!r})"
