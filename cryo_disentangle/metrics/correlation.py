"""Metrics of correlation as torchmetrics classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

from torch import Tensor

from cryo_disentangle.metrics.base import CodesMetric, check_choice
from cryo_disentangle.metrics.functional.correlation import (
    mcc,
    mean_canonical_correlation,
    r2_linear,
    spline_mcc,
)

__all__ = ["MCC", "MeanCanonicalCorrelation", "R2Linear", "SplineMCC"]

Correlation = Literal["pearson", "spearman"]


class MCC(CodesMetric):
    """Mean correlation coefficient under the best assignment; see `mcc`.

    Args:
        correlation: Pearson's or Spearman's.
        circular: Indices of factors that are angles in radians.
        circular_latents: Indices of latents that are.
        **kwargs: What torchmetrics' Metric takes.

    Example:
        >>> import torch
        >>> from cryo_disentangle.metrics import MCC
        >>> factors = torch.rand(1000, 2, generator=torch.Generator().manual_seed(0))
        >>> metric = MCC("spearman")
        >>> metric.update(-factors.flip(1).exp(), factors)
        >>> print(f"{metric.compute():.2f}")
        1.00
    """

    def __init__(
        self,
        correlation: Correlation = "pearson",
        *,
        circular: Sequence[int] = (),
        circular_latents: Sequence[int] = (),
        **kwargs: Any,  # noqa: ANN401 (as torchmetrics')
    ) -> None:
        super().__init__(**kwargs)
        self.correlation = check_choice(correlation, "correlation", get_args(Correlation))
        self.circular = tuple(circular)
        self.circular_latents = tuple(circular_latents)

    def evaluate(self, z: Tensor, factors: Tensor) -> Tensor:
        """Scores latents (N, K) against factors (N, D)."""
        return mcc(
            z,
            factors,
            correlation=self.correlation,
            circular=self.circular,
            circular_latents=self.circular_latents,
        )


class SplineMCC(CodesMetric):
    """Mean correlation coefficient after a spline of each latent; see `spline_mcc`.

    Args:
        knots: Number of knots of the spline.
        seed: Draws the test rows.
        **kwargs: What torchmetrics' Metric takes.

    Example:
        >>> import torch
        >>> from cryo_disentangle.metrics import SplineMCC
        >>> z = torch.randn(2000, 2, generator=torch.Generator().manual_seed(0))
        >>> metric = SplineMCC()
        >>> metric.update(z, z.square())
        >>> print(f"{metric.compute():.1f}")
        1.0
    """

    def __init__(
        self,
        knots: int = 8,
        *,
        seed: int = 0,
        **kwargs: Any,  # noqa: ANN401 (as torchmetrics')
    ) -> None:
        super().__init__(**kwargs)
        self.knots = knots
        self.seed = seed

    def evaluate(self, z: Tensor, factors: Tensor) -> Tensor:
        """Scores latents (N, K) against factors (N, D)."""
        return spline_mcc(z, factors, knots=self.knots, seed=self.seed)


class R2Linear(CodesMetric):
    """Variance of the factors that a linear map of the latents explains; see `r2_linear`.

    Together with MCC it distinguishes latents that are only rotated (this one high) from lost ones
    (both low).

    Args:
        seed: Draws the test rows.
        **kwargs: What torchmetrics' Metric takes.

    Example:
        >>> import torch
        >>> from cryo_disentangle.metrics import R2Linear
        >>> factors = torch.rand(1000, 2, generator=torch.Generator().manual_seed(0))
        >>> metric = R2Linear()
        >>> metric.update(factors @ torch.tensor([[1.0, 1.0], [1.0, -1.0]]), factors)
        >>> print(f"{metric.compute():.2f}")
        1.00
    """

    def __init__(self, *, seed: int = 0, **kwargs: Any) -> None:  # noqa: ANN401 (as torchmetrics')
        super().__init__(**kwargs)
        self.seed = seed

    def evaluate(self, z: Tensor, factors: Tensor) -> Tensor:
        """Scores latents (N, K) against factors (N, D)."""
        return r2_linear(z, factors, seed=self.seed)


class MeanCanonicalCorrelation(CodesMetric):
    """Mean canonical correlation of latents and factors; see `mean_canonical_correlation`.

    Example:
        >>> import torch
        >>> from cryo_disentangle.metrics import MeanCanonicalCorrelation
        >>> factors = torch.rand(1000, 2, generator=torch.Generator().manual_seed(0))
        >>> metric = MeanCanonicalCorrelation()
        >>> metric.update(factors @ torch.tensor([[1.0, 1.0], [1.0, -1.0]]), factors)
        >>> print(f"{metric.compute():.2f}")
        1.00
    """

    def evaluate(self, z: Tensor, factors: Tensor) -> Tensor:
        """Scores latents (N, K) against factors (N, D)."""
        return mean_canonical_correlation(z, factors)
