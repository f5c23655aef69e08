"""Importer for the published model: a Keras file of QKeras layers (arXiv 2402.04274).

The file says what each layer does (`model_config`); every setting that the kernel's arithmetic
depends on is compared with what the kernel computes, and a file that differs is refused. What
QKeras' quantisers do: `quantized_bits(16, i)` rounds to 2^-(15-i), ties to even, and saturates at
±2^i; `quantized_sigmoid(16)` is 0.5 x + 0.5 clipped to 0..1 and rounded to 2^-16;
`quantized_tanh(16)` is x clipped to ±1 and rounded to 2^-15.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from bci_lfads.attributes import read_attribute
from bci_lfads.errors import ModelError
from bci_lfads.models.model import Model
from bci_lfads.models.spec import LfadsSpec, Quantisers

PUBLISHED_BIN_WIDTH = 0.01
"""Seconds; the published model's loss adds log(0.01) to its log-rates."""
MAX_BYTES = 1 << 28
_MAX_SIZE = 1 << 16
_STATES = "quantized_bits(16,6,alpha=1)"
# Each layer with the class it must have and the layers it must read.
_WIRING: dict[str, tuple[str, tuple[str, ...]]] = {
    "encoder_input": ("InputLayer", ()),
    "EncoderRNN": ("QBidirectional", ("encoder_input",)),
    "q_act_postencoder": ("QActivation", ("EncoderRNN",)),
    "DenseMean": ("QDense", ("q_act_postencoder",)),
    "q_act_dense_mean": ("QActivation", ("DenseMean",)),
    "q_act_postsampling": ("QActivation", ("q_act_dense_mean",)),
    "decoder_input": ("InputLayer", ()),
    "q_act_predecoder": ("QActivation", ("q_act_postsampling",)),
    "DecoderGRU": ("QGRU", ("decoder_input", "q_act_predecoder")),
    "q_act_postdecoder": ("QActivation", ("DecoderGRU",)),
    "Dense": ("QDense", ("q_act_postdecoder",)),
    "q_act_postdense": ("QActivation", ("Dense",)),
    "NeuralDense": ("QDense", ("q_act_postdense",)),
}
_GRU = {
    "use_bias": True, "reset_after": True, "activation": "quantized_tanh(16)",
    "recurrent_activation": "quantized_sigmoid(16)", "kernel_quantizer": "quantized_bits(16,1)",
    "recurrent_quantizer": "quantized_bits(16,1)", "bias_quantizer": "quantized_bits(16,1)",
    "state_quantizer": "quantized_bits(16,6)",
}  # fmt: skip
_DENSE = {
    "activation": "linear", "kernel_quantizer": "quantized_bits(16,1)",
    "bias_quantizer": "quantized_bits(16,1)",
}  # fmt: skip


class _Gru(NamedTuple):
    kernel: NDArray[np.float32]
    recurrent: NDArray[np.float32]
    bias: NDArray[np.float32]


def import_keras(
    path: Path,
    *,
    bin_width: float | None = None,
    unit_labels: tuple[str, ...] | None = None,
) -> Model:
    """Return the model in a Keras HDF5 file, read in this process, which a damaged one may hang.

    `import_model` has another process read it.

    Parameters
    ----------
    path
        File with the layers of the published model, of any size.
    bin_width
        Seconds; default `PUBLISHED_BIN_WIDTH`, since the file does not say.
    unit_labels
        Default ``u0``, ``u1``...

    Raises
    ------
    ModelError
        If the file cannot be read, or holds another model than the kernel computes; naming the
        layer and the setting.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ModelError(f"{path} is {size} bytes; a Keras file may have {MAX_BYTES}")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        with h5py.File(path, "r") as file:
            layers = _layers(path, file)
            _check_layers(path, layers)
            spec, weights = _weights(path, file, layers)
    except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{path} cannot be read as a Keras HDF5 file ({error}); it is damaged or cut short"
        ) from error
    return Model.from_weights(
        spec,
        weights,
        unit_labels=unit_labels or tuple(f"u{i}" for i in range(spec.n_units)),
        bin_width=PUBLISHED_BIN_WIDTH if bin_width is None else bin_width,
        provenance={
            "importer": "keras",
            "file": path.name,
            "sha256": digest,
            "bin_width": "assumed, as published" if bin_width is None else "given",
            "note": "the generator's input is zero, so its input weights are left out; factors are "
            "those after their quantiser",
        },
    )


def convert(path: Path, out: Path, **options: Any) -> None:
    """Write the model in a Keras HDF5 file as a file of this package's own.

    Raises
    ------
    ModelError
        As of `import_keras`, whose options are taken.
    """
    import_keras(path, **options).save(out)


def _layers(path: Path, file: h5py.File) -> dict[str, dict[str, Any]]:
    text = read_attribute(file, "model_config")
    if text is None:
        raise ModelError(
            f"{path} is HDF5 but has no model_config, so it is not a whole Keras model; it has "
            f"{sorted(file)[:5]}. Save it with model.save('….h5'), not weights alone"
        )
    if isinstance(text, bytes):
        text = text.decode("utf-8")
    try:
        found = json.loads(text)["config"]["layers"]
        return {layer["config"]["name"]: layer for layer in found}
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise ModelError(f"{path}: model_config is no Keras model description ({error})") from error


def _check_layers(path: Path, layers: dict[str, dict[str, Any]]) -> None:
    for name, (kind, inputs) in _WIRING.items():
        if name not in layers:
            raise ModelError(
                f"{path} has no layer {name} ({kind}); only the published LFADS model's layers can "
                f"be imported. It has {', '.join(list(layers)[:20])}"
            )
        try:
            found = _inputs(layers, name)
            settings = layers[name]["config"]
            _expect(path, name, "class", layers[name]["class_name"], kind)
            _expect(path, name, "inputs", found, inputs)
            if kind == "QActivation":
                _expect(path, name, "activation", settings["activation"], _STATES)
            elif kind == "QDense":
                _expect_all(path, name, settings, {**_DENSE, "use_bias": name != "Dense"})
            elif name == "EncoderRNN":
                _expect(path, name, "merge_mode", settings["merge_mode"], "concat")
                for part, backwards in (("layer", False), ("backward_layer", True)):
                    wanted = {**_GRU, "go_backwards": backwards, "return_sequences": False}
                    _expect(path, name, f"{part} class", settings[part]["class_name"], "QGRU")
                    _expect_all(path, f"{name} {part}", settings[part]["config"], wanted)
            elif name == "DecoderGRU":
                wanted = {**_GRU, "go_backwards": False, "return_sequences": True}
                _expect_all(path, name, settings, wanted)
        except (LookupError, TypeError, AttributeError) as error:
            raise ModelError(f"{path}: layer {name} is described wrongly ({error!r})") from error


def _inputs(layers: dict[str, dict[str, Any]], name: str) -> tuple[str, ...]:
    """Return the layers that a layer reads, looking through dropout."""
    nodes = layers[name]["inbound_nodes"]
    names = [source[0] for source in nodes[0]] if nodes else []
    for i, source in enumerate(names):
        for _ in layers:
            if layers[source]["class_name"] != "Dropout":
                break
            source = layers[source]["inbound_nodes"][0][0][0]
        names[i] = source
    return tuple(names)


def _expect_all(path: Path, layer: str, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    for setting, value in wanted.items():
        _expect(path, layer, setting, _described(found.get(setting)), value)


def _expect(path: Path, layer: str, setting: str, found: Any, wanted: Any) -> None:
    if found != wanted:
        raise ModelError(
            f"{path}: layer {layer} has {setting} {found!r}; the importer knows {wanted!r} only"
        )


def _described(setting: Any) -> Any:
    """Return a quantiser's configuration as short text; other settings as they are."""
    if not isinstance(setting, dict):
        return setting
    kind, config = setting["class_name"], dict(setting["config"])
    usual: dict[str, dict[str, Any]] = {
        "quantized_bits": {
            "symmetric": 0, "alpha": 1, "keep_negative": True,
            "use_stochastic_rounding": False, "qnoise_factor": 1.0,
        },
        "quantized_tanh": {
            "symmetric": False, "use_stochastic_rounding": False, "use_real_tanh": False,
        },
        "quantized_sigmoid": {
            "symmetric": False, "use_stochastic_rounding": False, "use_real_sigmoid": False,
        },
    }  # fmt: skip
    plain = usual.get(kind, {})
    numbers = [str(config.pop(key)) for key in ("bits", "integer") if key in config]
    unusual = [f"{k}={v}" for k, v in sorted(config.items()) if k not in plain or plain[k] != v]
    return f"{kind}({','.join(numbers + unusual)})"


def _weights(
    path: Path, file: h5py.File, layers: dict[str, dict[str, Any]]
) -> tuple[LfadsSpec, dict[str, NDArray[np.float32]]]:
    data = _datasets(path, file)
    forward = _gru(path, data, r"EncoderRNN/.*forward_[^/]*/[^/]*")
    backward = _gru(path, data, r"EncoderRNN/.*backward_[^/]*/[^/]*")
    decoder = _gru(path, data, r"DecoderGRU/.*")
    mean, mean_bias = (_one(path, data, rf"DenseMean/.*/{k}:0", d) for k, d in _PAIR)
    dense = _one(path, data, r"Dense/.*/kernel:0", 2)
    neural, neural_bias = (_one(path, data, rf"NeuralDense/.*/{k}:0", d) for k, d in _PAIR)

    shape = layers["encoder_input"]["config"]["batch_input_shape"]
    if not (isinstance(shape, list) and len(shape) == 3 and isinstance(shape[1], int)):
        raise ModelError(f"{path}: encoder_input has shape {shape}; expected [null, bins, units]")
    if not 1 <= shape[1] <= _MAX_SIZE:
        raise ModelError(f"{path}: encoder_input has {shape[1]} bins; expected 1 to {_MAX_SIZE}")
    spec = LfadsSpec(
        n_units=forward.kernel.shape[0],
        n_bins=shape[1],
        encoder_size=forward.recurrent.shape[0],
        ic_size=mean.shape[1],
        generator_size=decoder.recurrent.shape[0],
        n_factors=dense.shape[1],
        gru="reset_after",
        activation="hard",
        ic_map="direct",
        quantisers=Quantisers(),
    )
    _expect(path, "encoder_input", "units", shape[2], spec.n_units)
    # Keras keeps matrices (in, out) with gates z, r, h side by side, and two rows of biases:
    # the input's and the recurrence's.
    weights: dict[str, NDArray[np.float32]] = {}
    for side, gru in (("forward", forward), ("backward", backward)):
        weights |= {
            f"encoder.{side}.input_weight": gru.kernel.T,
            f"encoder.{side}.input_bias": gru.bias[0],
            f"encoder.{side}.recurrent_weight": gru.recurrent.T,
            f"encoder.{side}.recurrent_bias": gru.bias[1],
            f"encoder.{side}.initial_state": np.zeros(spec.encoder_size, np.float32),
        }
    weights |= {
        "ic.weight": mean.T,
        "ic.bias": mean_bias,
        "generator.input_bias": decoder.bias[0],
        "generator.recurrent_weight": decoder.recurrent.T,
        "generator.recurrent_bias": decoder.bias[1],
        "factors.weight": dense.T,
        "rates.weight": neural.T,
        "rates.bias": neural_bias,
    }
    return spec, weights


_PAIR = (("kernel", 2), ("bias", 1))


def _datasets(path: Path, file: h5py.File) -> dict[str, h5py.Dataset]:
    """Return the weights by path; links out of the file are not followed."""
    group = file.get("model_weights")
    if not isinstance(group, h5py.Group):
        raise ModelError(f"{path} has no group model_weights; it has {sorted(file)[:5]}")
    found: dict[str, h5py.Dataset] = {}

    def visit(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item

    group.visititems(visit)
    return found


def _gru(path: Path, data: dict[str, h5py.Dataset], where: str) -> _Gru:
    kernel = _one(path, data, f"{where}/kernel:0", 2)
    recurrent = _one(path, data, f"{where}/recurrent_kernel:0", 2)
    bias = _one(path, data, f"{where}/bias:0", 2)
    size = recurrent.shape[0]
    if recurrent.shape[1] != 3 * size or kernel.shape[1] != 3 * size or bias.shape != (2, 3 * size):
        raise ModelError(
            f"{path}: the GRU at {where} has kernel {kernel.shape}, recurrent kernel "
            f"{recurrent.shape} and bias {bias.shape}; expected (in, 3 n), (n, 3 n) and (2, 3 n)"
        )
    return _Gru(kernel, recurrent, bias)


def _one(
    path: Path, data: dict[str, h5py.Dataset], pattern: str, n_axes: int
) -> NDArray[np.float32]:
    names = [name for name in data if re.fullmatch(pattern, name)]
    if len(names) != 1:
        raise ModelError(f"{path}: expected one weight at {pattern}, found {names[:5] or 'none'}")
    item = data[names[0]]
    if item.dtype != np.float32 or item.ndim != n_axes or max(item.shape, default=0) > _MAX_SIZE:
        raise ModelError(
            f"{path}: {names[0]} is {item.dtype} of shape {item.shape}; expected float32 with "
            f"{n_axes} axes of at most {_MAX_SIZE}"
        )
    if item.nbytes > MAX_BYTES or item.external or item.is_virtual:
        raise ModelError(f"{path}: {names[0]} is too large or kept outside of the file")
    values: NDArray[np.float32] = item[()]
    return values
