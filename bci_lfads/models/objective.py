"""What training makes small: the likelihood of unseen counts, divergence from priors, and L2.

The evidence's lower bound is the mean over windows of the log-likelihood of all counts less the
divergence of the posteriors from their priors (D. P. Kingma and M. Welling, arXiv 1312.6114,
2013, equation 3); C. Pandarinath et al., Nature Methods 15, 2018, raise the divergence's weight,
and that of L2, from zero. Here both are taken per count. With coordinated dropout (M. R. Keshtkaran
and C. Pandarinath, NeurIPS 2019) the likelihood is that of counts which the encoder does not see.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from bci_lfads.errors import ModelError
from bci_lfads.models.network import LfadsNetwork

_LARGEST_LOG_MEAN = 20.0
"""Of a count, natural logarithm: beyond 5e8 spikes a bin the exponential gives no useful slope."""


class Hidden(NamedTuple):
    """Counts kept for sample validation (Keshtkaran and Pandarinath 2019): an encoder sees none.

    Attributes
    ----------
    mask
        Which they are, bool, shape ``(n_windows, n_bins, n_units)``.
    share
        Of all counts; what is left is scaled up by it, so that the encoder sees as much.
    """

    mask: Tensor
    share: float

    @classmethod
    def drawn(cls, x: Tensor, share: float) -> Hidden:
        """Return a draw of a share of counts, the same for every seed of a training.

        Members of a population go on from each other's weights: what one of them was trained on
        must not judge another.

        Raises
        ------
        ModelError
            If that is none of the counts, or all.
        """
        mask = torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) < share
        if not mask.any() or mask.all():
            raise ModelError(
                f"a share of {share:g} of {x.numel()} counts for sample validation is none or all"
            )
        return cls(mask.to(x.device), share)

    def shown(self, x: Tensor) -> Tensor:
        """Return what the encoder may see of counts."""
        return x.masked_fill(self.mask, 0.0) / (1 - self.share)


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
    net: nn.Module,
    y: Tensor,
    n_bins: int,
    keep: float,
    log_width: float,
    hidden: Hidden | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Return the mean negative log-likelihood of the counts that the encoder does not see.

    It sees none beyond the first `n_bins` bins. Beside it comes, of a variational network, the
    divergence of its posteriors, nats a window.

    Parameters
    ----------
    net
        The network.
    y
        Counts, shape ``(n_windows, n_bins_out, n_units)``.
    n_bins, keep, log_width
        Bins that the encoder may see, share of their counts that it does (1: all, and all are
        scored), natural logarithm of the bin width in seconds.
    hidden
        Counts among the first `n_bins` bins that are neither seen nor scored.
    """
    x = y[:, :n_bins]
    shown = x if hidden is None else hidden.shown(x)
    if keep == 1:
        log_rates, kl = _drawn(net, shown)
        scored = torch.ones_like(x)
    else:
        # Drawn on the CPU: the same on every device.
        seen = (torch.rand(x.shape, dtype=y.dtype) < keep).to(y.device, y.dtype)
        log_rates, kl = _drawn(net, shown * seen / keep)
        scored = 1 - seen
    if hidden is not None:
        scored = scored.masked_fill(hidden.mask, 0.0)
    scored = nn.functional.pad(scored, (0, 0, 0, y.shape[1] - n_bins), value=1.0)
    # At least one: of a few counts the encoder may happen to see all.
    return (nll(log_rates, y, log_width) * scored).sum() / scored.sum().clamp(min=1), kl
