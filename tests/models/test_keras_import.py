"""The Keras importer: the published model's numbers, and files that it must refuse."""

import json

import h5py
import numpy as np
import pytest
from models import keras_files

from bci_lfads.engines.torch_engine import TorchEngine
from bci_lfads.errors import ModelError
from bci_lfads.models.importers import import_model
from bci_lfads.models.integer import infer_integer, to_float
from bci_lfads.models.keras_import import import_keras  # quicker than a process for each
from bci_lfads.models.reference import infer_float

torch = pytest.importorskip("torch")


def grid(x, step, low, high):
    """Round to multiples of step, ties to even."""
    return np.clip(np.round(np.asarray(x, np.float64) / step) * step, low, high - step)


def weight(x):
    return grid(x, 2.0**-14, -2, 2)


def state(x):
    return grid(x, 2.0**-9, -64, 64)


def keras_cell(kernel, recurrent, bias, x, h):
    """One step as the layers in the file describe it, in Keras' own layout."""
    n = recurrent.shape[0]
    h = state(h)
    a = x @ weight(kernel) + weight(bias[0])
    c = h @ weight(recurrent) + weight(bias[1])
    gates = grid(np.clip(0.5 * (a[:, : 2 * n] + c[:, : 2 * n]) + 0.5, 0, 1), 2.0**-16, 0, 1)
    z, r = gates[:, :n], gates[:, n:]
    candidate = grid(np.clip(a[:, 2 * n :] + r * c[:, 2 * n :], -1, 1), 2.0**-15, -1, 1)
    return z * h + (1 - z) * candidate


def keras_output(path, counts):
    """Evaluate a file layer by layer, straight from its datasets."""
    found = {}
    with h5py.File(path) as file:
        file["model_weights"].visititems(
            lambda name, item: found.update({name: item[()]}) if hasattr(item, "dtype") else None
        )

    def cell(part):
        return [
            next(v for k, v in found.items() if part in k and k.endswith(f"/{kind}:0"))
            for kind in ("kernel", "recurrent_kernel", "bias")
        ]

    x = counts.astype(np.float64)
    ends = []
    for part, order in (("forward", 1), ("backward", -1)):
        weights = cell(part)
        h = np.zeros((len(x), weights[1].shape[0]))
        for t in range(x.shape[1])[::order]:
            h = keras_cell(*weights, x[:, t], h)
        ends.append(h)
    e = state(np.concatenate(ends, axis=1))
    mean = found["DenseMean/DenseMean/kernel:0"], found["DenseMean/DenseMean/bias:0"]
    h = state(e @ weight(mean[0]) + weight(mean[1]))
    weights = cell("DecoderGRU")
    zero = np.zeros((len(x), weights[0].shape[0]))
    outputs = []
    for _ in range(x.shape[1]):
        h = keras_cell(*weights, zero, h)
        outputs.append(state(h))
    factors = state(np.stack(outputs, axis=1) @ weight(found["Dense/Dense/kernel:0"]))
    log_rates = factors @ weight(found["NeuralDense/NeuralDense/kernel:0"])
    return factors, log_rates + weight(found["NeuralDense/NeuralDense/bias:0"])


@pytest.fixture
def published(shared_data):
    path = shared_data / "published-lfads" / "keras_model.h5"
    if not path.is_file():
        pytest.skip(f"no published model at {path}")
    return path


def assert_same_numbers(path, counts):
    model = import_keras(path)
    factors, log_rates = keras_output(path, counts)
    exact = infer_float(model.spec, model.weights, counts)
    np.testing.assert_allclose(exact.factors, factors, rtol=0, atol=1e-6)
    np.testing.assert_allclose(exact.log_rates, log_rates, rtol=0, atol=1e-6)
    with TorchEngine(model) as engine:
        latents = engine.infer_batch(counts)
    np.testing.assert_allclose(latents.factors, factors, rtol=0, atol=1e-6)
    np.testing.assert_allclose(latents.log_rates, log_rates, rtol=0, atol=1e-6)
    fixed = to_float(model.fixed, infer_integer(model.spec, model.fixed, counts))
    np.testing.assert_array_equal(fixed.factors, factors)
    errors = np.abs(fixed.log_rates - log_rates)
    assert errors.max() < 1e-5  # half a step of the log-rates' point
    return model, factors


def test_published_model(published):
    counts = np.random.default_rng(3).poisson(0.144, (12, 73, 70)).astype(np.uint8)
    model, factors = assert_same_numbers(published, counts)
    assert factors.std() > 0.1
    assert model.bin_width == 0.01
    assert model.unit_labels[0] == "u0"
    assert model.unit_labels[-1] == "u69"
    spec = model.spec
    assert (spec.n_units, spec.n_bins, spec.n_factors) == (70, 73, 4)
    assert (spec.encoder_size, spec.ic_size, spec.generator_size) == (64, 64, 64)


def test_published_model_with_large_counts(published):
    # States reach their limits here; they must saturate alike.
    counts = np.random.default_rng(4).integers(0, 256, (3, 73, 70)).astype(np.uint8)
    assert_same_numbers(published, counts)


def test_small_file(tmp_path):
    path = keras_files.write(tmp_path / "k.h5", *keras_files.small())
    counts = np.random.default_rng(5).poisson(0.5, (6, 9, 7)).astype(np.uint8)
    assert_same_numbers(path, counts)


def test_options(tmp_path):
    path = keras_files.write(tmp_path / "k.h5", *keras_files.small())
    model = import_keras(path, bin_width=0.02, unit_labels=tuple("abcdefg"))
    assert (model.bin_width, model.unit_labels) == (0.02, tuple("abcdefg"))
    assert model.provenance["file"] == "k.h5"
    assert str(tmp_path) not in str(model.provenance)
    with pytest.raises(ModelError, match="2 unit labels for 7"):
        import_keras(path, unit_labels=("a", "b"))
    with pytest.raises(ModelError, match=r"bin width is 0\.0"):
        import_keras(path, bin_width=0.0)


def edit(layer, *keys, value):
    def change(layers, data):
        place = layers[layer]
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value

    return change


def gru_edit(setting, value):
    return edit("EncoderRNN", "config", "backward_layer", "config", setting, value=value)


def without(name):
    def change(layers, data):
        layers.pop(name, None)
        data.pop(name, None)

    return change


def replaced(name, shape, dtype=np.float32):
    def change(layers, data):
        data[name] = np.zeros(shape, dtype)

    return change


def not_finite(layers, data):
    data["Dense/Dense/kernel:0"][0, 0] = np.inf


def twice(layers, data):
    data["Dense/Dense/more/kernel:0"] = data["Dense/Dense/kernel:0"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("DecoderGRU"), "no layer DecoderGRU"),
        (gru_edit("reset_after", False), "backward_layer has reset_after False"),
        (gru_edit("go_backwards", False), "go_backwards False"),
        (gru_edit("state_quantizer", None), "state_quantizer None"),
        (gru_edit("state_quantizer", keras_files.bits(5)), r"quantized_bits\(16,5\)"),
        (gru_edit("activation", "tanh"), "activation 'tanh'"),
        (
            gru_edit(
                "activation",
                {"class_name": "quantized_tanh", "config": {"bits": 16, "use_real_tanh": True}},
            ),
            "use_real_tanh=True",
        ),
        (gru_edit("bias_quantizer", {"class_name": 3}), "described wrongly"),
        (edit("EncoderRNN", "config", "merge_mode", value="sum"), "merge_mode 'sum'"),
        (edit("EncoderRNN", "config", "layer", value=None), "described wrongly"),
        (edit("DenseMean", "config", "activation", value="relu"), "activation 'relu'"),
        (edit("Dense", "config", "use_bias", value=True), "Dense has use_bias True"),
        (edit("q_act_postdense", "config", "activation", value="relu"), "q_act_postdense"),
        (edit("NeuralDense", "inbound_nodes", value=[[["Dense", 0, 0, {}]]]), "NeuralDense has in"),
        (edit("NeuralDense", "inbound_nodes", value=[[["gone", 0, 0, {}]]]), "described wrongly"),
        (edit("dropout", "inbound_nodes", value=[[["dropout", 0, 0, {}]]]), "EncoderRNN has inp"),
        (edit("encoder_input", "config", "batch_input_shape", value=[None, None, 7]), "has shape"),
        (edit("encoder_input", "config", "batch_input_shape", value=[None, 9, 8]), "units 8"),
        (edit("encoder_input", "config", "batch_input_shape", value=[None, 10**9, 7]), "bins"),
        (without("Dense/Dense/kernel:0"), "found none"),
        (twice, "found .*more"),
        (replaced("Dense/Dense/kernel:0", (5,)), "2 axes"),
        (replaced("Dense/Dense/kernel:0", (4, 3)), r"factors\.weight should be"),
        (replaced("Dense/Dense/kernel:0", (5, 3), np.float64), "float64"),
        (replaced("DecoderGRU/DecoderGRU/cell_3/bias:0", (1, 15)), r"bias \(1, 15\)"),
        (replaced("DenseMean/DenseMean/bias:0", (6,)), r"ic\.bias should be"),
        (not_finite, r"factors\.weight has 1 values that are not finite"),
    ],
)
def test_other_models_are_refused(tmp_path, change, message):
    layers, data = keras_files.small()
    change(layers, data)
    path = keras_files.write(tmp_path / "k.h5", layers, data)
    with pytest.raises(ModelError, match=message):
        import_keras(path)


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"config": {"layers": [3]}}', "[" * 9999])
def test_junk_description(tmp_path, text):
    path = tmp_path / "k.h5"
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = text
    with pytest.raises(ModelError, match="no Keras model description"):
        import_keras(path)


def test_weights_alone(tmp_path):
    path = tmp_path / "k.h5"
    with h5py.File(path, "w") as file:
        file["x"] = np.zeros(3)
    with pytest.raises(ModelError, match=r"no model_config.*\['x'\]"):
        import_keras(path)


def test_no_weights(tmp_path):
    layers, _ = keras_files.small()
    path = keras_files.write(tmp_path / "k.h5", layers, {})
    with pytest.raises(ModelError, match="found none"):
        import_keras(path)
    with h5py.File(path, "r+") as file:
        del file["model_weights"]
        file["model_weights"] = 3
    with pytest.raises(ModelError, match="no group model_weights"):
        import_keras(path)


def test_links_are_not_followed(tmp_path):
    layers, data = keras_files.small()
    other = keras_files.write(tmp_path / "other.h5", layers, data)
    path = keras_files.write(tmp_path / "k.h5", layers, {})
    with h5py.File(path, "r+") as file:
        del file["model_weights"]
        file["model_weights"] = h5py.ExternalLink(other.name, "/model_weights")
        group = file.create_group("inner")
        for name in data:
            group[name] = h5py.ExternalLink(other.name, f"/model_weights/{name}")
        del file["model_weights"]
        file.move("inner", "model_weights")
    with pytest.raises(ModelError, match="found none"):
        import_keras(path)


@pytest.mark.parametrize("part", [0.02, 0.3, 0.7, 0.99])
def test_truncated(tmp_path, part):
    path = keras_files.write(tmp_path / "k.h5", *keras_files.small())
    data = path.read_bytes()
    path.write_bytes(data[: int(part * len(data))])
    with pytest.raises(ModelError, match="cannot be read as a Keras HDF5 file"):
        import_keras(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"PK\x03\x04rest of a checkpoint", "cannot be read as a zip archive"),
        (b"\x80\x02}q", "pickle.*supported: Keras"),
        (b"\x10\0\0\0\0\0\0\0{}              ", "safetensors"),
        (b"hello", "unknown kind.*hello"),
    ],
)
def test_other_kinds_of_file(tmp_path, content, message):
    path = tmp_path / "model.ckpt"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=message):
        import_model(path)


def test_no_file(tmp_path):
    with pytest.raises(ModelError, match="no file at"):
        import_model(tmp_path / "none.h5")


def test_description_of_the_wrong_sort_of_text(tmp_path):
    path = tmp_path / "k.h5"
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = np.void(b"\xff\xfe")
    with pytest.raises(ModelError):
        import_keras(path)
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps({}).encode()
    with pytest.raises(ModelError, match="no Keras model description"):
        import_keras(path)


def test_a_text_whose_type_is_damaged_is_refused_before_it_ends_the_process(tmp_path):
    path = keras_files.write(tmp_path / "m.h5", *keras_files.small())
    with h5py.File(path, "r+") as file:
        file.attrs["model_config"] = np.zeros(1, [("a", np.int32)])
    with pytest.raises(ModelError, match="neither text nor a number"):
        import_keras(path)
