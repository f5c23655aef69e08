"""Writes small random Keras files of the published model's layers, for the importer's tests."""

import copy
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np


def bits(integer: int) -> dict[str, Any]:
    return {
        "class_name": "quantized_bits",
        "config": {
            "bits": 16, "integer": integer, "symmetric": 0, "alpha": 1, "keep_negative": True,
            "use_stochastic_rounding": False, "qnoise_factor": 1.0,
        },
    }  # fmt: skip


def activation(kind: str) -> dict[str, Any]:
    config = {"bits": 16, "symmetric": False, "use_stochastic_rounding": False}
    return {
        "class_name": f"quantized_{kind}",
        "config": {**config, f"use_real_{kind}": False},
    }


def gru(**changes: Any) -> dict[str, Any]:
    return {
        "use_bias": True, "reset_after": True, "activation": activation("tanh"),
        "recurrent_activation": activation("sigmoid"), "kernel_quantizer": bits(1),
        "recurrent_quantizer": bits(1), "bias_quantizer": bits(1), "state_quantizer": bits(6),
        "go_backwards": False, "return_sequences": False, **changes,
    }  # fmt: skip


def config(n_bins: int, n_units: int) -> dict[str, dict[str, Any]]:
    """Return the layers by name."""
    layers: dict[str, dict[str, Any]] = {}

    def add(name: str, kind: str, inputs: list[str], **settings: Any) -> None:
        nodes = [[[source, 0, 0, {}] for source in inputs]] if inputs else []
        layers[name] = {
            "class_name": kind, "config": {"name": name, **settings}, "inbound_nodes": nodes,
        }  # fmt: skip

    def dense(name: str, source: str, bias: bool) -> None:
        add(
            name, "QDense", [source], activation="linear", use_bias=bias,
            kernel_quantizer=bits(1), bias_quantizer=bits(1),
        )  # fmt: skip

    def states(name: str, source: str) -> None:
        add(name, "QActivation", [source], activation="quantized_bits(16,6,alpha=1)")

    add("encoder_input", "InputLayer", [], batch_input_shape=[None, n_bins, n_units])
    add("dropout", "Dropout", ["encoder_input"], rate=0.1)
    add(
        "EncoderRNN", "QBidirectional", ["dropout"], merge_mode="concat",
        layer={"class_name": "QGRU", "config": gru()},
        backward_layer={"class_name": "QGRU", "config": gru(go_backwards=True)},
    )  # fmt: skip
    states("q_act_postencoder", "EncoderRNN")
    dense("DenseMean", "q_act_postencoder", bias=True)
    states("q_act_dense_mean", "DenseMean")
    states("q_act_postsampling", "q_act_dense_mean")
    add("decoder_input", "InputLayer", [], batch_input_shape=[None, n_bins, 4])
    states("q_act_predecoder", "q_act_postsampling")
    add("DecoderGRU", "QGRU", ["decoder_input", "q_act_predecoder"], **gru(return_sequences=True))
    states("q_act_postdecoder", "DecoderGRU")
    dense("Dense", "q_act_postdecoder", bias=False)
    states("q_act_postdense", "Dense")
    dense("NeuralDense", "q_act_postdense", bias=True)
    return layers


def weights(n_units: int, encoder: int, generator: int, factors: int) -> dict[str, Any]:
    """Return the datasets by path."""
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> Any:
        return rng.normal(0, 0.6, shape).astype(np.float32)

    found: dict[str, Any] = {}
    for where, inputs, size in (
        ("EncoderRNN/EncoderRNN/forward_f/cell_2", n_units, encoder),
        ("EncoderRNN/EncoderRNN/backward_b/cell_1", n_units, encoder),
        ("DecoderGRU/DecoderGRU/cell_3", generator, generator),
    ):
        found[f"{where}/kernel:0"] = draw(inputs, 3 * size)
        found[f"{where}/recurrent_kernel:0"] = draw(size, 3 * size)
        found[f"{where}/bias:0"] = draw(2, 3 * size)
    found["DenseMean/DenseMean/kernel:0"] = draw(2 * encoder, generator)
    found["DenseMean/DenseMean/bias:0"] = draw(generator)
    found["Dense/Dense/kernel:0"] = draw(generator, factors)
    found["NeuralDense/NeuralDense/kernel:0"] = draw(factors, n_units)
    found["NeuralDense/NeuralDense/bias:0"] = draw(n_units)
    return found


def write(path: Path, layers: dict[str, dict[str, Any]], data: dict[str, Any]) -> Path:
    text = json.dumps({"class_name": "Functional", "config": {"layers": list(layers.values())}})
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = text
        group = file.create_group("model_weights")
        for name, value in data.items():
            group[name] = value
    return path


def small() -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Return layers and weights of a file that can be imported."""
    return copy.deepcopy(config(9, 7)), weights(7, 6, 5, 3)
