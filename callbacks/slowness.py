"""Slowness as one line in anybody's Trainer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor

from cryo_disentangle.callbacks.penalties import PenaltyCallback
from cryo_disentangle.losses.scheduled import ScheduledPenalty
from cryo_disentangle.losses.schedules import Schedule
from cryo_disentangle.priors import LaplaceTransition
from cryo_disentangle.priors.standard_normal import kl_standard_normal
from cryo_disentangle.protocols.models import LatentImageModel
from cryo_disentangle.types import Inference, ParticleBatch

__all__ = ["SlownessPenalty"]


class _Transition(ScheduledPenalty):
    """The part of a `LaplaceTransition` that a loss with a standard normal prior lacks."""

    def __init__(self, prior: LaplaceTransition, weight: float | Schedule) -> None:
        super().__init__(weight)
        self.prior = prior

    def forward(
        self, model: LatentImageModel, batch: ParticleBatch, inference: Inference
    ) -> Tensor:
        if batch["index"].ndim != 2 or batch["index"].shape[1] != 2:
            raise ValueError(
                "SlownessPenalty needs pairs of frames, an index of shape (B, 2), found "
                f"{tuple(batch['index'].shape)}: set data.pairs, or make pairs in as_batch"
            )
        return super().forward(model, batch, inference)

    def _weighted(
        self,
        weight: float,
        model: LatentImageModel,  # noqa: ARG002
        batch: ParticleBatch,
        inference: Inference,
    ) -> Tensor:
        frames = {key: cast(Tensor, value).unflatten(0, (-1, 2)) for key, value in batch.items()}
        # Squares of half-precision numbers, as autocast makes them, have too few digits.
        wide = torch.promote_types(inference.mean.dtype, torch.float32)
        pairs = inference._replace(pose=None).map(lambda part: part.to(wide)).reshape(-1, 2)
        divergence = self.prior.kl(pairs, cast(ParticleBatch, frames))
        marginal = kl_standard_normal(pairs.mean, pairs.log_variance) + pairs.total_correlation
        rest = marginal.mean(1) if self.prior.symmetric else marginal[:, 0]
        transition = (divergence.sum(1) - rest).mean()
        self.terms = {
            "transition": transition.detach(),
            "rate": self.prior.rate.detach().mean(),
        }
        return weight * transition


class SlownessPenalty(PenaltyCallback):
    """Adds to any loss that conformations move little, and sparsely, from frame to frame.

    For data loaders that deliver pairs of frames, tensors of shape (B, 2, ...). The term is the
    transition of SlowVAE's prior, KL(q₁ ‖ Laplace(mean of q₀, b)) in nats a pair, as in
    `LaplaceTransition`; the divergence of single frames from the standard normal distribution is
    left to the loss. Added to the loss by a `PenaltyCallback`. Logs ``train/slowness``, and below
    it ``transition`` in nats without weight and the mean ``rate``.

    Args:
        weight: Weight, a number or a schedule, in units of the training loss a nat: SlowVAE's γ for
            a loss that is a log-likelihood, γ over the number of pixels for one that is a mean over
            pixels; its γ is 10.
        infer: As for `PenaltyCallback`.
        as_batch: As for `PenaltyCallback`.
        **options: Those of `LaplaceTransition` but for ``gamma``, which the weight stands for.

    Raises:
        ValueError: If the weight is negative, or as `LaplaceTransition`; in training if the
            particles are no pairs.
        TypeError: As `PenaltyCallback`.

    References:
        Klindt et al. 2021, Towards nonlinear disentanglement in natural data with temporal sparse
        coding (SlowVAE).
    """

    def __init__(
        self,
        weight: float | Schedule,
        *,
        infer: str | Callable[..., Any] | None = None,
        as_batch: str | Callable[..., Any] | None = None,
        **options: Any,  # noqa: ANN401 - those of LaplaceTransition
    ) -> None:
        prior = LaplaceTransition(gamma=1.0, **options)
        super().__init__(_Transition(prior, weight), "slowness", infer, None, as_batch)
