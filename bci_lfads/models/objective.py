"""What training makes small: the likelihood of unseen counts, divergence from priors, and L2.

The evidence's lower bound is the mean over windows of the log-likelihood of all counts less the
divergence of the posteriors from their priors (D. P. Kingma and M. Welling, arXiv 1312.6114,
2013, equation 3); C. Pandarinath et al., Nature Methods 15, 2018, raise the divergence's weight,
and that of L2, from zero. Here both are taken per count. With coordinated dropout (M. R. Keshtkaran
and C. Pandarinath, NeurIPS 2019) the likelihood is that of counts which the encoder does not see.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bci_lfads.models.network import LfadsNetwork

_LARGEST_LOG_MEAN = 20.0
"""Of a count, natural logarithm: beyond 5e8 spikes a bin the exponential gives no useful slope."""


def nll(log_rates: Tensor, counts: Tensor, log_width: float) -> Tensor:
    """Return the Poisson negative log-likelihood of each count, without its constant.

    Parameters
    ----------
    log_rates
        Natural logarithm of Hz.
    counts
        Of the same shape.
    log_width
        Natural logarithm of the bin width in seconds.
    """
    log_means = (log_rates + log_width).clamp(max=_LARGEST_LOG_MEAN)
    return log_means.exp() - counts * log_means


def recurrent_l2(net: nn.Module) -> Tensor:
    """Return half the mean square of all recurrent weights.

    One mean over the GRUs together, as in lfads-torch (A. R. Sedler and C. Pandarinath,
    arXiv 2309.01230, 2023) where their weights are equal.
    """
    names = [name for name in net.spec.float_shapes() if name.endswith("recurrent_weight")]
    flat = torch.cat([net.weight(name).flatten() for name in names])
    return 0.5 * (flat**2).mean()


def _drawn(net: nn.Module, x: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return log-rates of a draw from the posteriors, if there are such, and their divergence."""
    if not isinstance(net, LfadsNetwork) or net.spec.variational is None:
        return net(x)[1], None
    found = net.sampled(x)
    return found.log_rates, None if found.kl is None else found.kl.mean()


def loss_of(
    net: nn.Module, y: Tensor, n_bins: int, keep: float, log_width: float
) -> tuple[Tensor, Tensor | None]:
    """Return the mean negative log-likelihood of the counts that the encoder does not see.

    It sees none beyond the first `n_bins` bins. Beside it comes, of a variational network, the
    divergence of its posteriors, nats a window.
    """
    x = y[:, :n_bins]
    if keep == 1:
        log_rates, kl = _drawn(net, x)
        return nll(log_rates, y, log_width).mean(), kl
    # Drawn on the CPU: the same on every device.
    seen = (torch.rand(x.shape, dtype=y.dtype) < keep).to(y.device, y.dtype)
    log_rates, kl = _drawn(net, x * seen / keep)
    unseen = nn.functional.pad(1 - seen, (0, 0, 0, y.shape[1] - n_bins), value=1.0)
    # At least one: of a few counts the encoder may happen to see all.
    return (nll(log_rates, y, log_width) * unseen).sum() / unseen.sum().clamp(min=1), kl
