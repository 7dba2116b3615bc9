"""What penalties have in common: a weight that changes, their own randomness, and their terms."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from cryo_disentangle.losses.draws import StepDraws, in_python
from cryo_disentangle.losses.schedules import Schedule, check_weight, weight_at
from cryo_disentangle.protocols import Penalty
from cryo_disentangle.protocols.models import LatentImageModel
from cryo_disentangle.types import Inference, ParticleBatch, flatten_particles

__all__ = ["ScheduledPenalty"]


class ScheduledPenalty(nn.Module, Penalty, ABC):
    """A penalty whose weight is a number or follows a schedule of its own training steps.

    Steps are calls in training mode. At weight 0, and between the steps at which it is due, a
    penalty is exactly 0, evaluates nothing and draws nothing. Held-out batches are always
    evaluated, with the weight of the step that training has reached.

    Args:
        weight: Weight of the penalty.
        every_n_steps: Training steps from one evaluation to the next; the weight is not multiplied
            to make up for it.
        seed: Seed of the penalty's random draws.

    Attributes:
        terms: What the last evaluation found, by name: scalars without weight or gradient; empty
            after a step at which nothing was evaluated.

    Raises:
        ValueError: If the weight is negative or ``every_n_steps`` less than 1.
    """

    terms: dict[str, Tensor]

    def __init__(self, weight: float | Schedule, every_n_steps: int = 1, seed: int = 0) -> None:
        super().__init__()
        if isinstance(weight, int | float):
            check_weight(weight)
        if every_n_steps < 1:
            raise ValueError(f"every_n_steps must be at least 1, found {every_n_steps}")
        self.weight = weight
        self.every_n_steps = every_n_steps
        self.draws = StepDraws(seed)
        self.terms = {}

    @in_python
    def forward(
        self, model: LatentImageModel, batch: ParticleBatch, inference: Inference
    ) -> Tensor:
        """Evaluates the weighted penalty.

        Args:
            model: The model being trained.
            batch: Particles (B, ...) or pairs of frames (B, 2, ...).
            inference: What the model infers of the batch, of its leading shape.

        Returns:
            Weight times penalty, a scalar.
        """
        if not self.is_due():
            self.skip()
            return self._nothing(inference)
        self.terms = {}
        weight = weight_at(self.weight, self.draws.step)
        loss = self._weighted(weight, model, flatten_particles(batch), inference.reshape(-1))
        self.draws.advance()
        return loss

    def is_due(self) -> bool:
        """Returns whether the coming call will evaluate anything.

        A loop that infers for the penalty alone can `skip` the calls that won't.

        Returns:
            Whether the weight is positive and, in training mode, the step one of every
            ``every_n_steps``.
        """
        step = self.draws.step
        passed = not self.training or step % self.every_n_steps == 0
        return passed and weight_at(self.weight, step) > 0

    def skip(self) -> None:
        """Counts a call without making it."""
        self.terms = {}
        self.draws.advance()

    @abstractmethod
    def _weighted(
        self, weight: float, model: LatentImageModel, batch: ParticleBatch, inference: Inference
    ) -> Tensor:
        """Evaluates the weighted penalty of single particles and fills in ``terms``."""

    def _nothing(self, inference: Inference) -> Tensor:
        """The penalty where it is not evaluated."""
        return inference.mean.new_zeros(())
