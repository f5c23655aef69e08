"""The controller that infers a generator's inputs, in torch (extra ``torch``).

Form of lfads-torch (A. R. Sedler and C. Pandarinath, arXiv 2309.01230, 2023) after C. Pandarinath
et al., Nature Methods 15, 2018, online methods. With x_t the counts of bin t, f_t the factors, g_t
the generator's state, c_t the controller's:

 - a second bidirectional GRU encodes the window: e→_t from the bins up to t, e←_t from t on;
 - the controller sees them ``lag`` bins late and early: e_t = [e→_{t−lag}, e←_{t+lag}], zero where
   there is none, so also after the window and in the bins that only the initial condition's
   encoder sees;
 - c_t = GRU([e_t, f_{t−1}], c_{t−1}), c_{−1} learned, f_{−1} the factors of the generator's
   first state;
 - u_t ~ N(M c_t + m, exp(V c_t + v)), or its mean in inference and in deterministic models;
 - g_t = GRU(u_t, g_{t−1}), f_t = W g_t.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from bci_lfads.models.posteriors import ar1_kl, draw, normal_kl
from bci_lfads.models.spec import PRIORS, Controller, LfadsSpec

Step = Callable[[str, Tensor, Tensor], Tensor]
"""State of a named GRU after another, given the input part of its sums."""


class Run(NamedTuple):
    """What the generator did under its controller.

    Attributes
    ----------
    factors
        Shape ``(n_windows, n_bins_out, n_factors)``.
    inputs
        Means of the inferred inputs, shape ``(n_windows, n_bins_out, n_inputs)``.
    kl
        Divergence of the inputs' posteriors from their prior, nats a window, where they were
        drawn; else None.
    """

    factors: Tensor
    inputs: Tensor
    kl: Tensor | None


def lagged(states: Tensor, controller: Controller, n_ahead: int) -> Tensor:
    """Return what the controller sees of its encoder in every bin of the output.

    Parameters
    ----------
    states
        Of the encoder's two directions at each bin that it sees, shape
        ``(n_windows, n_bins - ic_bins, 2 encoder_size)``.
    controller
        Its lag, and the bins before those.
    n_ahead
        Bins after those.
    """
    forward, backward = states.split(controller.encoder_size, dim=-1)
    lag, kept = controller.lag, states.shape[1] - controller.lag
    both = torch.cat(
        [pad(forward[:, :kept], (0, 0, lag, 0)), pad(backward[:, lag:], (0, 0, 0, lag))], dim=-1
    )
    return pad(both, (0, 0, controller.ic_bins, n_ahead))


def run(
    spec: LfadsSpec, w: Mapping[str, Tensor], seen: Tensor, g: Tensor, step: Step, *, sample: bool
) -> Run:
    """Run generator and controller on from the generator's first state.

    Parameters
    ----------
    spec, w
        The model.
    seen
        Of `lagged`.
    g
        Generator's first state, shape ``(n_windows, generator_size)``.
    step
        Computes one step of a GRU.
    sample
        Draw the inputs, rather than take their means; of variational models only.
    """
    controller = spec.controller
    assert controller is not None  # noqa: S101  # the caller's, for the type checker
    E, W = 2 * controller.encoder_size, w["controller.input_weight"]
    # What the encoder adds to the controller's sums does not wait for the factors.
    from_encoder = seen @ W[:, :E].T + w["controller.input_bias"]
    c = w["controller.initial_state"].expand(len(g), controller.size)
    f = g @ w["factors.weight"].T
    factors, means, variances, drawn = [], [], [], []
    for t in range(spec.n_bins_out):
        c = step("controller", from_encoder[:, t] + f @ W[:, E:].T, c)
        u = c @ w["controller.mean.weight"].T + w["controller.mean.bias"]
        means.append(u)
        if sample:
            log = c @ w["controller.log_variance.weight"].T + w["controller.log_variance.bias"]
            variances.append(log.exp())
            u = draw(u, variances[-1])
            drawn.append(u)
        g = step("generator", u @ w["generator.input_weight"].T + w["generator.input_bias"], g)
        f = g @ w["factors.weight"].T
        factors.append(f)
    inputs, kl = torch.stack(means, dim=1), None
    if sample:
        v = torch.stack(variances, dim=1)
        prior = [w[f"controller.prior.{name}"] for name in PRIORS[controller.prior]]
        if controller.prior == "autoregressive":
            kl = ar1_kl(inputs, v, torch.stack(drawn, dim=1), *prior)
        else:
            kl = normal_kl(inputs, v, *prior).sum(dim=1)
    return Run(torch.stack(factors, dim=1), inputs, kl)
