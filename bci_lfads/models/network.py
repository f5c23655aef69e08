"""The model as a torch module, for training and for the float engine (extra ``torch``).

Parameters keep the names, shapes and gate order of `LfadsSpec.weight_shapes`, so weights go in
and out without conversion. Quantisers, where the specification has them, are applied in the
forward pass and let gradients through (quantisation-aware training).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bci_lfads.models.quantise import check_weights
from bci_lfads.models.spec import LfadsSpec

_SIDES = ("forward", "backward")


class LfadsNetwork(nn.Module):  # type: ignore[misc]  # torch is optional and not type-checked
    """Counts to factors and log-rates, deterministic.

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
            {
                _key(name): nn.Parameter(_initial(name, s))
                for name, s in spec.weight_shapes().items()
            }
        )

    def weight(self, name: str) -> Tensor:
        """Return the parameter of that name (`LfadsSpec.weight_shapes`)."""
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
        w = self._quantised_weights()
        ic = self._state(self._encode(w, counts) @ w["ic.weight"].T + w["ic.bias"])
        first = ic
        if self.spec.ic_map == "linear":
            linear = ic @ w["generator.initial.weight"].T + w["generator.initial.bias"]
            first = self._state(linear)
        states = self._generate(w, first)
        factors = self._state(states @ w["factors.weight"].T)
        return factors, factors @ w["rates.weight"].T + w["rates.bias"]

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

    def _encode(self, w: Mapping[str, Tensor], x: Tensor) -> Tensor:
        n_trials, size = x.shape[0], self.spec.encoder_size
        h0 = [w[f"encoder.{s}.initial_state"].expand(n_trials, size) for s in _SIDES]
        if self._plain:
            flat = [
                _torch_gates(w[f"encoder.{s}.{part}"])
                for s in _SIDES
                for part in ("input_weight", "recurrent_weight", "input_bias", "recurrent_bias")
            ]
            _, ends = torch.gru(x, torch.stack(h0), flat, True, 1, 0.0, self.training, True, True)
            return torch.cat([ends[0], ends[1]], dim=-1)
        final = []
        for side, h in zip(_SIDES, h0, strict=True):
            name = f"encoder.{side}"
            a = x @ w[f"{name}.input_weight"].T + w[f"{name}.input_bias"]
            bins = range(x.shape[1])
            for t in bins if side == "forward" else reversed(bins):
                h = self._gru_step(w, name, a[:, t], h)
            final.append(h)
        return torch.cat(final, dim=-1)

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
        w = {name: self.weight(name) for name in self.spec.weight_shapes()}
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
        for name in net.spec.weight_shapes()
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
    """Return first weights: uniform within 1/sqrt(inputs) as torch does; the rest zero."""
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
