"""The kernel image: its layout, and what is refused before it can be made."""

import zlib
from dataclasses import replace

import numpy as np
import pytest
from models.random_models import random_model

from bci_lfads.errors import ModelError
from bci_lfads.models.fixed import FixedPoint
from bci_lfads.models.image import HEADER_WORDS, MAGIC, pack_image


def _with(fixed: FixedPoint, name: str, **change: object) -> FixedPoint:
    """Change one tensor and/or its point."""
    tensors, points = dict(fixed.tensors), dict(fixed.points)
    if "tensor" in change:
        tensors[name] = change["tensor"]  # type: ignore[assignment]
    if "point" in change:
        points[name] = change["point"]  # type: ignore[assignment]
    return replace(fixed, tensors=tensors, points=points)


def test_header_and_checksum() -> None:
    spec, fixed = random_model(5)
    image = pack_image(spec, fixed)
    assert image.dtype == np.uint32
    assert image[0] == MAGIC == int.from_bytes(b"LFAD", "little")
    assert image[2] == image.size
    assert image[4:8].tolist() == [spec.n_units, spec.n_bins, spec.n_bins_out, spec.encoder_size]
    blank = image.copy()
    blank[3] = 0
    assert image[3] == zlib.crc32(blank.tobytes())


def test_sections_are_aligned_padded_and_input_major() -> None:
    spec, fixed = random_model(6, n_units=5, encoder_size=7)
    image = pack_image(spec, fixed)
    assert image.size % 16 == 0
    rows = image[HEADER_WORDS : HEADER_WORDS + 5 * 16].view("<i2").reshape(5, 32)
    weight = fixed.tensors["encoder.forward.input_weight"]
    assert np.array_equal(rows[:, :21], weight.T)
    assert not rows[:, 21:].any()
    bias = image[HEADER_WORDS + 80 : HEADER_WORDS + 80 + 32].view("<i4")
    assert np.array_equal(bias[:21], fixed.tensors["encoder.forward.input_bias"])


@pytest.mark.fault("too-long")
def test_too_large_for_the_kernel() -> None:
    spec, fixed = random_model(7, n_units=12)
    with pytest.raises(ModelError, match="n_units is 12, the kernel was compiled for at most 11"):
        pack_image(spec, fixed, {"n_units": 11})
    pack_image(spec, fixed, {"n_units": 12})


def test_missing_and_misshapen_tensors() -> None:
    spec, fixed = random_model(8)
    tensors = dict(fixed.tensors)
    del tensors["ic.bias"]
    with pytest.raises(ModelError, match=r"lacks \['ic.bias'\]"):
        pack_image(spec, replace(fixed, tensors=tensors))
    with pytest.raises(ModelError, match=r"factors.weight should be 16-bit of shape"):
        pack_image(spec, _with(fixed, "factors.weight", tensor=np.zeros((1, 99), np.int16)))
    wide = fixed.tensors["ic.weight"].astype(np.int64) + 40000
    with pytest.raises(ModelError, match=r"ic.weight should be 16-bit"):
        pack_image(spec, _with(fixed, "ic.weight", tensor=wide))


def test_shifts_out_of_range() -> None:
    spec, fixed = random_model(9, ic_map="direct")
    beyond = _with(fixed, "ic.bias", point=fixed.points["ic.weight"] + fixed.encoder_point + 1)
    with pytest.raises(ModelError, match=r"bias shift of ic.bias is -1"):
        pack_image(spec, beyond)
    with pytest.raises(ModelError, match="generator's state point is 16"):
        pack_image(spec, replace(fixed, generator_point=16))
    with pytest.raises(ModelError, match="difference of direct"):
        pack_image(spec, replace(fixed, ic_point=fixed.generator_point + 1))
    other = _with(fixed, "encoder.forward.initial_state", point=fixed.encoder_point + 1)
    with pytest.raises(ModelError, match="they must be equal"):
        pack_image(spec, other)


def test_overflow_is_refused_by_row() -> None:
    spec, fixed = random_model(10, n_factors=2)
    bias = fixed.tensors["rates.bias"].copy()
    bias[spec.n_units - 1] = 2**31 - 1
    point = fixed.points["rates.weight"] + fixed.factor_point - 16
    loud = _with(fixed, "rates.bias", tensor=bias, point=point)
    with pytest.raises(
        ModelError, match=rf"rates.weight: row {spec.n_units - 1} may reach 49 bits"
    ):
        pack_image(spec, loud)


def test_largest_sums_before_an_activation_are_refused() -> None:
    spec, fixed = random_model(11, gru="reset_after", full_range=True, n_units=40)
    # Counts weigh up to 2^15 each: against a product of point 46, too much for one sum.
    points = {
        name: 0 if name.startswith("encoder.forward.input") else point
        for name, point in fixed.points.items()
    }
    with pytest.raises(ModelError, match="before an activation"):
        pack_image(spec, replace(fixed, points=points))
