"""The model as a torch module, for training and for the float engine (extra ``torch``).

Parameters keep the names, shapes and gate order of `LfadsSpec.float_shapes`, so weights go in
and out without conversion. Quantisers, where the specification has them, are applied in the
forward pass and let gradients through (quantisation-aware training).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bci_lfads.errors import ModelError
from bci_lfads.models import controller
from bci_lfads.models.posteriors import draw, normal_kl
from bci_lfads.models.quantise import check_weights
from bci_lfads.models.spec import LfadsSpec

_SIDES = ("forward", "backward")
_FIRST = {
    "log_variance.bias": math.log(0.1),
    "prior.log_variance": math.log(0.1),
    "prior.log_noise_variance": math.log(0.1),
    "prior.log_tau": math.log(10.0),
}
"""First values of posteriors and priors: variances of 0.1, and 10 bins that inputs last."""


class Outputs(NamedTuple):
    """All that a network infers of a batch of windows.

    Attributes
    ----------
    factors
        Shape ``(n_windows, n_bins_out, n_factors)``.
    log_rates
        Natural logarithm of Hz, shape ``(n_windows, n_bins_out, n_units)``.
    inputs
        Means of the inferred inputs, shape ``(n_windows, n_bins_out, n_inputs)``; None without a
        controller.
    kl
        Divergence of all posteriors from their priors, nats a window; None where nothing was
        drawn.
    """

    factors: Tensor
    log_rates: Tensor
    inputs: Tensor | None
    kl: Tensor | None


class LfadsNetwork(nn.Module):  # type: ignore[misc]  # torch is optional and not type-checked
    """Counts to factors and log-rates.

    A window x_1 … x_T is encoded by a bidirectional GRU into h = [h→_T, h←_1]. The initial
    condition is A h + a; in a variational model that is the mean of its posterior, whose variance
    is exp(B h + b) + floor, and the prior is normal with learned mean and variance. It is the
    generator's first state g_0, or mapped to it; g_t = GRU(g_{t−1}), or with inputs that
    `bci_lfads.models.controller` infers; factors are f_t = W g_t, log-rates R f_t + r. Calling the
    network takes the posteriors' means; `sampled` draws from them (C. Pandarinath et al., Nature
    Methods 15, 2018, online methods; A. R. Sedler and C. Pandarinath, arXiv 2309.01230, 2023).

    Parameters
    ----------
    spec
        Sizes and form.

    Notes
    -----
    Log-rates are natural logarithms of Hz; for a Poisson loss on counts add ``log(bin_width)``.
    Seed with `torch.manual_seed` before construction for reproducible first weights. Readout
    biases start at zero (1 Hz); set ``net.weight("rates.bias")`` to the data's mean log-rates.
    """

    def __init__(self, spec: LfadsSpec) -> None:
        super().__init__()
        self.spec = spec
        self._weights = nn.ParameterDict(
            {_key(name): nn.Parameter(_initial(name, s)) for name, s in spec.float_shapes().items()}
        )

    def weight(self, name: str) -> Tensor:
        """Return the parameter of that name (`LfadsSpec.float_shapes`)."""
        return self._weights[_key(name)]

    def forward(self, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Infer factors and log-rates.

        Parameters
        ----------
        counts
            Spike counts in the parameters' type, shape ``(n_trials, n_bins, n_units)``.

        Returns
        -------
        factors : Tensor
            Shape ``(n_trials, n_bins_out, n_factors)``.
        log_rates : Tensor
            Natural logarithm of Hz, shape ``(n_trials, n_bins_out, n_units)``.
        """
        found = self._run(counts, sample=False)
        return found.factors, found.log_rates

    def outputs(self, counts: Tensor) -> Outputs:
        """Infer as by a call, the inferred inputs too."""
        return self._run(counts, sample=False)

    def sampled(self, counts: Tensor) -> Outputs:
        """Infer from a draw of each posterior, through which gradients pass.

        Raises
        ------
        ModelError
            If the model is not variational: it has no posteriors.
        """
        if self.spec.variational is None:
            raise ModelError("the model is deterministic: there is nothing to draw from")
        return self._run(counts, sample=True)

    def _run(self, counts: Tensor, *, sample: bool) -> Outputs:
        spec, w = self.spec, self._quantised_weights()
        con, inputs, kl = spec.controller, None, None
        n_seen = con.ic_bins if con is not None and con.ic_bins else spec.n_bins
        _, ends = self._encode(w, "encoder", counts[:, :n_seen])
        ic = self._state(ends @ w["ic.weight"].T + w["ic.bias"])
        if sample and spec.variational is not None:
            log = ends @ w["ic.log_variance.weight"].T + w["ic.log_variance.bias"]
            variance = log.exp() + spec.variational.ic_variance_floor
            kl = normal_kl(ic, variance, w["ic.prior.mean"], w["ic.prior.log_variance"])
            ic = draw(ic, variance)
        first = ic
        if spec.ic_map == "linear":
            linear = ic @ w["generator.initial.weight"].T + w["generator.initial.bias"]
            first = self._state(linear)
        if con is None:
            states = self._generate(w, first)
            factors = self._state(states @ w["factors.weight"].T)
        else:
            encoded, _ = self._encode(w, "controller.encoder", counts[:, con.ic_bins :])
            seen = controller.lagged(encoded, con, spec.n_ahead)
            ran = controller.run(
                spec, w, seen, first, lambda *step: self._gru_step(w, *step), sample=sample
            )
            factors, inputs = ran.factors, ran.inputs
            kl = kl if ran.kl is None else kl + ran.kl
        return Outputs(factors, factors @ w["rates.weight"].T + w["rates.bias"], inputs, kl)

    @property
    def _plain(self) -> bool:
        """Whether torch's own GRU computes this form."""
        spec = self.spec
        return (
            spec.gru == "reset_after"
            and spec.activation == "smooth"
            and spec.cell_clip is None
            and spec.quantisers is None
        )

    def _encode(self, w: Mapping[str, Tensor], where: str, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the states of both directions at each bin, and where each direction ended."""
        h0 = [w[f"{where}.{s}.initial_state"].expand(len(x), -1) for s in _SIDES]
        if self._plain:
            flat = [
                _torch_gates(w[f"{where}.{s}.{part}"])
                for s in _SIDES
                for part in ("input_weight", "recurrent_weight", "input_bias", "recurrent_bias")
            ]
            states, ends = torch.gru(
                x, torch.stack(h0), flat, True, 1, 0.0, self.training, True, True
            )
            return states, torch.cat([ends[0], ends[1]], dim=-1)
        both = []
        for side, h in zip(_SIDES, h0, strict=True):
            name = f"{where}.{side}"
            a = x @ w[f"{name}.input_weight"].T + w[f"{name}.input_bias"]
            bins, states = range(x.shape[1]), []
            for t in bins if side == "forward" else reversed(bins):
                h = self._gru_step(w, name, a[:, t], h)
                states.append(h)
            both.append(states)
        ends = torch.cat([states[-1] for states in both], dim=-1)
        ordered = [torch.stack(both[0], dim=1), torch.stack(both[1][::-1], dim=1)]
        return torch.cat(ordered, dim=-1), ends

    def _generate(self, w: Mapping[str, Tensor], g: Tensor) -> Tensor:
        a = w["generator.input_bias"]
        if self._plain:
            nothing = g.new_zeros(g.shape[0], self.spec.n_bins_out, 1)
            flat = [
                a.new_zeros(len(a), 1),
                *(
                    _torch_gates(w[f"generator.{part}"])
                    for part in ("recurrent_weight", "input_bias", "recurrent_bias")
                ),
            ]
            states, _ = torch.gru(
                nothing, g[None].contiguous(), flat, True, 1, 0.0, self.training, False, True
            )
            return states
        steps = []
        for _ in range(self.spec.n_bins_out):
            g = self._gru_step(w, "generator", a, g)
            steps.append(g)
        return torch.stack(steps, dim=1)

    def _gru_step(self, w: Mapping[str, Tensor], name: str, a: Tensor, h: Tensor) -> Tensor:
        size = h.shape[-1]
        U, b = w[f"{name}.recurrent_weight"], w[f"{name}.recurrent_bias"]
        a_z, a_r, a_n = a.split(size, dim=-1)
        c_z, c_r = (h @ U[: 2 * size].T + b[: 2 * size]).split(size, dim=-1)
        z, r = self._sigmoid(a_z + c_z), self._sigmoid(a_r + c_r)
        U_n, b_n = U[2 * size :], b[2 * size :]
        if self.spec.gru == "reset_after":
            recurrent = r * (h @ U_n.T + b_n)
        else:
            recurrent = self._state(r * h) @ U_n.T + b_n
        n = self._tanh(a_n + recurrent)
        state = z * h + (1 - z) * n
        if self.spec.cell_clip is not None:
            state = state.clamp(-self.spec.cell_clip, self.spec.cell_clip)
        return self._state(state)

    def _sigmoid(self, v: Tensor) -> Tensor:
        y = (0.5 * v + 0.5).clamp(0, 1) if self.spec.activation == "hard" else torch.sigmoid(v)
        q = self.spec.quantisers
        return y if q is None else _rounded(y, q.sigmoid_point, 0, 1)

    def _tanh(self, v: Tensor) -> Tensor:
        y = v.clamp(-1, 1) if self.spec.activation == "hard" else torch.tanh(v)
        q = self.spec.quantisers
        return y if q is None else _rounded(y, q.tanh_point, -1, 1)

    def _state(self, v: Tensor) -> Tensor:
        q = self.spec.quantisers
        return v if q is None else _int16(v, q.state_point)

    def _quantised_weights(self) -> dict[str, Tensor]:
        q = self.spec.quantisers
        w = {name: self.weight(name) for name in self.spec.float_shapes()}
        if q is None:
            return w
        return {
            name: _int16(v, q.state_point if name.endswith("initial_state") else q.weight_point)
            for name, v in w.items()
        }


def weights_from_network(net: LfadsNetwork) -> dict[str, NDArray[np.float32]]:
    """Return the network's weights as float32 arrays by the names of the specification."""
    return {
        name: net.weight(name).detach().cpu().numpy().astype(np.float32)
        for name in net.spec.float_shapes()
    }


def network_from_weights(
    spec: LfadsSpec,
    weights: Mapping[str, NDArray[np.float32]],
    dtype: torch.dtype = torch.float32,
) -> LfadsNetwork:
    """Return a network with these weights.

    Raises
    ------
    ModelError
        If a weight is missing, of the wrong shape or not finite.
    """
    check_weights(spec, weights)
    net = LfadsNetwork(spec)
    net.to(dtype)
    with torch.no_grad():
        for name, value in weights.items():
            net.weight(name).copy_(torch.tensor(np.asarray(value, np.float64)))
    return net


def _key(name: str) -> str:
    # torch allows no dot in a parameter's name.
    return name.replace(".", "__")


def _initial(name: str, shape: tuple[int, ...]) -> Tensor:
    """Return first weights: uniform within 1/sqrt(inputs) as torch does; the rest zero.

    Posteriors and priors begin as `_FIRST` says.
    """
    for end, value in _FIRST.items():
        if name.endswith(end):
            return torch.full(shape, value)
    if not name.endswith("weight"):
        return torch.zeros(shape)
    bound = shape[1] ** -0.5
    return torch.empty(shape).uniform_(-bound, bound)


def _torch_gates(v: Tensor) -> Tensor:
    """Return rows z, r, n in torch's order r, z, n."""
    z, r, n = v.chunk(3)
    return torch.cat([r, z, n])


def _int16(v: Tensor, point: int) -> Tensor:
    limit = 2.0 ** (15 - point)
    return _rounded(v, point, -limit, limit)


def _rounded(v: Tensor, point: int, low: float, high: float) -> Tensor:
    """Return `v` on the grid 2^-point up to one step below `high`; its gradient is that of v."""
    step = 2.0**-point
    grid = (torch.round(v / step) * step).clamp(low, high - step)
    if not torch.is_grad_enabled():
        return grid
    return v + (grid - v).detach()
