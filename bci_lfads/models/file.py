"""Reading and writing the model file: safetensors with one JSON document as metadata.

Tensors are ``float/<name>`` and ``fixed/<name>``; a model with a controller has no ``fixed``.
A file may come from anywhere, so nothing in
it is believed: sizes are checked before data is read, and the model checks the rest.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from bci_lfads.errors import ModelError
from bci_lfads.models.alignment import Alignment
from bci_lfads.models.fixed import FixedPoint
from bci_lfads.models.spec import LfadsSpec

if TYPE_CHECKING:
    from bci_lfads.models.model import Model

FORMAT = "bci-lfads model"
VERSION = 2
"""Newest version that is read."""
MAX_BYTES = 1 << 30
"""Far above any model that a kernel could hold."""
MAX_HEADER_BYTES = 1 << 20
_TYPES = {"F32": np.float32, "I16": np.int16, "I32": np.int32}


class _Fixed(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    points: dict[str, int]
    encoder_point: int
    ic_point: int
    generator_point: int
    factor_point: int
    log_rate_point: int
    weight_bits: int
    encoder_drop: int = 0
    generator_drop: int = 0


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid")

    spec: LfadsSpec
    fixed: _Fixed | None
    unit_labels: tuple[str, ...]
    bin_width: float
    alignment: Alignment | None
    provenance: dict[str, str]


def write_model(model: Model, path: Path) -> None:
    """Write `model` to `path`; see `Model.save`."""
    document = _Document.model_validate({**model.content(), "provenance": dict(model.provenance)})
    tensors: dict[str, NDArray[Any]] = {
        f"float/{name}": value for name, value in model.weights.items()
    }
    if model.fixed is not None:
        tensors |= {f"fixed/{name}": value for name, value in model.fixed.tensors.items()}
    # Files that could always be read say so still.
    newer = model.spec.variational is not None or model.spec.controller is not None
    metadata = {
        "format": FORMAT,
        "format_version": str(VERSION if newer else 1),
        "hash": model.hash,
        "model": document.model_dump_json(),
    }
    # Written beside and moved into place: a reader never sees half a file.
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        try:
            part.write_bytes(save(tensors, metadata))
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise ModelError(f"cannot write the model to {path}: {error.strerror or error}") from error


def read_model(path: Path) -> Model:
    """Read the model file at `path`; see `Model.load`."""
    from bci_lfads.models.model import Model

    _check_size(path)
    try:
        with safe_open(path, framework="numpy") as file:
            document = _document(path, file.metadata() or {})
            tensors = _tensors(path, file, document)
            stated = file.metadata().get("hash")
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"{path} is not a readable safetensors file ({error}); it is damaged, cut short or of "
            "another kind. Fetch it again, or make one with 'bci-lfads model import'"
        ) from error
    fixed = None
    if document.fixed is not None:
        fixed = FixedPoint(tensors=tensors["fixed"], **document.fixed.model_dump())
    try:
        model = Model(
            document.spec,
            tensors["float"],
            fixed,
            document.unit_labels,
            document.bin_width,
            document.alignment,
            document.provenance,
        )
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    if stated != model.hash:
        raise ModelError(
            f"{path}: the content's hash is {model.hash[:12]}…, the file says "
            f"{str(stated)[:12]}…; it was changed or damaged after it was made. Fetch it again"
        )
    return model


def _check_size(path: Path) -> None:
    try:
        if not path.is_file():
            raise ModelError(f"no model file at {path}; give the path of a .safetensors file")
        size = path.stat().st_size
        with path.open("rb") as stream:
            start = stream.read(8)
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror or error}") from error
    if size > MAX_BYTES:
        raise ModelError(
            f"{path} is {size / 2**20:.0f} MiB; a model file has at most {MAX_BYTES / 2**20:.0f}"
        )
    header = int.from_bytes(start, "little")
    if len(start) < 8 or header > size - 8:
        raise ModelError(
            f"{path} is not a safetensors file, or is cut short ({size} bytes); fetch it again, "
            "or make one with 'bci-lfads model import'"
        )
    if header > MAX_HEADER_BYTES:
        raise ModelError(
            f"{path} has a header of {header} bytes; a model file's has at most {MAX_HEADER_BYTES}"
        )


def _document(path: Path, metadata: dict[str, str]) -> _Document:
    if metadata.get("format") != FORMAT:
        raise ModelError(
            f"{path} is a safetensors file but not a bci-lfads model (format is "
            f"{metadata.get('format')!r}); import models of other programs with "
            "'bci-lfads model import'"
        )
    version = metadata.get("format_version", "")
    if not version.isascii() or not version.isdigit() or int(version[:9]) < 1:
        raise ModelError(f"{path} has format version {version[:20]!r}; expected a number from 1")
    if int(version[:9]) > VERSION:
        raise ModelError(
            f"{path} has format version {version[:20]}, this bci-lfads reads up to {VERSION}; "
            "update bci-lfads"
        )
    try:
        return _Document.model_validate_json(metadata.get("model", ""))
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(str(p) for p in e['loc']) or 'document'}: {e['msg']}"
            for e in error.errors(include_url=False)[:5]
        )
        raise ModelError(f"{path}: its description is wrong: {wrong}; export it again") from error


def _tensors(path: Path, file: Any, document: _Document) -> dict[str, dict[str, NDArray[Any]]]:
    """Return the tensors by group and name, after a look at every name, type and shape."""
    from bci_lfads.models.model import fixed_dtype

    shapes = document.spec.float_shapes()
    expected: dict[str, type[np.generic]] = {f"float/{name}": np.float32 for name in shapes}
    if document.fixed is not None:
        expected |= {f"fixed/{n}": fixed_dtype(n) for n in document.spec.weight_shapes()}
    found = set(file.keys())
    if found != set(expected):
        missing, unknown = sorted(set(expected) - found), sorted(found - set(expected))
        raise ModelError(
            f"{path}: lacks tensors {missing[:5] or 'none'} and has unknown {unknown[:5] or 'none'}"
            "; export the model again"
        )
    for key, dtype in expected.items():
        entry = file.get_slice(key)
        shape = shapes[key.split("/", 1)[1]]
        if _TYPES.get(entry.get_dtype()) is not dtype or tuple(entry.get_shape()) != shape:
            raise ModelError(
                f"{path}: tensor {key} should be {dtype.__name__} of shape {shape}; found "
                f"{entry.get_dtype()} of shape {tuple(entry.get_shape())}; export the model again"
            )
    groups: dict[str, dict[str, NDArray[Any]]] = {"float": {}, "fixed": {}}
    for key in expected:
        group, name = key.split("/", 1)
        groups[group][name] = file.get_tensor(key)
    return groups
