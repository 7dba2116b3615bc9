"""Metrics of latents alone as torchmetrics classes: no factors needed."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from cryo_disentangle.metrics.base import ScoreMetric, take_columns
from cryo_disentangle.metrics.functional.codes import Array
from cryo_disentangle.metrics.functional.unsupervised import (
    gaussian_total_correlation,
    gaussian_wasserstein_correlation,
    pairwise_mutual_information,
)

__all__ = [
    "GaussianTotalCorrelation",
    "GaussianWassersteinCorrelation",
    "LatentsMetric",
    "PairwiseMutualInformation",
]


class LatentsMetric(ScoreMetric):
    """Base of metrics of latents alone: 0 where they are independent.

    In one MetricCollection with metrics of factors, update by name: ``update(z=z,
    factors=factors)`` hands each metric what it takes.

    As input to ``update``:
        z: Latents (posterior means), shape (B, K), or (B,) for one latent.

    As output of ``compute``:
        The score, a float64 scalar.

    Args:
        **kwargs: What torchmetrics' Metric takes.
    """

    higher_is_better = False
    plot_upper_bound = None

    z: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:  # noqa: ANN401 (as torchmetrics')
        super().__init__(**kwargs)
        self.add_state("z", default=[], dist_reduce_fx="cat")

    @abstractmethod
    def evaluate(self, z: Tensor) -> Tensor:
        """Scores latents, whatever has been stored.

        Args:
            z: Latents, shape (N, K).

        Returns:
            The score, a scalar.
        """

    def update(self, z: Array) -> None:
        """Stores a batch.

        Args:
            z: Latents, shape (B, K), or (B,) for one latent.

        Raises:
            ValueError: If the shape is another or differs from that of earlier batches.
        """
        self.z.append(take_columns(z, "z", self.z))

    def compute(self) -> Tensor:
        """Scores everything stored.

        Returns:
            The score, a float64 scalar.

        Raises:
            ValueError: If nothing is stored, or a number is not finite.
        """
        if not len(self.z):
            raise ValueError(f"{type(self).__name__} has nothing to score: call update(z) first")
        return self.evaluate(dim_zero_cat(self.z).cpu())


class GaussianTotalCorrelation(LatentsMetric):
    """Total correlation of a normal distribution; see `gaussian_total_correlation`.

    Example:
        >>> import torch
        >>> from cryo_disentangle.metrics import GaussianTotalCorrelation
        >>> z = torch.randn(10_000, 2, generator=torch.Generator().manual_seed(0))
        >>> metric = GaussianTotalCorrelation()
        >>> metric.update(z)
        >>> print(f"{metric.compute():.2f} nats")
        0.00 nats
    """

    def evaluate(self, z: Tensor) -> Tensor:
        """Scores latents (N, K)."""
        return gaussian_total_correlation(z)


class GaussianWassersteinCorrelation(LatentsMetric):
    """Distance from independence of a normal distribution; see `gaussian_wasserstein_correlation`.

    Args:
        normalized: Whether the latents' common scale cancels.
        **kwargs: What torchmetrics' Metric takes.

    Example:
        >>> import torch
        >>> from cryo_disentangle.metrics import GaussianWassersteinCorrelation
        >>> z = torch.randn(10_000, 2, generator=torch.Generator().manual_seed(0))
        >>> metric = GaussianWassersteinCorrelation(normalized=True)
        >>> metric.update(z)
        >>> print(f"{metric.compute():.2f}")
        0.00
    """

    def __init__(
        self,
        *,
        normalized: bool = False,
        **kwargs: Any,  # noqa: ANN401 (as torchmetrics')
    ) -> None:
        super().__init__(**kwargs)
        self.normalized = normalized

    def evaluate(self, z: Tensor) -> Tensor:
        """Scores latents (N, K)."""
        return gaussian_wasserstein_correlation(z, normalized=self.normalized)


class PairwiseMutualInformation(LatentsMetric):
    """Mean mutual information of two latents in nats; see `pairwise_mutual_information`.

    Args:
        bins: Number of bins of equal mass.
        reference: disentanglement_lib's form.
        **kwargs: What torchmetrics' Metric takes.

    Example:
        >>> import torch
        >>> from cryo_disentangle.metrics import PairwiseMutualInformation
        >>> z = torch.randn(10_000, 2, generator=torch.Generator().manual_seed(0))
        >>> metric = PairwiseMutualInformation()
        >>> metric.update(z)
        >>> print(f"{metric.compute():.2f} nats")
        0.00 nats
    """

    def __init__(
        self,
        bins: int = 20,
        *,
        reference: bool = False,
        **kwargs: Any,  # noqa: ANN401 (as torchmetrics')
    ) -> None:
        super().__init__(**kwargs)
        self.bins = bins
        self.reference = reference

    def evaluate(self, z: Tensor) -> Tensor:
        """Scores latents (N, K)."""
        return pairwise_mutual_information(z, bins=self.bins, reference=self.reference)
