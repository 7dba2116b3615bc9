"""Metrics of neighbours in latents and factors as torchmetrics classes."""

from __future__ import annotations

from typing import Any, Literal, get_args

from torch import Tensor

from cryo_disentangle.metrics.base import CodesMetric, check_choice
from cryo_disentangle.metrics.functional._memo import remember_last
from cryo_disentangle.metrics.functional.neighbourhood import (
    information_imbalance,
    neighbourhood_similarity,
)

__all__ = ["InformationImbalance", "NeighbourhoodSimilarity"]

Direction = Literal["latents_to_factors", "factors_to_latents"]

_imbalance = remember_last(information_imbalance)


class NeighbourhoodSimilarity(CodesMetric):
    """Share of neighbours in latents that are neighbours in factors.

    See `neighbourhood_similarity` for the formula, its chance level and edge cases; distances take
    latents and factors as they are scaled.

    Args:
        k: Number of neighbours.
        max_samples: Samples that are drawn if there are more.
        seed: Of the draw.
        **kwargs: What torchmetrics' Metric takes.

    Example:
        >>> import torch
        >>> from cryo_disentangle.metrics import NeighbourhoodSimilarity
        >>> factors = torch.rand(500, 2, generator=torch.Generator().manual_seed(0))
        >>> metric = NeighbourhoodSimilarity()
        >>> metric.update(2 * factors.flip(1), factors)
        >>> print(f"{metric.compute():.1f}")
        1.0
    """

    def __init__(
        self,
        k: int = 20,
        *,
        max_samples: int = 2_000,
        seed: int = 0,
        **kwargs: Any,  # noqa: ANN401 (as torchmetrics')
    ) -> None:
        super().__init__(**kwargs)
        self.k = k
        self.max_samples = max_samples
        self.seed = seed

    def evaluate(self, z: Tensor, factors: Tensor) -> Tensor:
        """Scores latents (N, K) against factors (N, D)."""
        return neighbourhood_similarity(
            z, factors, k=self.k, max_samples=self.max_samples, seed=self.seed
        )


class InformationImbalance(CodesMetric):
    """Information imbalance in one direction: 0 is best, 1 means no information.

    See `information_imbalance`; distances take latents and factors as they are scaled.

    Args:
        direction: Whether latents predict the neighbours of factors, or the other way round.
        k: Number of neighbours.
        max_samples: Samples that are drawn if there are more.
        seed: Of the draw.
        **kwargs: What torchmetrics' Metric takes.

    Example:
        >>> import torch
        >>> from cryo_disentangle.metrics import InformationImbalance
        >>> factors = torch.rand(500, 2, generator=torch.Generator().manual_seed(0))
        >>> metric = InformationImbalance("latents_to_factors")
        >>> metric.update(2 * factors.flip(1), factors)
        >>> print(f"{metric.compute():.1f}")
        0.0
    """

    higher_is_better = False
    plot_upper_bound = 2.0

    def __init__(
        self,
        direction: Direction = "latents_to_factors",
        *,
        k: int = 1,
        max_samples: int = 2_000,
        seed: int = 0,
        **kwargs: Any,  # noqa: ANN401 (as torchmetrics')
    ) -> None:
        super().__init__(**kwargs)
        self.direction = check_choice(direction, "direction", get_args(Direction))
        self.k = k
        self.max_samples = max_samples
        self.seed = seed

    def evaluate(self, z: Tensor, factors: Tensor) -> Tensor:
        """Scores latents (N, K) against factors (N, D)."""
        found = _imbalance(z, factors, k=self.k, max_samples=self.max_samples, seed=self.seed)
        return found._asdict()[self.direction].clone()
