"""Metrics that predict factors from latents, as torchmetrics classes."""

from __future__ import annotations

from typing import Any, Literal, get_args

from torch import Tensor

from cryo_disentangle.metrics.base import CodesMetric, check_choice
from cryo_disentangle.metrics.functional._memo import remember_last
from cryo_disentangle.metrics.functional.dci import dci
from cryo_disentangle.metrics.functional.explicitness import explicitness
from cryo_disentangle.metrics.functional.irs import irs
from cryo_disentangle.metrics.functional.sap import sap

__all__ = ["DCI", "IRS", "SAP", "Explicitness"]

DCIScore = Literal["disentanglement", "completeness", "informativeness"]

_dci = remember_last(dci)


class DCI(CodesMetric):
    """One of the three scores of DCI; see `dci` for the formulas and edge cases.

    Three of these in one MetricCollection fit their trees once.

    Args:
        score: Which one.
        seed: Draws the test rows.
        test_fraction: Share of rows held out.
        reference: disentanglement_lib's form, which is slow; factors must be classes then.
        **kwargs: What torchmetrics' Metric takes.

    Example:
        >>> import torch
        >>> from cryo_disentangle.metrics import DCI
        >>> factors = torch.rand(2000, 2, generator=torch.Generator().manual_seed(0))
        >>> metric = DCI("disentanglement")
        >>> metric.update(factors.flip(1), factors)
        >>> print(f"{metric.compute():.1f}")
        1.0
    """

    def __init__(
        self,
        score: DCIScore = "disentanglement",
        *,
        seed: int = 0,
        test_fraction: float = 1 / 3,
        reference: bool = False,
        **kwargs: Any,  # noqa: ANN401 (as torchmetrics')
    ) -> None:
        super().__init__(**kwargs)
        self.score = check_choice(score, "score", get_args(DCIScore))
        self.seed = seed
        self.test_fraction = test_fraction
        self.reference = reference

    def evaluate(self, z: Tensor, factors: Tensor) -> Tensor:
        """Scores latents (N, K) against factors (N, D)."""
        scores = _dci(
            z,
            factors,
            seed=self.seed,
            test_fraction=self.test_fraction,
            reference=self.reference,
        )
        return scores._asdict()[self.score].clone()


class SAP(CodesMetric):
    """Separated attribute predictability by the gap of squared correlations; see `sap`.

    Args:
        reference: disentanglement_lib's form for classes.
        seed: Draws the test rows of the reference form.
        **kwargs: What torchmetrics' Metric takes.

    Example:
        >>> import torch
        >>> from cryo_disentangle.metrics import SAP
        >>> factors = torch.rand(5000, 2, generator=torch.Generator().manual_seed(0))
        >>> metric = SAP()
        >>> metric.update(factors.neg(), factors)
        >>> print(f"{metric.compute():.1f}")
        1.0
    """

    def __init__(
        self,
        *,
        reference: bool = False,
        seed: int = 0,
        **kwargs: Any,  # noqa: ANN401 (as torchmetrics')
    ) -> None:
        super().__init__(**kwargs)
        self.reference = reference
        self.seed = seed

    def evaluate(self, z: Tensor, factors: Tensor) -> Tensor:
        """Scores latents (N, K) against factors (N, D)."""
        return sap(z, factors, reference=self.reference, seed=self.seed)


class Explicitness(CodesMetric):
    """Explicitness: how well a linear map of all latents predicts each factor.

    Args:
        seed: Draws the test rows.
        reference: disentanglement_lib's form; factors must be classes then.
        **kwargs: What torchmetrics' Metric takes.

    Example:
        >>> import torch
        >>> from cryo_disentangle.metrics import Explicitness
        >>> factors = torch.rand(1000, 2, generator=torch.Generator().manual_seed(0))
        >>> metric = Explicitness()
        >>> metric.update(factors @ torch.tensor([[1.0, 1.0], [1.0, -1.0]]), factors)
        >>> print(f"{metric.compute():.1f}")
        1.0
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        reference: bool = False,
        **kwargs: Any,  # noqa: ANN401 (as torchmetrics')
    ) -> None:
        super().__init__(**kwargs)
        self.seed = seed
        self.reference = reference

    def evaluate(self, z: Tensor, factors: Tensor) -> Tensor:
        """Scores latents (N, K) against factors (N, D)."""
        return explicitness(z, factors, seed=self.seed, reference=self.reference)


class IRS(CodesMetric):
    """Interventional robustness score; see `irs`.

    Args:
        bins: Number of bins of each factor.
        quantile: Quantile of the deviations within a bin.
        **kwargs: What torchmetrics' Metric takes.

    Example:
        >>> import torch
        >>> from cryo_disentangle.metrics import IRS
        >>> factors = torch.rand(5000, 2, generator=torch.Generator().manual_seed(0))
        >>> metric = IRS()
        >>> metric.update(factors, factors)
        >>> print(f"{metric.compute():.1f}")
        1.0
    """

    def __init__(
        self,
        bins: int = 20,
        *,
        quantile: float = 0.99,
        **kwargs: Any,  # noqa: ANN401 (as torchmetrics')
    ) -> None:
        super().__init__(**kwargs)
        self.bins = bins
        self.quantile = quantile

    def evaluate(self, z: Tensor, factors: Tensor) -> Tensor:
        """Scores latents (N, K) against factors (N, D)."""
        return irs(z, factors, bins=self.bins, quantile=self.quantile)
