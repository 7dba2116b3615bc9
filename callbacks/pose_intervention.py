"""The pose intervention as one line in anybody's Trainer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cryo_disentangle.callbacks.penalties import PenaltyCallback
from cryo_disentangle.losses import (
    ConformationDistance,
    EstimatedNoise,
    GradientTarget,
    PoseDistance,
    PoseIntervention,
    PoseSource,
    Schedule,
)

__all__ = ["PoseInterventionPenalty"]


class PoseInterventionPenalty(PenaltyCallback):
    """Adds to any loss that a particle seen from elsewhere must keep its conformation.

    `PoseIntervention` by a `PenaltyCallback`, which tells how the term is added. Logs
    ``train/pose_intervention`` and beneath it the distances of ``conformation`` and, where the
    model infers it, ``pose``, the variance ``var_z`` of the conformations, and ``relative``, 0 at
    best and 1 for strangers.

    Args:
        weight: Weight, a number or a schedule, in units of the training loss.
        poses: Where poses come from, as for `PoseIntervention`.
        distance: Distance of conformations; null is `SquaredDistance`.
        pose_distance: Distance of poses; null is `ChordalDistance`.
        pose_weight: Weight of the pose term beside the conformation term.
        noise_std: Standard deviation of the noise added to decoded images, in units of the batch's
            images; or an `EstimatedNoise`.
        every_n_steps: Training steps from one evaluation to the next.
        fraction: Share of the batch that is used, drawn anew each time; at least two particles.
        gradient: Who learns: ``both``, or only the ``encoder`` or the ``decoder``.
        sampled_conformations: Whether draws from the posteriors are decoded instead of the means,
            which spread less than conformations do where images tell little.
        seed: Seed of poses and noise.
        name: Name of the logged values and of the state in checkpoints, in place of
            ``pose_intervention``; two in one run need two.
        infer: As for `PenaltyCallback`.
        generate: As for `PenaltyCallback`.
        as_batch: As for `PenaltyCallback`.

    Raises:
        ValueError: As `PoseIntervention`.
        TypeError: As `PenaltyCallback`.
    """

    def __init__(  # noqa: PLR0913 - each is a key of the configuration file
        self,
        weight: float | Schedule = 0.3,
        poses: PoseSource | None = None,
        distance: ConformationDistance | None = None,
        pose_distance: PoseDistance | None = None,
        pose_weight: float = 1.0,
        noise_std: float | EstimatedNoise = 0.0,
        every_n_steps: int = 1,
        fraction: float = 1.0,
        gradient: GradientTarget = "both",
        sampled_conformations: bool = False,
        seed: int = 0,
        name: str = "pose_intervention",
        infer: str | Callable[..., Any] | None = None,
        generate: str | Callable[..., Any] | None = None,
        as_batch: str | Callable[..., Any] | None = None,
    ) -> None:
        penalty = PoseIntervention(
            weight,
            poses,
            distance,
            pose_distance,
            pose_weight,
            noise_std,
            every_n_steps,
            fraction,
            gradient,
            sampled_conformations,
            seed,
        )
        super().__init__(penalty, name, infer, generate, as_batch)
