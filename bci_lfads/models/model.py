"""A model as one file: float weights, the kernel's integers, and all that gives them meaning."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bci_lfads.errors import ModelError
from bci_lfads.models.alignment import Alignment
from bci_lfads.models.fixed import FixedPoint
from bci_lfads.models.image import check_ranges
from bci_lfads.models.quantise import check_weights, quantise
from bci_lfads.models.spec import LfadsSpec


@dataclass(frozen=True, eq=False)
class Model:
    """An LFADS model, ready for every engine. Its arrays are read-only.

    Attributes
    ----------
    spec
        Sizes and form.
    weights
        Float32 weights by the names of `LfadsSpec.float_shapes`. The readout gives the natural
        logarithm of Hz whatever the convention of the model's origin.
    fixed
        The same model as the kernel's integers; None where it has a controller, which the kernel
        does not compute.
    unit_labels
        One a unit, unique, in the order of the counts' columns.
    bin_width
        Seconds.
    alignment
        Where its windows lay in a trial, where that is known.
    provenance
        Where it comes from; not part of `hash`.

    Raises
    ------
    ModelError
        Where the parts do not fit each other, or the kernel could overflow.
    """

    spec: LfadsSpec
    weights: Mapping[str, NDArray[np.float32]]
    fixed: FixedPoint | None
    unit_labels: tuple[str, ...]
    bin_width: float
    alignment: Alignment | None = None
    provenance: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_weights(self.spec, self.weights)
        if self.fixed is None and self.spec.controller is None:
            raise ModelError("the model lacks its fixed-point form; export it again")
        if self.fixed is not None:
            check_fixed(self.spec, self.fixed)
        _check_labels(self.spec, self.unit_labels)
        if not (np.isfinite(self.bin_width) and 0 < self.bin_width <= 10):
            raise ModelError(
                f"the bin width is {self.bin_width} s; expected seconds, above 0 and at most 10"
            )
        object.__setattr__(self, "weights", _frozen(self.weights, np.float32))
        if self.fixed is not None:
            fixed = FixedPoint(
                _frozen(self.fixed.tensors),
                MappingProxyType(dict(self.fixed.points)),
                **{name: getattr(self.fixed, name) for name in _FIXED_NUMBERS},
            )
            object.__setattr__(self, "fixed", fixed)
        object.__setattr__(self, "unit_labels", tuple(self.unit_labels))
        object.__setattr__(self, "bin_width", float(self.bin_width))
        object.__setattr__(self, "provenance", MappingProxyType(dict(self.provenance)))

    @classmethod
    def from_weights(
        cls,
        spec: LfadsSpec,
        weights: Mapping[str, NDArray[np.float32]],
        *,
        unit_labels: tuple[str, ...],
        bin_width: float,
        calibration: NDArray[np.uint8] | None = None,
        weight_bits: int = 16,
        product_bits: int = 16,
        alignment: Alignment | None = None,
        provenance: Mapping[str, str] | None = None,
    ) -> Model:
        """Quantise float weights (`quantise`), where the form allows, and return the model.

        Raises
        ------
        ModelError
            As `quantise` and the constructor.
        """
        fixed = None
        if spec.controller is None:
            fixed = quantise(spec, weights, calibration, weight_bits, product_bits)
        return cls(spec, weights, fixed, unit_labels, bin_width, alignment, provenance or {})

    @cached_property
    def hash(self) -> str:
        """SHA-256 of everything that decides on the output, hexadecimal."""
        digest = hashlib.sha256()
        digest.update(json.dumps(self.content(), sort_keys=True).encode())
        for group in (self.weights, {} if self.fixed is None else self.fixed.tensors):
            for name in sorted(group):
                little = group[name].astype(group[name].dtype.newbyteorder("<"))
                digest.update(name.encode() + b"\0" + little.tobytes())
        return digest.hexdigest()

    def content(self) -> dict[str, Any]:
        """Return what decides on the output beside the tensors, as JSON types."""
        return {
            "spec": self.spec.model_dump(mode="json"),
            "fixed": None
            if self.fixed is None
            else {
                "points": dict(sorted(self.fixed.points.items())),
                # Without those that are zero in models made before there were others.
                **{
                    name: getattr(self.fixed, name)
                    for name in _FIXED_NUMBERS
                    if not name.endswith("_drop") or getattr(self.fixed, name)
                },
            },
            "unit_labels": list(self.unit_labels),
            "bin_width": self.bin_width,
            "alignment": self.alignment.model_dump(mode="json") if self.alignment else None,
        }

    def save(self, path: Path | str) -> None:
        """Write the model file; an existing one is replaced in one step.

        Raises
        ------
        ModelError
            If the file cannot be written.
        """
        from bci_lfads.models.file import write_model

        write_model(self, Path(path))

    @classmethod
    def load(cls, path: Path | str) -> Model:
        """Read a model file.

        Raises
        ------
        ModelError
            If it is not a model file, is damaged, is from a newer version, or does not hold
            together; naming what was found and what to do.
        """
        from bci_lfads.models.file import read_model

        return read_model(Path(path))


_FIXED_NUMBERS = (
    "encoder_point", "ic_point", "generator_point", "factor_point", "log_rate_point", "weight_bits",
    "encoder_drop", "generator_drop",
)  # fmt: skip


def fixed_dtype(name: str) -> type[np.integer[Any]]:
    """Return the type of a fixed-point tensor: biases int32, all others int16."""
    return np.int32 if name.endswith("bias") else np.int16


def check_fixed(spec: LfadsSpec, fixed: FixedPoint) -> None:
    """Refuse a fixed-point form that is not the specification's or could overflow.

    Raises
    ------
    ModelError
        Naming the tensor, what was found and what was expected.
    """
    if spec.controller is not None:
        raise ModelError("a model with a controller has no fixed-point form, but this one has one")
    shapes = spec.weight_shapes()
    for what, names in (("tensors", fixed.tensors), ("points", fixed.points)):
        if set(names) != set(shapes):
            raise ModelError(
                f"fixed-point {what} lack {sorted(set(shapes) - set(names)) or 'nothing'} and have "
                f"unknown {sorted(set(names) - set(shapes)) or 'nothing'}; export the model again"
            )
    for name, shape in shapes.items():
        value = fixed.tensors[name]
        if value.shape != shape or value.dtype != fixed_dtype(name):
            raise ModelError(
                f"fixed-point tensor {name} should be {fixed_dtype(name).__name__} of shape "
                f"{shape}; found {value.dtype} of shape {value.shape}; export the model again"
            )
        if name.endswith("initial_state") and fixed.points[name] != fixed.encoder_point:
            raise ModelError(
                f"{name} has point {fixed.points[name]} but the encoder's states have "
                f"{fixed.encoder_point}; export the model again"
            )
    if not 4 <= fixed.weight_bits <= 16:
        raise ModelError(f"weights have {fixed.weight_bits} bits; the kernel takes 4 to 16")
    check_ranges(spec, fixed)


def _check_labels(spec: LfadsSpec, labels: tuple[str, ...]) -> None:
    if len(labels) != spec.n_units:
        raise ModelError(f"{len(labels)} unit labels for {spec.n_units} units; give one a unit")
    if wrong := [label for label in labels if not isinstance(label, str) or not label.strip()]:
        raise ModelError(f"unit labels must be text that is not empty; found {wrong[0]!r}")
    seen: set[str] = set()
    twice = sorted({label for label in labels if label in seen or seen.add(label)})  # type: ignore[func-returns-value]
    if twice:
        raise ModelError(f"unit labels must be unique; found more than once: {twice[:5]}")


def _frozen(
    arrays: Mapping[str, NDArray[Any]], dtype: type[np.generic] | None = None
) -> Mapping[str, NDArray[Any]]:
    copies = {name: np.array(value, dtype, order="C") for name, value in arrays.items()}
    for copy in copies.values():
        copy.flags.writeable = False
    return MappingProxyType(copies)
