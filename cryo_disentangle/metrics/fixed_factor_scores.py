"""BetaVAE and FactorVAE scores as classes, for stored latents and for interventions."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from cryo_disentangle.metrics.base import CodesMetric, ScoreMetric
from cryo_disentangle.metrics.canonical_order import canonical_order
from cryo_disentangle.metrics.functional.codes import split_rows
from cryo_disentangle.metrics.functional.fixed_factor_scores import (
    active_variances,
    beta_vae_accuracy,
    beta_vae_features,
    beta_vae_score_from_codes,
    factor_vae_accuracy,
    factor_vae_score_from_codes,
    factor_vae_votes,
)

__all__ = [
    "BetaVAEScore",
    "FactorVAEScore",
    "InterventionalBetaVAEScore",
    "InterventionalFactorVAEScore",
]


class BetaVAEScore(CodesMetric):
    """BetaVAE score of stored latents; see `beta_vae_score_from_codes`.

    Args:
        bins: Bins of a factor: samples in the same bin count as having the same value.
        seed: Of the division of samples and the pairs.
        **kwargs: What torchmetrics' Metric takes.

    Example:
        >>> import torch
        >>> from cryo_disentangle.metrics import BetaVAEScore
        >>> factors = torch.rand(1000, 2, generator=torch.Generator().manual_seed(0))
        >>> metric = BetaVAEScore()
        >>> metric.update(factors.flip(1), factors)
        >>> print(f"{metric.compute():.1f}")
        1.0
    """

    def __init__(
        self,
        bins: int = 20,
        *,
        seed: int = 0,
        **kwargs: Any,  # noqa: ANN401 (as torchmetrics')
    ) -> None:
        super().__init__(**kwargs)
        self.bins = bins
        self.seed = seed

    def evaluate(self, z: Tensor, factors: Tensor) -> Tensor:
        """Scores latents (N, K) against factors (N, D)."""
        return beta_vae_score_from_codes(z, factors, bins=self.bins, seed=self.seed)


class FactorVAEScore(CodesMetric):
    """FactorVAE score of stored latents; see `factor_vae_score_from_codes`.

    Args:
        bins: Bins of a factor: samples in the same bin count as having the same value.
        threshold: Latents whose standard deviation is at most this fraction of the largest one do
            not vote.
        seed: Of the division of samples and the batches.
        **kwargs: What torchmetrics' Metric takes.

    Example:
        >>> import torch
        >>> from cryo_disentangle.metrics import FactorVAEScore
        >>> factors = torch.rand(1000, 2, generator=torch.Generator().manual_seed(0))
        >>> metric = FactorVAEScore()
        >>> metric.update(factors.flip(1), factors)
        >>> print(f"{metric.compute():.1f}")
        1.0
    """

    def __init__(
        self,
        bins: int = 20,
        *,
        threshold: float = 0.0,
        seed: int = 0,
        **kwargs: Any,  # noqa: ANN401 (as torchmetrics')
    ) -> None:
        super().__init__(**kwargs)
        self.bins = bins
        self.threshold = threshold
        self.seed = seed

    def evaluate(self, z: Tensor, factors: Tensor) -> Tensor:
        """Scores latents (N, K) against factors (N, D)."""
        return factor_vae_score_from_codes(
            z, factors, bins=self.bins, threshold=self.threshold, seed=self.seed
        )


class InterventionalBetaVAEScore(ScoreMetric):
    """BetaVAE score of latents of samples that were made to share one factor.

    Of all interventions two thirds train the classifier, the others judge it.

    As input to ``update``:
        z1: Latents of the first members of the pairs, shape (P, L, K): P interventions of L pairs.
        z2: Latents of the second members, which share one factor with the first; same shape.
        factor_index: Which factor each intervention fixed, shape (P,), integers.

    As output of ``compute``:
        The score, a float64 scalar, about 1/D (chance) to 1.

    Args:
        seed: Of the division of interventions.
        reference: disentanglement_lib's form: features are not standardised.
        **kwargs: What torchmetrics' Metric takes.

    Example:
        >>> import torch
        >>> from cryo_disentangle.metrics.fixed_factor_scores import InterventionalBetaVAEScore
        >>> generator = torch.Generator().manual_seed(0)
        >>> index = torch.arange(200) % 2
        >>> first, second = torch.rand(2, 200, 32, 2, generator=generator)
        >>> fixed = torch.nn.functional.one_hot(index, 2).bool()[:, None]
        >>> metric = InterventionalBetaVAEScore()
        >>> metric.update(first, torch.where(fixed, first, second), index)
        >>> print(f"{metric.compute():.1f}")
        1.0
    """

    features: list[Tensor]
    index: list[Tensor]

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
        self.add_state("features", default=[], dist_reduce_fx="cat")
        self.add_state("index", default=[], dist_reduce_fx="cat")

    def update(self, z1: Tensor, z2: Tensor, factor_index: Tensor) -> None:
        """Stores what the classifier will see of P interventions.

        Args:
            z1: Latents of the first members, shape (P, L, K).
            z2: Latents of the second members, shape (P, L, K).
            factor_index: Which factor was fixed, shape (P,), integers.

        Raises:
            ValueError: If a shape is another.
        """
        _check_interventions(z1, "z1", factor_index)
        self.features.append(beta_vae_features(z1, z2))
        self.index.append(factor_index.to(z1.device))

    def compute(self) -> Tensor:
        """Scores all interventions.

        Returns:
            The score, a float64 scalar.

        Raises:
            ValueError: If there are fewer than four interventions, or codes are not finite.
        """
        _check_stored(self, self.index)
        features, index = (dim_zero_cat(x).cpu() for x in (self.features, self.index))
        order = canonical_order(features, index[:, None])
        train, test = (
            order[rows.to(order.device)] for rows in split_rows(len(order), seed=self.seed)
        )
        return beta_vae_accuracy(
            features[train],
            index[train],
            features[test],
            index[test],
            standardize=not self.reference,
        )


class InterventionalFactorVAEScore(ScoreMetric):
    """FactorVAE score of latents of samples that were made to share one factor.

    Of all interventions two thirds settle each latent's factor, the others judge. Variances over
    all samples are those of all interventions' samples together.

    As input to ``update``:
        z: Latents of batches that share the value of one factor, shape (P, L, K): P interventions
            of L samples.
        factor_index: Which factor each intervention fixed, shape (P,), integers.

    As output of ``compute``:
        The score, a float64 scalar, about 1/D (chance) to 1.

    Args:
        threshold: Latents whose standard deviation is at most this fraction of the largest one do
            not vote.
        seed: Of the division of interventions.
        **kwargs: What torchmetrics' Metric takes.

    Example:
        >>> import torch
        >>> from cryo_disentangle.metrics.fixed_factor_scores import InterventionalFactorVAEScore
        >>> index = torch.arange(200) % 2
        >>> z = torch.rand(200, 32, 2, generator=torch.Generator().manual_seed(0))
        >>> fixed = torch.nn.functional.one_hot(index, 2).bool()[:, None]
        >>> metric = InterventionalFactorVAEScore()
        >>> metric.update(torch.where(fixed, z[:, :1], z), index)
        >>> print(f"{metric.compute():.1f}")
        1.0
    """

    z: list[Tensor]
    index: list[Tensor]

    def __init__(
        self,
        *,
        threshold: float = 0.0,
        seed: int = 0,
        **kwargs: Any,  # noqa: ANN401 (as torchmetrics')
    ) -> None:
        super().__init__(**kwargs)
        self.threshold = threshold
        self.seed = seed
        self.add_state("z", default=[], dist_reduce_fx="cat")
        self.add_state("index", default=[], dist_reduce_fx="cat")

    def update(self, z: Tensor, factor_index: Tensor) -> None:
        """Stores P interventions.

        Args:
            z: Latents of batches that share the value of one factor, shape (P, L, K).
            factor_index: Which factor was fixed, shape (P,), integers.

        Raises:
            ValueError: If a shape is another or differs from that of earlier interventions.
        """
        _check_interventions(z, "z", factor_index)
        if len(self.z) and self.z[0].shape[1:] != z.shape[1:]:
            raise ValueError(
                f"z must have shape (P, {self.z[0].shape[1]}, {self.z[0].shape[2]}) as earlier "
                f"interventions, got {tuple(z.shape)}"
            )
        self.z.append(z.detach())
        self.index.append(factor_index.to(z.device))

    def compute(self) -> Tensor:
        """Scores all interventions.

        Returns:
            The score, a float64 scalar.

        Raises:
            ValueError: If there are fewer than four interventions, or codes are not finite.
        """
        _check_stored(self, self.index)
        z, index = (dim_zero_cat(x).cpu() for x in (self.z, self.index))
        variances = active_variances(z.flatten(0, 1), threshold=self.threshold)
        order = canonical_order(z.flatten(1), index[:, None])
        factors = int(index.max()) + 1
        votes = [
            factor_vae_votes(z[rows], index[rows], variances, factors)
            for rows in (order[r.to(order.device)] for r in split_rows(len(z), seed=self.seed))
        ]
        return factor_vae_accuracy(*votes)


def _check_interventions(z: Tensor, name: str, index: Tensor) -> None:
    """Checks that latents and indices are of as many interventions."""
    if z.ndim != 3 or z.shape[1] < 2:
        raise ValueError(
            f"{name} must have shape (interventions, samples, latents) with 2 samples or more, "
            f"got {tuple(z.shape)}"
        )
    if index.shape != z.shape[:1] or index.dtype.is_floating_point or (index < 0).any():
        raise ValueError(
            f"factor_index must be {len(z)} integers from 0 on, got {index.dtype} of shape "
            f"{tuple(index.shape)}"
        )


def _check_stored(metric: ScoreMetric, index: list[Tensor]) -> None:
    """Sees that there is something to score."""
    if not len(index):
        raise ValueError(f"{type(metric).__name__} has nothing to score: call update first")
