"""Writes a model as a checkpoint that lfads-torch's modules load (extra ``torch``).

The file is ``{"state_dict", "hyper_parameters", "bci_lfads"}`` of plain objects. With a model of
the same hyper-parameters, one session and ``torch.nn.Identity`` as read-in:

    model.load_state_dict(torch.load(FILE, weights_only=True)["state_dict"])

Training's own hyper-parameters are not in it. Tested against the equations of lfads-torch, not
against lfads-torch itself.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bci_lfads.errors import ModelError
from bci_lfads.models.lfads_torch_checkpoint import OURS
from bci_lfads.models.lfads_torch_import import normalised
from bci_lfads.models.lfads_torch_names import FIRST_STATES, IC, INPUTS, MAPS, SIDES, plain
from bci_lfads.models.model import Model
from bci_lfads.models.spec import LfadsSpec

Floats = NDArray[np.float64]


def export_lfads_torch(model: Model, path: Path) -> list[str]:
    """Write a checkpoint with the float weights of a model; an existing file is replaced.

    Returns
    -------
    list of str
        In words, what is written in another way than the model has it.

    Raises
    ------
    ModelError
        If lfads-torch has no such form, torch is missing, or the file cannot be written.
    """
    check_form(model.spec)
    try:
        import torch
    except (ImportError, OSError) as error:
        raise ModelError(
            f"a file of torch is written by torch, which cannot be imported ({error}); install it "
            "with pip install 'bci-lfads[torch]'"
        ) from error
    state, notes = state_dict(model)
    content = {
        "state_dict": {
            name: torch.from_numpy(np.array(value, np.float32)) for name, value in state.items()
        },
        "hyper_parameters": settings(model.spec, state["encoder.ic_enc.fwd_gru.cell.weight_ih"]),
        OURS: {
            "bin_width": model.bin_width,
            "unit_labels": list(model.unit_labels),
            "model_hash": model.hash,
        },
    }
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        try:
            torch.save(content, part)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except (OSError, RuntimeError) as error:
        raise ModelError(f"cannot write {path}: {error}") from error
    return notes


def check_form(spec: LfadsSpec) -> None:
    """Refuse a form that lfads-torch does not have.

    Raises
    ------
    ModelError
        Naming what it has otherwise.
    """
    wrong = [
        what
        for what, found in (
            ("its GRUs are reset-after", spec.gru != "reset_before"),
            ("its activations are hard", spec.activation != "smooth"),
            ("it was trained with quantisers", spec.quantisers is not None),
        )
        if found
    ]
    if wrong:
        raise ModelError(
            f"lfads-torch has no such model: {', '.join(wrong)}. It has reset-before GRUs with "
            "smooth activations: train with --gru reset_before"
        )


def state_dict(model: Model) -> tuple[dict[str, Floats], list[str]]:
    """Return the tensors by lfads-torch's names, float64, and notes as `export_lfads_torch`."""
    spec, notes = model.spec, []
    w = {name: np.asarray(value, np.float64) for name, value in model.weights.items()}
    unit = normalised(w["factors.weight"])
    if not np.array_equal(unit, w["factors.weight"]):
        # Rows have length 1 there; what takes the factors takes their lengths too.
        lengths = np.linalg.norm(w["factors.weight"], axis=1)
        w["factors.weight"], w["rates.weight"] = unit, w["rates.weight"] * lengths
        if spec.controller is not None:
            seen = 2 * spec.controller.encoder_size
            w["controller.input_weight"] = w["controller.input_weight"].copy()
            w["controller.input_weight"][:, seen:] *= lengths
        notes.append("factors are divided by the lengths of their rows, the readout has those")
    if spec.ic_map == "direct":
        w["generator.initial.weight"] = np.eye(spec.generator_size)
        w["generator.initial.bias"] = np.zeros(spec.generator_size)
    state = {theirs: w[ours] for ours, theirs in (plain(spec) | MAPS).items()}
    unseen = _unseen(w)
    for name in state:
        if name.startswith("encoder.") and name.endswith("weight_ih"):
            state[name] = state[name][:, : spec.n_units - unseen]
    for owner, theirs in FIRST_STATES.items():
        if f"{owner}.forward.initial_state" in w:
            state[theirs] = np.stack([w[f"{owner}.{side}.initial_state"] for side in SIDES])[
                :, None
            ]
    K = 0 if spec.controller is None else spec.controller.size
    state["decoder.con_h0"] = w.get("controller.initial_state", np.zeros(K))[None]
    if spec.controller is None:
        state["decoder.rnn.cell.gen_cell.weight_ih"] = np.zeros((3 * spec.generator_size, 0))
    for posterior in (IC, INPUTS) if spec.controller is not None else (IC,):
        for part in ("weight", "bias"):
            mean = w[f"{posterior.mean}.{part}"]
            log_variance = w.get(f"{posterior.log_variance}.{part}", np.zeros_like(mean))
            state[f"{posterior.theirs}.{part}"] = np.concatenate([mean, log_variance])
    state["readout.0.weight"] = w["rates.weight"]
    state["readout.0.bias"] = w["rates.bias"] + math.log(model.bin_width)
    return state, notes


def settings(spec: LfadsSpec, encoder: Floats) -> dict[str, Any]:
    """Return the hyper-parameters that make lfads-torch's model of this form."""
    con = spec.controller
    return {
        "encod_data_dim": encoder.shape[1],
        "encod_seq_len": spec.n_bins,
        "recon_seq_len": spec.n_bins_out,
        "ext_input_dim": 0,
        "ic_enc_seq_len": con.ic_bins if con else 0,
        "ic_enc_dim": spec.encoder_size,
        "ci_enc_dim": con.encoder_size if con else 0,
        "ci_lag": con.lag if con else 0,
        "con_dim": con.size if con else 0,
        "co_dim": con.n_inputs if con else 0,
        "ic_dim": spec.ic_size,
        "gen_dim": spec.generator_size,
        "fac_dim": spec.n_factors,
        "dropout_rate": 0.0,
        "variational": spec.variational is not None,
        "ic_post_var_min": spec.variational.ic_variance_floor if spec.variational else 0.0,
        "cell_clip": math.inf if spec.cell_clip is None else spec.cell_clip,
    }


def _unseen(w: dict[str, Floats]) -> int:
    """Return how many of the last units no encoder sees: lfads-torch leaves out their columns."""
    columns = [v for k, v in w.items() if "encoder." in k and k.endswith("input_weight")]
    used = np.flatnonzero(np.concatenate(columns).any(axis=0))
    n_units = columns[0].shape[1]
    return n_units - int(used[-1]) - 1 if len(used) else 0
