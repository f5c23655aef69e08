"""Importer for checkpoints of lfads-torch (arXiv 2309.01230); neither it nor torch is needed.

The file's pickle is read as data (`bci_lfads.models.inert_pickle`). Sizes come from the tensors,
what they do not say from ``hyper_parameters``: ``encod_seq_len``, ``recon_seq_len``,
``ic_enc_seq_len``, ``cell_clip``, ``ci_lag``, ``ic_post_var_min``, ``variational``. Names and form
are in `bci_lfads.models.lfads_torch_names`. Dropout has no effect in inference.

What is not in a file: the bin width (except in files of ``bci-lfads model export``), the units'
names, and which likelihood it was trained with; Poisson is taken, unless its readout has two or
three rows for each unit, as other likelihoods have.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from bci_lfads.errors import ModelError
from bci_lfads.models.lfads_torch_checkpoint import Checkpoint, Floats
from bci_lfads.models.lfads_torch_names import (
    FIRST_STATES,
    IC,
    INPUTS,
    MAPS,
    SIDES,
    Posterior,
    plain,
)
from bci_lfads.models.model import Model
from bci_lfads.models.spec import Controller, LfadsSpec, Variational
from bci_lfads.models.torch_file import TorchFile

_NOT_OF_THE_MODEL = ("valid_recon_smth.", "decoder.con_h0")
_ENCODERS = tuple(f"{owner}.{side}" for owner in FIRST_STATES for side in SIDES)


def import_lfads_torch(
    path: Path,
    *,
    bin_width: float | None = None,
    unit_labels: tuple[str, ...] | None = None,
    session: str | None = None,
    poisson: bool = False,
) -> Model:
    """Return the model in a checkpoint of lfads-torch.

    Parameters
    ----------
    path
        The checkpoint (``.ckpt``), or a file of ``bci-lfads model export``.
    bin_width
        Seconds; needed where the file does not say.
    unit_labels
        Default ``u0``, ``u1``...
    session
        Which session's read-in and readout, where it was trained on several: a number from 0, in
        the order of its data files' names, or the name of such a file where they are here.
    poisson
        That its likelihood is Poisson, where the readout looks as if it were not.

    Raises
    ------
    ModelError
        If the file cannot be read, or holds what no engine here computes; saying what.
    """
    with TorchFile(path) as file:
        checkpoint = Checkpoint(path, file)
        chosen = checkpoint.session(session)
        spec = _spec(checkpoint, chosen, poisson)
        ours = checkpoint.ours
        width = bin_width if bin_width is not None else ours.get("bin_width")
        if not isinstance(width, float | int):
            raise ModelError(f"{path} does not say how wide its bins are; give --bin-width SECONDS")
        if not 0 < width <= 10:
            raise ModelError(f"bins of {width} s; expected above 0 and at most 10 s")
        weights = _weights(checkpoint, spec, chosen, float(width))
    labels = unit_labels or ours.get("unit_labels")
    if not isinstance(labels, list | tuple):
        labels = tuple(f"u{i}" for i in range(spec.n_units))
    try:
        spec = _direct(spec, weights)
        return Model.from_weights(
            spec,
            weights,
            unit_labels=tuple(labels),
            bin_width=float(width),
            provenance={
                "importer": "lfads-torch",
                "file": path.name,
                "sha256": _digest(path),
                "session": f"{chosen} of {checkpoint.n_sessions}",
                "bin_width": "given" if bin_width is not None else "of the file",
                "likelihood": "assumed to be Poisson",
                "note": _note(checkpoint, spec),
            },
        )
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error


def _digest(path: Path) -> str:
    sha = hashlib.sha256()
    with path.open("rb") as stream:
        while part := stream.read(1 << 20):
            sha.update(part)
    return sha.hexdigest()


def _spec(checkpoint: Checkpoint, session: int, poisson: bool) -> LfadsSpec:
    """Return sizes and form, after a look at what this cannot import."""
    path, state = checkpoint.path, checkpoint.state
    if n_ext := checkpoint.whole("ext_input_dim", default=0):
        raise ModelError(
            f"{path} has {n_ext} external inputs; no engine here takes any. Train without them"
        )
    if any(name.startswith("recon.") for name in state):
        raise ModelError(
            f"{path} was trained with a likelihood that has parameters (zero-inflated gamma); only "
            "the Poisson likelihood of spike counts can be imported"
        )
    n_out, n_factors = checkpoint.shape(f"readout.{session}.weight", 2)
    readin = f"readin.{session}.weight" in state
    encoded = "encoder.ic_enc.fwd_gru.cell.weight_ih"
    n_seen = checkpoint.shape(f"readin.{session}.weight" if readin else encoded, 2)[1]
    if n_out < n_seen:
        raise ModelError(f"{path} sees {n_seen} units and reads out {n_out}; expected as many")
    if n_out in (2 * n_seen, 3 * n_seen) and not poisson:
        raise ModelError(
            f"{path} reads out {n_out} numbers for {n_seen} units that it sees: it looks trained "
            "with a Gaussian or gamma likelihood, of which no engine here computes rates. If it is "
            "Poisson, with units that it does not see, say --poisson"
        )
    rows, encoder_columns = checkpoint.shape("encoder.ic_linear.weight", 2)
    has_controller = "encoder.ci_enc_h0" in state
    n_encoded, n_out_bins = checkpoint.whole("encod_seq_len", 1), checkpoint.whole("recon_seq_len")
    ic_bins = checkpoint.whole("ic_enc_seq_len", default=0)
    # Without a controller nothing but the initial condition's encoder sees counts.
    n_bins = n_encoded if has_controller or not ic_bins else ic_bins
    if n_out_bins < n_bins or ic_bins > n_encoded:
        raise ModelError(
            f"{path} sees {n_bins} bins (ic_enc_seq_len {ic_bins}) and reconstructs {n_out_bins}; "
            "expected as many or more"
        )
    clip = checkpoint.number("cell_clip", math.inf)
    settings: dict[str, Any] = {
        "n_units": n_out,
        "n_bins": n_bins,
        "n_ahead": n_out_bins - n_bins,
        "encoder_size": encoder_columns // 2,
        "ic_size": rows // 2,
        "generator_size": checkpoint.shape("decoder.rnn.cell.gen_cell.weight_hh", 2)[1],
        "n_factors": n_factors,
        "gru": "reset_before",
        "ic_map": "linear",
        "cell_clip": None if clip == math.inf else clip,
    }
    try:
        if has_controller:
            settings["controller"] = Controller(
                n_inputs=checkpoint.shape("decoder.rnn.cell.co_linear.weight", 2)[0] // 2,
                size=checkpoint.shape("decoder.rnn.cell.con_cell.weight_hh", 2)[1],
                encoder_size=checkpoint.shape("encoder.ci_enc_h0", 3)[2],
                lag=checkpoint.whole("ci_lag"),
                ic_bins=ic_bins,
                prior="independent" if "co_prior.logvar" in state else "autoregressive",
            )
        if _variational(checkpoint, has_controller):
            floor = checkpoint.number("ic_post_var_min")
            settings["variational"] = Variational(ic_variance_floor=floor)
        return LfadsSpec(**settings)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(str(p) for p in e['loc'])}: {e['msg']}"
            for e in error.errors(include_url=False)[:5]
        )
        raise ModelError(f"{path} holds no model of this kind: {wrong}") from error


def _variational(checkpoint: Checkpoint, has_controller: bool) -> bool:
    """Return whether it has posteriors of the kinds that are known here.

    Others (Student's t) have the same means, and so the same inference.
    """
    state = checkpoint.state
    known = {"ic_prior.mean", "ic_prior.logvar"} <= set(state)
    if has_controller:
        known = known and (
            {"co_prior.logtaus", "co_prior.lognvars"} <= set(state)
            or {"co_prior.mean", "co_prior.logvar"} <= set(state)
        )
    return checkpoint.settings.get("variational", known) is True and known


def _weights(
    checkpoint: Checkpoint, spec: LfadsSpec, session: int, bin_width: float
) -> dict[str, NDArray[np.float32]]:
    shapes, same = spec.float_shapes(), plain(spec)
    used, N = set(same.values()), spec.n_units
    seen = [name for e in _ENCODERS if (name := f"{e}.input_weight") in shapes]
    w = {o: checkpoint.tensor(t, shapes[o]) for o, t in same.items() if o not in seen}
    n_encoded = checkpoint.shape(same[seen[0]], 2)[1]
    readin = f"readin.{session}"
    for name in seen:
        matrix = checkpoint.tensor(same[name], (shapes[name][0], n_encoded))
        if f"{readin}.weight" in checkpoint.state:
            # The read-in is linear, so the encoder's own input map takes it up.
            n_seen = checkpoint.shape(f"{readin}.weight", 2)[1]
            bias = name.replace("weight", "bias")
            w[bias] = w[bias] + matrix @ checkpoint.tensor(f"{readin}.bias", (n_encoded,))
            matrix = matrix @ checkpoint.tensor(f"{readin}.weight", (n_encoded, n_seen))
        # Units that it reconstructs without seeing them have no weight.
        w[name] = np.pad(matrix, ((0, 0), (0, N - matrix.shape[1])))
    for owner, theirs in FIRST_STATES.items():
        if f"{owner}.forward.initial_state" in shapes:
            used.add(theirs)
            size = shapes[f"{owner}.forward.initial_state"][0]
            states = checkpoint.tensor(theirs, (2, 1, size))
            w |= {f"{owner}.{s}.initial_state": states[k, 0] for k, s in enumerate(SIDES)}
    if spec.controller is not None:
        K = spec.controller.size
        w["controller.initial_state"] = checkpoint.tensor("decoder.con_h0", (1, K))[0]
    else:
        used.add(no_input := "decoder.rnn.cell.gen_cell.weight_ih")
        checkpoint.tensor(no_input, (3 * spec.generator_size, 0))
    for posterior in (IC, INPUTS) if spec.controller is not None else (IC,):
        used |= {f"{posterior.theirs}.weight", f"{posterior.theirs}.bias"}
        w |= _posterior(checkpoint, posterior, shapes)
    for ours, theirs in MAPS.items():
        used.add(theirs)
        w[ours] = checkpoint.tensor(theirs, shapes[ours])
    w["factors.weight"] = normalised(w["factors.weight"])
    w["rates.weight"] = checkpoint.tensor(f"readout.{session}.weight", shapes["rates.weight"])
    # Log counts a bin there, log Hz here.
    log_counts = checkpoint.tensor(f"readout.{session}.bias", (N,))
    w["rates.bias"] = log_counts - math.log(bin_width)
    _check_unused(checkpoint, used)
    return {name: value.astype(np.float32) for name, value in w.items()}


def _posterior(
    checkpoint: Checkpoint, posterior: Posterior, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Floats]:
    size, columns = shapes[f"{posterior.mean}.weight"]
    weight = checkpoint.tensor(f"{posterior.theirs}.weight", (2 * size, columns))
    bias = checkpoint.tensor(f"{posterior.theirs}.bias", (2 * size,))
    found = {f"{posterior.mean}.weight": weight[:size], f"{posterior.mean}.bias": bias[:size]}
    if f"{posterior.log_variance}.weight" in shapes:
        found[f"{posterior.log_variance}.weight"] = weight[size:]
        found[f"{posterior.log_variance}.bias"] = bias[size:]
    return found


def _check_unused(checkpoint: Checkpoint, used: set[str]) -> None:
    """Refuse a checkpoint with tensors whose part in the model is not known."""
    ignored = re.compile(r"(readin|readout)\.\d+\.(weight|bias)|(ic|co)_prior\.[a-z]+")
    more = [
        name
        for name in checkpoint.state
        if name not in used
        and not ignored.fullmatch(name)
        and not name.startswith(_NOT_OF_THE_MODEL)
    ]
    if more:
        raise ModelError(
            f"{checkpoint.path} has tensors that lfads-torch's own modules do not have, such as "
            f"{', '.join(sorted(more)[:3])[:200]}: a changed model cannot be imported"
        )


def normalised(raw: Floats) -> Floats:
    """Return rows of length 1; those that have it to within float32's rounding as they are."""
    norms = np.maximum(np.linalg.norm(raw, axis=1, keepdims=True), 1e-12)
    return np.where(np.abs(norms - 1) < 1e-6, raw, raw / norms)


def _direct(spec: LfadsSpec, weights: dict[str, NDArray[np.float32]]) -> LfadsSpec:
    """Return the form without a map of the initial condition where that is the identity."""
    W, b = weights["generator.initial.weight"], weights["generator.initial.bias"]
    if W.shape[0] != W.shape[1] or not np.array_equal(W, np.eye(len(W))) or b.any():
        return spec
    del weights["generator.initial.weight"], weights["generator.initial.bias"]
    return spec.model_copy(update={"ic_map": "direct"})


def _note(checkpoint: Checkpoint, spec: LfadsSpec) -> str:
    notes = ["factors have rows of length 1, as in use there"]
    if checkpoint.settings.get("variational") is True and spec.variational is None:
        notes.append("posteriors of a kind that is not known here are left out")
    n_encoded = checkpoint.settings.get("encod_seq_len")
    if spec.controller is None and n_encoded != spec.n_bins:
        notes.append(f"of {n_encoded} bins it sees the first {spec.n_bins} only, as there")
    return "; ".join(notes)
