"""Posteriors of pairs that share what has not changed: Ada-GVAE."""

from __future__ import annotations

import torch

from cryo_disentangle.types import Inference

__all__ = ["ada_gvae_posterior"]


def ada_gvae_posterior(inference: Inference) -> Inference:
    """Averages in each pair the coordinates whose posteriors differ little.

    Coordinate k counts as shared by a pair where KL(q(z_k|x_0) ‖ q(z_k|x_1)) is below the middle
    between the pair's smallest and largest such divergence; both frames then get the mean of the
    two means and of the two variances. A model that samples and takes its KL from the result
    instead of its own posterior is an Ada-GVAE. It is not a penalty and adds nothing to a loss.

    Args:
        inference: Posteriors of pairs, (B, 2, Z); of full covariances their marginals are taken.

    Returns:
        The averaged posteriors of independent coordinates, (B, 2, Z), with the poses as they were.

    Raises:
        ValueError: If the posteriors are not those of pairs.

    References:
        Locatello et al. 2020, Weakly-supervised disentanglement without compromises, Section 4.
    """
    mean, log_variance, pose = inference[:3]
    if mean.ndim != 3 or mean.shape[1] != 2:
        raise ValueError(
            "Ada-GVAE needs posteriors of pairs of frames, shape (B, 2, Z), found "
            f"{tuple(mean.shape)}"
        )
    log_ratio = log_variance[:, 0] - log_variance[:, 1]
    squared = (mean[:, 1] - mean[:, 0]).square() * torch.exp(-log_variance[:, 1])
    divergence = 0.5 * (log_ratio.exp() + squared - 1 - log_ratio)
    threshold = 0.5 * (divergence.amin(-1, keepdim=True) + divergence.amax(-1, keepdim=True))
    shared = (divergence < threshold)[:, None]
    shared_mean = mean.mean(1, keepdim=True)
    shared_log_variance = log_variance.exp().mean(1, keepdim=True).log()
    return Inference(
        torch.where(shared, shared_mean, mean),
        torch.where(shared, shared_log_variance, log_variance),
        pose,
    )
