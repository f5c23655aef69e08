"""Every way in which this processor can compute a window gives the kernel's integers."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models.random_models import random_counts, random_model

from bci_lfads.errors import ModelError
from bci_lfads.models.image import checksum, pack_image
from bci_lfads.models.importers import import_model
from bci_lfads.models.integer import infer_integer
from bci_lfads.models.model import Model
from bci_lfads.models.quantise import quantise
from bci_lfads.models.spec import LfadsSpec

native = pytest.importorskip(
    "bci_lfads.engines._native", reason="the extension is not built: pip install ."
)
VECTORS = native.PATHS[:-1]
DEMO = Path(__file__).parents[2] / "replay_data" / "demo_model.safetensors"


def kernel_of(spec: Any, fixed: Any, path: str, **options: Any) -> Any:
    return native.Kernel(pack_image(spec, fixed, native.MAXIMA), path, **options)


def integers(kernel: Any, spec: Any, counts: Any) -> tuple[np.ndarray, np.ndarray]:
    factors = np.zeros((spec.n_bins_out, spec.n_factors), np.int32)
    log_rates = np.zeros((spec.n_bins_out, spec.n_units), np.int32)
    kernel.infer_integers(counts, factors, log_rates)
    return factors, log_rates


def assert_equal(found: Any, expected: Any) -> None:
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_portable_path_is_always_there_and_others_are_refused():
    assert native.PATHS[-1] == "portable"
    spec, fixed = random_model(0, fine=True)
    assert kernel_of(spec, fixed, "portable").path == "portable"
    with pytest.raises(ValueError, match=r"no path 'sse9'.*portable"):
        kernel_of(spec, fixed, "sse9")


@pytest.mark.skipif(not VECTORS, reason="this processor has no vector path")
def test_models_of_practice_take_the_fastest_path(shared_data):
    published = import_model(shared_data / "published-lfads" / "keras_model.h5")
    for model in (published, Model.load(DEMO)):
        assert kernel_of(model.spec, model.fixed, "auto").path == VECTORS[0]


@pytest.mark.parametrize("path", native.PATHS)
@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    gru=st.sampled_from(["reset_after", "reset_before"]),
    activation=st.sampled_from(["hard", "smooth"]),
    scale=st.sampled_from([0.1, 1.0, 6.0]),
    form=st.sampled_from(["fine", "any", "full_range"]),
    bytes_=st.booleans(),
    rate=st.sampled_from([0.0, 0.2, 3.0, 200.0]),
)
def test_equals_the_integer_reference(path, seed, gru, activation, scale, form, bytes_, rate):
    spec, fixed = random_model(
        seed, scale=scale, fine=form == "fine", full_range=form == "full_range", gru=gru,
        activation=activation, bytes_=bytes_,
    )  # fmt: skip
    counts = random_counts(seed, spec, rate=rate)[0]
    kernel = kernel_of(spec, fixed, path)
    if form == "fine" and scale <= 1:
        assert kernel.path == path  # else only the portable path would be tested
    assert_equal(integers(kernel, spec, counts), infer_integer(spec, fixed, counts))


@pytest.mark.parametrize("path", VECTORS)
@pytest.mark.parametrize("gru", ["reset_after", "reset_before"])
@pytest.mark.parametrize("size", [1, 15, 16, 17, 48, 64, 65, 96, 100, 128, 192, 256])
@pytest.mark.parametrize("bytes_", [False, True], ids=["16 bit", "8 bit"])
def test_all_sizes(path, gru, size, bytes_):
    spec, fixed = random_model(
        size, gru=gru, fine=True, encoder_size=size, generator_size=size, n_units=size + 7,
        n_factors=max(1, size // 4), n_bins=5, n_ahead=2, scale=0.5, bytes_=bytes_,
    )  # fmt: skip
    kernel = kernel_of(spec, fixed, path)
    assert kernel.path == path
    counts = random_counts(size, spec, rate=0.5)[0]
    assert_equal(integers(kernel, spec, counts), infer_integer(spec, fixed, counts))


@pytest.mark.parametrize("path", VECTORS)
def test_more_spikes_than_vectors_hold_are_counted_all_the_same(path):
    """One bin of 255 spikes of each of 1000 units: beyond 32 bits for large weights."""
    spec, fixed = random_model(
        3, fine=True, n_units=1000, n_bins=2, encoder_size=16, generator_size=16, n_factors=2
    )
    for side in ("forward", "backward"):
        fixed.tensors[f"encoder.{side}.input_weight"][:, :] = 32767
    kernel = kernel_of(spec, fixed, path)
    assert kernel.path == path
    counts = np.zeros((2, 1000), np.uint8)
    few = counts.copy()
    few[0, ::2] = 1
    counts[1] = 255
    for given_ in (few, counts, few):
        assert_equal(integers(kernel, spec, given_), infer_integer(spec, fixed, given_))


@pytest.mark.parametrize("path", VECTORS)
@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("bytes_", [False, True], ids=["16 bit", "8 bit"])
def test_a_window_that_moves_on_keeps_what_it_shares_with_the_last(path, n_threads, bytes_):
    rng = np.random.default_rng(5)
    spec, fixed = random_model(7, fine=True, n_bins=9, n_units=21, bytes_=bytes_)
    stream = rng.poisson(0.4, (400, spec.n_units)).astype(np.uint8)
    alone = kernel_of(spec, fixed, path)
    for hop in (1, 2, 4, 8, 9, 20):
        kernel = kernel_of(spec, fixed, path, hop=hop, n_threads=n_threads)
        at = 0
        while at + spec.n_bins <= len(stream):
            counts = np.ascontiguousarray(stream[at : at + spec.n_bins])
            assert_equal(integers(kernel, spec, counts), integers(alone, spec, counts))
            # Now and then it jumps, stays, or goes back.
            at = max(0, at + (hop if rng.random() < 0.8 else int(rng.integers(-9, 9))))


@pytest.mark.parametrize("path", VECTORS)
@pytest.mark.parametrize("patience", [0.0, 200e-6, 0.01])
def test_two_threads_give_what_one_gives(path, patience):
    spec, fixed = random_model(11, fine=True, n_bins=12, n_ahead=3, n_units=40)
    counts = random_counts(11, spec, n_trials=50, rate=0.5)
    one = kernel_of(spec, fixed, path)
    expected = [integers(one, spec, c) for c in counts]
    two = kernel_of(spec, fixed, path, n_threads=2, patience=patience)
    rng = np.random.default_rng(0)
    wait = threading.Event()
    for i in range(1000):
        k = i % len(counts)
        assert_equal(integers(two, spec, counts[k]), expected[k])
        if i % 40 == 0:
            wait.wait(float(rng.choice([0.0, 1e-4, 2e-3])))


def test_kernels_with_a_partner_end_at_once():
    spec, fixed = random_model(1, fine=True)
    for _ in range(50):
        kernel = kernel_of(spec, fixed, "auto", n_threads=2, patience=1.0)
        integers(kernel, spec, random_counts(1, spec)[0])
        del kernel


@pytest.mark.parametrize(
    ("options", "words"),
    [({"hop": -1}, "hop"), ({"n_threads": 0}, "n_threads"), ({"patience": 2.0}, "patience")],
)
def test_options_out_of_range_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        kernel_of(*random_model(1), "auto", **options)


@pytest.mark.parametrize("path", VECTORS)
def test_instruction_rates_are_measured(path):
    dots, fmas = native.instruction_rates(path, 4096, 0.001)
    assert dots > 1e7
    assert fmas > 1e7
    with pytest.raises(ValueError, match="weight_bytes"):
        native.instruction_rates(path, 1, 0.001)
    with pytest.raises(ValueError, match="portable"):
        native.instruction_rates("portable", 4096, 0.001)


@pytest.mark.parametrize("path", VECTORS)
@pytest.mark.parametrize("activation", ["hard", "smooth"])
def test_weights_of_8_bits_throughout(path, activation):
    """As `quantise` makes them: input weights have 8 bits too, and are taken four at a time."""
    spec = LfadsSpec(
        n_units=37, n_bins=11, encoder_size=24, ic_size=20, generator_size=20, n_factors=3,
        activation=activation,
    )  # fmt: skip
    rng = np.random.default_rng(3)
    weights = {
        name: rng.normal(0, 0.3, shape).astype(np.float32)
        for name, shape in spec.weight_shapes().items()
    }
    fixed = quantise(spec, weights, weight_bits=8, product_bits=8)
    kernel = kernel_of(spec, fixed, path)
    assert kernel.path == path
    counts = rng.poisson(0.4, (20, spec.n_bins, spec.n_units)).astype(np.uint8)
    counts[3] = 255
    for window in counts:
        expected = infer_integer(spec, fixed, window)
        assert_equal(integers(kernel, spec, window), expected)
        assert_equal(integers(kernel_of(spec, fixed, "portable"), spec, window), expected)


def test_weights_beyond_8_bits_are_refused_for_products_of_8_bits():
    spec, fixed = random_model(2, bytes_=True)
    fixed.tensors["generator.recurrent_weight"][0, 0] = 128
    with pytest.raises(ModelError, match="±127"):
        pack_image(spec, fixed)
    good = random_model(2, bytes_=True)
    image = pack_image(*good)
    weights = good[1].tensors["generator.recurrent_weight"].astype("<i2").tobytes()
    at = image.tobytes().index(weights[:8])
    damaged = np.frombuffer(
        image.tobytes()[:at] + np.int16(-128).tobytes() + image.tobytes()[at + 2 :], np.uint32
    ).copy()
    damaged[3] = checksum(damaged)
    with pytest.raises(ValueError, match="out of range"):
        native.Kernel(damaged)
