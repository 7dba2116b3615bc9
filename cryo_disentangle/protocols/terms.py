"""What is asked of the terms of a loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from torch import Tensor

from cryo_disentangle.options.parts import part
from cryo_disentangle.protocols.models import LatentImageModel
from cryo_disentangle.types import Inference, ParticleBatch

__all__ = [
    "ConformationPrior",
    "Penalty",
    "ReportsTerms",
    "Score",
]


@part
class ConformationPrior(Protocol):
    """Prior distribution of the conformation."""

    def kl(self, inference: Inference, batch: ParticleBatch) -> Tensor:
        """Evaluates the Kullback-Leibler divergence of each posterior from the prior.

        Args:
            inference: Posterior, shape (B, Z), or (B, 2, Z) for pairs.
            batch: The particles, with what the prior depends on (time, temperature).

        Returns:
            Divergences in nats, shape (B,). Of pairs, shape (B, 2) where the prior counts each
            frame, or a divergence a pair, shape (B,); the loss takes the mean of what comes.
        """
        ...


@part
class Penalty(Protocol):
    """A term added to a training loss."""

    def forward(
        self, model: LatentImageModel, batch: ParticleBatch, inference: Inference
    ) -> Tensor:
        """Evaluates the weighted penalty.

        Args:
            model: Model that is trained.
            batch: B particles.
            inference: What the model inferred of them.

        Returns:
            The weighted penalty, a scalar.
        """
        ...


@runtime_checkable
class ReportsTerms(Protocol):
    """A penalty that tells what its last evaluation found.

    Attributes:
        terms: Scalars without gradient, by the name under which they are logged.
    """

    terms: Mapping[str, Tensor]


@part
class Score(Protocol):
    """A metric that scores what it was shown.

    Its ``update`` names what it asks for: any of ``model``, ``batch``, ``inference``, posterior
    means ``z``, ``log_variance``, and what particles have, such as ``factors`` or ``rotation``.
    """

    def compute(self) -> object:
        """Scores what was shown.

        Returns:
            A number, or numbers by name.
        """
        ...
