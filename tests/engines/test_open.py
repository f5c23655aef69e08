"""Opening engines: what each needs, what it says where that is missing, and that they agree."""

import subprocess
import sys

import numpy as np
import pytest
from models.float_models import FORMS, poisson, random_float_model, small_spec
from xrt.xclbin import write_xclbin

from bci_lfads.engines import ENGINES, available_engines, open_engine
from bci_lfads.engines.base import Engine, Latents, allocate
from bci_lfads.engines.fpga import missing
from bci_lfads.errors import CardMissingError, EngineError
from bci_lfads.models.reference import infer_float


@pytest.fixture(scope="module")
def model():
    return random_float_model()


@pytest.mark.parametrize("name", ["native", "torch"])
def test_an_engine_says_what_it_is(name, model):
    with open_engine(name, model) as engine:
        assert isinstance(engine, Engine)
        info = engine.info
    assert info.name == name
    assert info.device.startswith("cpu")
    assert info.numeric_format == {"native": "int16", "torch": "float64"}[name]
    assert info.model_hash == model.hash
    spec = model.spec
    assert (info.n_bins, info.n_bins_out) == (spec.n_bins, spec.n_bins_out)
    assert (info.n_units, info.n_factors) == (spec.n_units, spec.n_factors)


def test_an_unknown_engine_is_refused_and_the_others_are_named(model):
    with pytest.raises(EngineError, match="no engine 'gpu'; there are native, torch, fpga"):
        open_engine("gpu", model)


def test_options_are_the_engines_own(model):
    with pytest.raises(EngineError, match="n_threads must be 1 or more"):
        open_engine("native", model, n_threads=0)


def test_what_is_available_here():
    found = available_engines()
    assert tuple(found) == ENGINES
    assert found["native"] is None
    assert found["torch"] is None
    assert found["fpga"]


def test_without_torch_its_engine_says_how_to_get_it(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert "bci-lfads[torch]" in available_engines()["torch"]
    with pytest.raises(EngineError, match=r"torch cannot be imported .*bci-lfads\[torch\]"):
        open_engine("torch", model)


def test_without_its_extension_the_native_engine_says_how_to_build_it(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "bci_lfads.engines._native", None)
    monkeypatch.delattr("bci_lfads.engines._native", raising=False)
    assert "pip install ." in available_engines()["native"]
    with pytest.raises(EngineError, match=r"pip install \."):
        open_engine("native", model)


def test_the_package_imports_no_engine_before_it_is_asked_for(tmp_path):
    code = (
        "import sys, bci_lfads.engines, bci_lfads.pipeline, bci_lfads.offline, bci_lfads.cli\n"
        "assert not {'torch', 'pyxrt', 'PySide6', 'matplotlib'} & set(sys.modules)"
    )
    # Not from the checkout, where -c would take the sources for the package.
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


# The card


def test_without_the_xilinx_runtime_the_card_says_where_it_comes_from(model, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pyxrt", None)
    says = r"pyxrt cannot be imported .*Xilinx Runtime.*setup\.sh"
    xclbin = tmp_path / "some.xclbin"
    xclbin.write_bytes(write_xclbin("lfads_kernel", []))
    with pytest.raises(CardMissingError, match=says):
        open_engine("fpga", model, xclbin=xclbin)
    assert available_engines()["fpga"] == missing()
    assert "Xilinx Runtime" in missing()


# What they compute


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_torch_is_the_float_reference(form):
    model = random_float_model(small_spec(**form), seed=5)
    counts = poisson(model.spec, 5, 1.0)
    expected = infer_float(model.spec, model.weights, counts)
    with open_engine("torch", model) as engine:
        found = engine.infer_batch(counts)
    assert found.factors.dtype == found.log_rates.dtype == np.float32
    np.testing.assert_allclose(found.factors, expected.factors, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found.log_rates, expected.log_rates, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_native_agrees_with_torch_but_for_rounding(form):
    model = random_float_model(small_spec(**form), seed=6)
    counts = poisson(model.spec, 20, 0.5)
    with open_engine("native", model) as native, open_engine("torch", model) as torch:
        ours, reference = native.infer_batch(counts), torch.infer_batch(counts)
    # A quantised model's states are on a grid of 2^-9, and a tie may go either way.
    most = 2e-2 if model.spec.quantisers else 3e-3
    assert np.abs(ours.factors - reference.factors).max() < most
    assert np.abs(ours.log_rates - reference.log_rates).max() < most
    assert reference.factors.std() > 50 * np.abs(ours.factors - reference.factors).mean()


@pytest.mark.parametrize("name", ["native", "torch"])
def test_a_batch_equals_its_windows_one_by_one(name):
    model = random_float_model(small_spec(n_ahead=2))
    counts = poisson(model.spec, 5)
    with open_engine(name, model) as engine:
        batch = engine.infer_batch(counts)
        for row, window in enumerate(counts):
            single = engine.infer(window)
            np.testing.assert_allclose(single.factors, batch.factors[row], atol=1e-6, rtol=0)
            np.testing.assert_allclose(single.log_rates, batch.log_rates[row], atol=1e-6, rtol=0)
        assert single.factors.shape == (model.spec.n_bins + 2, 3)
        assert engine.infer_batch(counts[:0]).factors.shape == (0, model.spec.n_bins + 2, 3)
        alone = engine.infer_batch(counts, log_rates=False)
    assert alone.log_rates is None
    np.testing.assert_array_equal(alone.factors, batch.factors)


@pytest.mark.parametrize("name", ["native", "torch"])
def test_results_go_to_the_buffers_that_are_given(name, model):
    counts = poisson(model.spec)[0]
    with open_engine(name, model) as engine:
        expected = engine.infer(counts)
        out = allocate(engine.info)
        assert engine.infer(counts, out) is out
        np.testing.assert_array_equal(out.factors, expected.factors)
        np.testing.assert_array_equal(out.log_rates, expected.log_rates)
        alone = engine.infer(counts, allocate(engine.info, log_rates=False))
    assert alone.log_rates is None
    np.testing.assert_array_equal(alone.factors, expected.factors)


@pytest.mark.parametrize("name", ["native", "torch"])
def test_buffers_that_do_not_fit_are_refused(name, model):
    counts = poisson(model.spec)[0]
    with open_engine(name, model) as engine:
        good = allocate(engine.info)
        wrong = [
            Latents(np.zeros((2, *good.factors.shape), np.float32), good.log_rates),
            Latents(good.factors.astype(np.float64), good.log_rates),
            Latents(good.factors, good.log_rates[:, :-1]),
        ]
        read_only = good.factors.copy()
        read_only.flags.writeable = False
        wrong.append(Latents(read_only, good.log_rates))
        for out in wrong:
            with pytest.raises(EngineError, match="float32"):
                engine.infer(counts, out)


@pytest.mark.parametrize("name", ["native", "torch"])
def test_counts_that_do_not_fit_are_refused(name, model):
    counts = poisson(model.spec, 2)
    with open_engine(name, model) as engine:
        for wrong in (counts[0][:, 1:], counts[0][1:], counts, counts[0].astype(np.int16)):
            with pytest.raises(EngineError, match=r"expects uint8 counts of shape \(9 bins, 7 un"):
                engine.infer(wrong)
        for wrong in (counts[0], counts[:, 1:], counts.astype(float)):
            with pytest.raises(EngineError, match=r"expects uint8 counts of shape \(n_trials"):
                engine.infer_batch(wrong)


@pytest.mark.parametrize("name", ["native", "torch"])
def test_a_closed_engine_says_so(name, model):
    engine = open_engine(name, model)
    with engine:
        pass
    engine.close()
    counts = poisson(model.spec)
    with pytest.raises(EngineError, match=f"{name} engine is closed"):
        engine.infer(counts[0])
    with pytest.raises(EngineError, match=f"{name} engine is closed"):
        engine.infer_batch(counts)
    with pytest.raises(EngineError, match=f"{name} engine is closed"):
        engine.infer_batch(counts[:0])
