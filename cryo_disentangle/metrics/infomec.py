"""InfoMEC's scores as a torchmetrics class."""

from __future__ import annotations

from typing import Any, Literal, get_args

from torch import Tensor

from cryo_disentangle.metrics.base import CodesMetric, check_choice
from cryo_disentangle.metrics.functional._memo import remember_last
from cryo_disentangle.metrics.functional.infomec import infomec

__all__ = ["InfoMEC"]

InfoMECScore = Literal["modularity", "explicitness", "compactness"]

_infomec = remember_last(infomec)


class InfoMEC(CodesMetric):
    """One of the three scores of InfoMEC; see `infomec` for the formulas and edge cases.

    Several of these in one MetricCollection estimate information once.

    Args:
        score: Which one.
        seed: Of held-out samples and of those that information is estimated from.
        neighbors: Number of neighbours of the estimate of mutual information.
        bins: Number of bins of a factor.
        reference: The published code's form; factors must be classes then.
        **kwargs: What torchmetrics' Metric takes.

    Example:
        >>> import torch
        >>> from cryo_disentangle.metrics import InfoMEC
        >>> factors = torch.rand(1000, 2, generator=torch.Generator().manual_seed(0))
        >>> metric = InfoMEC("compactness")
        >>> metric.update(factors.flip(1), factors)
        >>> print(f"{metric.compute():.1f}")
        1.0
    """

    def __init__(
        self,
        score: InfoMECScore = "modularity",
        *,
        seed: int = 0,
        neighbors: int = 10,
        bins: int = 20,
        reference: bool = False,
        **kwargs: Any,  # noqa: ANN401 (as torchmetrics')
    ) -> None:
        super().__init__(**kwargs)
        self.score = check_choice(score, "score", get_args(InfoMECScore))
        self.seed = seed
        self.neighbors = neighbors
        self.bins = bins
        self.reference = reference

    def evaluate(self, z: Tensor, factors: Tensor) -> Tensor:
        """Scores latents (N, K) against factors (N, D)."""
        scores = _infomec(
            z,
            factors,
            seed=self.seed,
            neighbors=self.neighbors,
            bins=self.bins,
            reference=self.reference,
        )
        return scores._asdict()[self.score].clone()
