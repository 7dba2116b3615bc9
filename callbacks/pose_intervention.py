"""The pose intervention as one line in anybody's Trainer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cryo_disentangle.callbacks.penalties import PenaltyCallback
from cryo_disentangle.losses import PoseIntervention
from cryo_disentangle.losses.schedules import Schedule

__all__ = ["PoseInterventionPenalty"]


class PoseInterventionPenalty(PenaltyCallback):
    """Adds a pose intervention to any loss: seen from another pose, z must stay the same.

    A `PoseIntervention`, added to the loss by a `PenaltyCallback`. Logs ``train/pose_intervention``
    and below it the distances of ``conformation`` and, where the model infers it, ``pose``, the
    variance ``var_z`` of the conformations, and ``relative``, 0 at best and 1 for a random other
    particle.

    Args:
        weight: Weight, a number or a schedule, in units of the training loss.
        name: Name of the logged values and of the state in checkpoints; two in one run need two.
        infer: As for `PenaltyCallback`.
        generate: As for `PenaltyCallback`.
        as_batch: As for `PenaltyCallback`.
        **options: The others of `PoseIntervention`.

    Raises:
        ValueError: As `PoseIntervention`.
        TypeError: As `PenaltyCallback`.
    """

    def __init__(
        self,
        weight: float | Schedule = 0.3,
        *,
        name: str = "pose_intervention",
        infer: str | Callable[..., Any] | None = None,
        generate: str | Callable[..., Any] | None = None,
        as_batch: str | Callable[..., Any] | None = None,
        **options: Any,  # noqa: ANN401 - those of PoseIntervention
    ) -> None:
        penalty = PoseIntervention(weight=weight, **options)
        super().__init__(penalty, name, infer, generate, as_batch)
