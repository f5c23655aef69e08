"""The native engine: the kernel's integers, its refusals, its threads."""

import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models.random_models import random_counts, random_model
from numpy.typing import NDArray

from bci_lfads.engines.base import Engine, Latents, allocate
from bci_lfads.errors import EngineError, ModelError
from bci_lfads.models.fixed import FixedPoint
from bci_lfads.models.image import checksum, pack_image
from bci_lfads.models.integer import IntegerLatents, infer_integer, to_float
from bci_lfads.models.spec import LfadsSpec

native = pytest.importorskip(
    "bci_lfads.engines._native", reason="the extension is not built: pip install ."
)

from bci_lfads.engines.native import NativeEngine  # noqa: E402


def _model(seed: int, **overrides: Any) -> Any:
    spec, fixed = random_model(seed, **overrides)
    return SimpleNamespace(spec=spec, fixed=fixed, hash=f"{seed:064x}")


def _integers(spec: LfadsSpec, fixed: FixedPoint, counts: NDArray[np.uint8]) -> IntegerLatents:
    factors = np.zeros((spec.n_bins_out, spec.n_factors), np.int32)
    log_rates = np.zeros((spec.n_bins_out, spec.n_units), np.int32)
    native.Kernel(pack_image(spec, fixed, native.MAXIMA)).infer_integers(counts, factors, log_rates)
    return IntegerLatents(factors, log_rates)


def _check(spec: LfadsSpec, fixed: FixedPoint, counts: NDArray[np.uint8]) -> None:
    expected, found = infer_integer(spec, fixed, counts), _integers(spec, fixed, counts)
    assert np.array_equal(found.factors, expected.factors)
    assert np.array_equal(found.log_rates, expected.log_rates)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    gru=st.sampled_from(["reset_after", "reset_before"]),
    activation=st.sampled_from(["hard", "smooth"]),
    scale=st.sampled_from([0.1, 1.0, 6.0]),
    full_range=st.booleans(),
    rate=st.sampled_from([0.0, 0.2, 3.0, 200.0]),
)
def test_equals_the_integer_reference(
    seed: int, gru: str, activation: str, scale: float, full_range: bool, rate: float
) -> None:
    spec, fixed = random_model(
        seed, scale=scale, full_range=full_range, gru=gru, activation=activation
    )
    _check(spec, fixed, random_counts(seed, spec, rate=rate)[0])


@pytest.mark.parametrize("gru", ["reset_after", "reset_before"])
@pytest.mark.parametrize("size", [1, 15, 16, 17, 31, 32, 33, 63, 64, 65])
def test_sizes_around_the_lanes(gru: str, size: int) -> None:
    spec, fixed = random_model(
        size, gru=gru, encoder_size=size, generator_size=size, n_units=size, n_bins=3, n_ahead=1
    )
    _check(spec, fixed, random_counts(size, spec, rate=1.0)[0])


@pytest.mark.parametrize("extreme", [-32768, 32767])
@pytest.mark.parametrize("form", ["reset_after", "reset_before"])
def test_every_weight_and_count_at_its_limit(form: str, extreme: int) -> None:
    spec, fixed = random_model(
        1, gru=form, full_range=True, n_units=40, encoder_size=64, generator_size=64,
        ic_map="linear", ic_size=64, cell_clip=None,
    )  # fmt: skip
    for name, tensor in fixed.tensors.items():
        if not name.endswith("bias"):
            tensor[...] = extreme
    _check(spec, fixed, np.full((spec.n_bins, spec.n_units), 255, np.uint8))


@pytest.mark.parametrize("gru", ["reset_after", "reset_before"])
def test_the_largest_model_of_this_build(gru: str) -> None:
    largest = native.MAXIMA
    spec, fixed = random_model(
        0, gru=gru, n_units=largest["n_units"], n_bins=2, n_ahead=largest["n_bins_out"] - 2,
        encoder_size=largest["encoder_size"], ic_map="linear", ic_size=largest["ic_size"],
        generator_size=largest["generator_size"], n_factors=largest["n_factors"], fine=True,
    )  # fmt: skip
    _check(spec, fixed, random_counts(0, spec)[0])


@pytest.mark.parametrize("name", sorted(native.MAXIMA))
def test_one_more_than_the_maximum_is_refused(name: str) -> None:
    field, value = {"n_bins_out": ("n_ahead", native.MAXIMA["n_bins_out"])}.get(
        name, (name, native.MAXIMA[name] + 1)
    )
    small = {"n_units": 2, "encoder_size": 2, "generator_size": 2, "ic_size": 2, "n_factors": 1}
    model = _model(1, **(small | {"n_bins": 1, "ic_map": "linear", field: value}))
    with pytest.raises(ModelError, match=f"{name} is {native.MAXIMA[name] + 1}"):
        NativeEngine(model)
    # The kernel does not rely on that.
    with pytest.raises(ValueError, match="larger than this kernel"):
        native.Kernel(pack_image(model.spec, model.fixed))


def test_bad_images_are_refused() -> None:
    good = pack_image(*random_model(2))
    native.Kernel(good)
    cases: list[tuple[str, NDArray[np.uint32]]] = [
        ("not a kernel image", np.zeros(0, np.uint32)),
        ("not a kernel image", np.concatenate([good[:1] + np.uint32(1), good[1:]])),
        ("truncated", good[:64].copy()),
        ("truncated", good[:-1].copy()),
        ("truncated", np.concatenate([good, good[:16]])),
    ]
    for word, value, message in (
        (1, 99, "format version"),
        (11, 8, "form"),
        (4, 0, "larger"),
        (5, 2**32 - 1, "larger"),
        (70, good[70] ^ np.uint32(1), "checksum"),
        (3, good[3] ^ np.uint32(1 << 31), "checksum"),
    ):
        damaged = good.copy()
        damaged[word] = value
        cases.append((message, damaged))
    for word, value in (
        (12, 16),
        (21, 16),
        (17, 1),
        (20, 40000),
        (36, 47),
        (25, 2**31 - 1),
        (26, 2**31),
    ):
        sealed = good.copy()
        sealed[word] = value
        sealed[3] = checksum(sealed)
        cases.append(("out of range", sealed))
    for message, image in cases:
        with pytest.raises(ValueError, match=message):
            native.Kernel(image)


@settings(max_examples=200, deadline=None)
@given(st.integers(4, 63), st.integers(0, 2**32 - 1))
def test_no_header_crashes_the_kernel(word: int, value: int) -> None:
    spec, fixed = random_model(12)
    image = pack_image(spec, fixed)
    image[word] = value
    image[3] = checksum(image)
    try:
        kernel = native.Kernel(image)
        kernel.infer_integers(
            random_counts(0, spec)[0],
            np.zeros((spec.n_bins_out, spec.n_factors), np.int32),
            None,
        )
    except ValueError:
        pass


def test_floats_are_the_integers_exactly() -> None:
    model = _model(13)
    counts = random_counts(13, model.spec)[0]
    expected = to_float(model.fixed, infer_integer(model.spec, model.fixed, counts))
    with NativeEngine(model) as engine:
        found = engine.infer(counts)
    assert found.log_rates is not None
    assert expected.log_rates is not None
    assert np.array_equal(found.factors, expected.factors)
    assert np.array_equal(found.log_rates, expected.log_rates)


def test_batch_equals_single_with_any_number_of_threads() -> None:
    model = _model(14)
    counts = random_counts(14, model.spec, 11)
    with NativeEngine(model) as engine:
        singles = [engine.infer(c) for c in counts]
    for n_threads in (1, 2, 4, 16):
        with NativeEngine(model, n_threads=n_threads) as engine:
            batch = engine.infer_batch(counts)
            alone = engine.infer_batch(counts, log_rates=False)
        assert batch.log_rates is not None
        for i, single in enumerate(singles):
            assert np.array_equal(batch.factors[i], single.factors)
            assert np.array_equal(batch.log_rates[i], single.log_rates)  # type: ignore[arg-type]
        assert alone.log_rates is None
        assert np.array_equal(alone.factors, batch.factors)


def test_batch_of_none_and_of_a_view() -> None:
    model = _model(15)
    counts = random_counts(15, model.spec, 6)
    with NativeEngine(model, n_threads=3) as engine:
        assert engine.infer_batch(counts[:0]).factors.shape[0] == 0
        every_second = engine.infer_batch(counts[::2])
        assert np.array_equal(every_second.factors, engine.infer_batch(counts).factors[::2])


def test_two_models_at_once_in_two_threads() -> None:
    models = [_model(16, gru="reset_after"), _model(17, gru="reset_before")]
    counts = [random_counts(i, m.spec, 20) for i, m in enumerate(models)]
    engines = [NativeEngine(m) for m in models]
    expected = [e.infer_batch(c) for e, c in zip(engines, counts, strict=True)]
    wrong: list[int] = []

    def work(which: int) -> None:
        for _ in range(10):
            for i, c in enumerate(counts[which]):
                if not np.array_equal(engines[which].infer(c).factors, expected[which].factors[i]):
                    wrong.append(which)

    threads = [threading.Thread(target=work, args=(i % 2,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_infer_writes_to_the_given_buffers() -> None:
    model = _model(18)
    counts = random_counts(18, model.spec)[0]
    with NativeEngine(model) as engine:
        expected = engine.infer(counts)
        out = allocate(engine.info)
        assert engine.infer(counts, out) is out
        assert np.array_equal(out.factors, expected.factors)
        assert np.array_equal(out.log_rates, expected.log_rates)  # type: ignore[arg-type]
        alone = engine.infer(counts, allocate(engine.info, log_rates=False))
        assert alone.log_rates is None
        assert np.array_equal(alone.factors, expected.factors)


def test_wrong_arrays_are_refused_and_named() -> None:
    model = _model(19, n_units=6, n_bins=5, n_ahead=0)
    counts = random_counts(19, model.spec)[0]
    with NativeEngine(model) as engine:
        good = allocate(engine.info)
        with pytest.raises(EngineError, match=r"\(5 bins, 6 units\)"):
            engine.infer(counts[:4])
        with pytest.raises(EngineError, match="int64"):
            engine.infer(counts.astype(np.int64))  # type: ignore[arg-type]
        with pytest.raises(EngineError, match="not contiguous"):
            engine.infer(np.asfortranarray(counts))
        with pytest.raises(EngineError, match="factors float64"):
            engine.infer(counts, good._replace(factors=good.factors.astype(np.float64)))  # type: ignore[arg-type]
        with pytest.raises(EngineError, match=r"log_rates float32 \(5, 7\)"):
            engine.infer(counts, Latents(good.factors, np.zeros((5, 7), np.float32)))
        with pytest.raises(EngineError, match="n_trials"):
            engine.infer_batch(counts)
        good.factors.flags.writeable = False
        with pytest.raises(EngineError, match="read-only"):
            engine.infer(counts, good)


def test_a_closed_engine_says_so() -> None:
    model = _model(20)
    counts = random_counts(20, model.spec)
    engine = NativeEngine(model)
    assert isinstance(engine, Engine)
    assert engine.info.name == "native"
    assert engine.info.model_hash == model.hash
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.infer(counts[0])
    with pytest.raises(EngineError, match="closed"):
        engine.infer_batch(counts)


def test_threads_must_be_positive() -> None:
    with pytest.raises(EngineError, match="n_threads"):
        NativeEngine(_model(21), n_threads=0)
