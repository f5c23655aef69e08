"""Which tensor of lfads-torch is which of ours, and how the two write a model down.

A. R. Sedler and C. Pandarinath, "lfads-torch: A modular and extensible implementation of latent
factor analysis via dynamical systems", arXiv 2309.01230, 2023. Both have gates in the order z, r, n
and matrices (out, in). It differs in

 - the initial states of an encoder's two directions: one tensor (2, 1, E);
 - mean and log-variance: one map with rows for both, ``ic_linear`` and ``co_linear``;
 - ``fac_linear.weight``: its rows are divided by their L2 norm in use;
 - the readout: log counts a bin where ours is log Hz.
"""

from __future__ import annotations

from typing import NamedTuple

from bci_lfads.models.spec import PRIORS, LfadsSpec

CELLS = {
    "encoder.forward": "encoder.ic_enc.fwd_gru.cell",
    "encoder.backward": "encoder.ic_enc.bwd_gru.cell",
    "controller.encoder.forward": "encoder.ci_enc.fwd_gru.cell",
    "controller.encoder.backward": "encoder.ci_enc.bwd_gru.cell",
    "controller": "decoder.rnn.cell.con_cell",
    "generator": "decoder.rnn.cell.gen_cell",
}
"""GRUs by our names."""
PARTS = {
    "input_weight": "weight_ih",
    "input_bias": "bias_ih",
    "recurrent_weight": "weight_hh",
    "recurrent_bias": "bias_hh",
}
"""Their tensors."""
SIDES = ("forward", "backward")
MAPS = {
    "generator.initial.weight": "decoder.ic_to_g0.weight",
    "generator.initial.bias": "decoder.ic_to_g0.bias",
    "factors.weight": "decoder.rnn.cell.fac_linear.weight",
}
"""Linear maps of the generator."""
FIRST_STATES = {"encoder": "encoder.ic_enc_h0", "controller.encoder": "encoder.ci_enc_h0"}
"""Initial states of the encoders."""
PRIOR_PARTS = {
    "mean": "mean", "log_variance": "logvar", "log_tau": "logtaus",
    "log_noise_variance": "lognvars",
}  # fmt: skip
"""Parameters of priors."""


class Posterior(NamedTuple):
    """A mean and a log-variance, which lfads-torch has in one map."""

    mean: str
    log_variance: str
    theirs: str


IC = Posterior("ic", "ic.log_variance", "encoder.ic_linear")
INPUTS = Posterior(
    "controller.mean", "controller.log_variance", "decoder.rnn.cell.co_linear"
)  # fmt: skip


def plain(spec: LfadsSpec) -> dict[str, str]:
    """Return the tensors that both have in the same form: ours to theirs.

    The generator's input weights are theirs alone where there is no controller.
    """
    shapes = spec.float_shapes()
    found = {
        f"{ours}.{part}": f"{theirs}.{their_part}"
        for ours, theirs in CELLS.items()
        for part, their_part in PARTS.items()
        if f"{ours}.{part}" in shapes
    }
    for owner, theirs in (("ic", "ic_prior"), ("controller", "co_prior")):
        for kind in PRIORS.values():
            found |= {
                f"{owner}.prior.{part}": f"{theirs}.{PRIOR_PARTS[part]}"
                for part in kind
                if f"{owner}.prior.{part}" in shapes
            }
    return found
