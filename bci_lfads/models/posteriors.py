"""Normal posteriors and their priors, for training variational models (extra ``train``).

D. P. Kingma and M. Welling, "Auto-encoding variational Bayes", arXiv 1312.6114, 2013 (draws by
reparametrisation, section 2.4; divergence of normal distributions, appendix B); the priors of
LFADS: C. Pandarinath et al., Nature Methods 15, 2018, online methods.
"""

from __future__ import annotations

import torch
from torch import Tensor


def draw(mean: Tensor, variance: Tensor) -> Tensor:
    """Return mean + √variance · ε with ε ~ N(0, 1), through which gradients pass."""
    return mean + variance.sqrt() * torch.randn_like(mean)


def normal_kl(mean: Tensor, variance: Tensor, prior_mean: Tensor, prior_log: Tensor) -> Tensor:
    """Return KL(N(mean, variance) ‖ N(prior_mean, exp(prior_log))) in nats.

    Summed over the last axis: ½ Σ [ log p − log v + (v + (m − μ)²) / p − 1 ] with the posterior's
    mean m and variance v, the prior's mean μ and variance p = exp(prior_log).
    """
    off = variance + (mean - prior_mean) ** 2
    return 0.5 * (prior_log - variance.log() + off * (-prior_log).exp() - 1).sum(dim=-1)


def ar1_kl(
    means: Tensor, variances: Tensor, drawn: Tensor, log_tau: Tensor, log_noise: Tensor
) -> Tensor:
    """Return the divergence of posteriors over time from an AR(1) process, nats a window.

    The prior is u_t = α u_{t−1} + N(0, v), α = exp(−1/τ), u_0 ~ N(0, v / (1 − α²)). Given what was
    drawn for a bin, the divergence of the next bin's posterior is exact, so that only the draws
    before it make the estimate vary.

    Parameters
    ----------
    means, variances, drawn
        Of the posteriors, and draws from them, shape ``(n_windows, n_bins, n_inputs)``.
    log_tau, log_noise
        log τ, in bins, and log v, shape ``(n_inputs,)``.
    """
    alpha = torch.exp(-torch.exp(-log_tau))
    first = log_noise - torch.log1p(-(alpha**2))
    begin = normal_kl(means[:, 0], variances[:, 0], torch.zeros_like(means[:, 0]), first)
    after = normal_kl(means[:, 1:], variances[:, 1:], alpha * drawn[:, :-1], log_noise)
    return begin + after.sum(dim=1)
