"""Metrics of mutual information as torchmetrics classes."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from cryo_disentangle.metrics.base import CodesMetric
from cryo_disentangle.metrics.functional.information import med, mig, modularity

__all__ = ["MED", "MIG", "Modularity"]


class MIG(CodesMetric):
    """Mutual information gap of all samples; see `mig` for the formula and its edge cases.

    Args:
        bins: Number of bins of equal mass.
        miller_madow: Whether informations and entropies are corrected for small samples.
        reference: disentanglement_lib's form; factors must be classes then.
        **kwargs: What torchmetrics' Metric takes.

    Example:
        >>> import torch
        >>> from cryo_disentangle.metrics import MIG
        >>> factors = torch.rand(2000, 2, generator=torch.Generator().manual_seed(0))
        >>> metric = MIG()
        >>> metric.update(factors.exp(), factors)
        >>> print(f"{metric.compute():.2f}")
        1.00
    """

    def __init__(
        self,
        bins: int = 20,
        *,
        miller_madow: bool = True,
        reference: bool = False,
        **kwargs: Any,  # noqa: ANN401 (as torchmetrics')
    ) -> None:
        super().__init__(**kwargs)
        self.bins = bins
        self.miller_madow = miller_madow
        self.reference = reference

    def evaluate(self, z: Tensor, factors: Tensor) -> Tensor:
        """Scores latents (N, K) against factors (N, D)."""
        return mig(
            z,
            factors,
            bins=self.bins,
            miller_madow=self.miller_madow,
            reference=self.reference,
        )


class Modularity(CodesMetric):
    """Whether each latent encodes one factor only; see `modularity`.

    Args:
        bins: Number of bins of equal mass.
        reference: disentanglement_lib's form; factors must be classes then.
        **kwargs: What torchmetrics' Metric takes.

    Example:
        >>> import torch
        >>> from cryo_disentangle.metrics import Modularity
        >>> factors = torch.rand(5000, 2, generator=torch.Generator().manual_seed(0))
        >>> metric = Modularity()
        >>> metric.update(factors, factors)
        >>> print(f"{metric.compute():.2f}")
        1.00
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

    def evaluate(self, z: Tensor, factors: Tensor) -> Tensor:
        """Scores latents (N, K) against factors (N, D)."""
        return modularity(z, factors, bins=self.bins, reference=self.reference)


class MED(CodesMetric):
    """Disentanglement by mutual information for importance; see `med`.

    Args:
        bins: Number of bins of equal mass.
        **kwargs: What torchmetrics' Metric takes.

    Example:
        >>> import torch
        >>> from cryo_disentangle.metrics import MED
        >>> factors = torch.rand(5000, 2, generator=torch.Generator().manual_seed(0))
        >>> metric = MED()
        >>> metric.update(factors, factors)
        >>> print(f"{metric.compute():.2f}")
        1.00
    """

    def __init__(self, bins: int = 20, **kwargs: Any) -> None:  # noqa: ANN401 (as torchmetrics')
        super().__init__(**kwargs)
        self.bins = bins

    def evaluate(self, z: Tensor, factors: Tensor) -> Tensor:
        """Scores latents (N, K) against factors (N, D)."""
        return med(z, factors, bins=self.bins)
