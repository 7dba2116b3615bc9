"""All scores of latents against true factors at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, cast, overload

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor
from torchmetrics import MetricCollection
from torchmetrics.utilities import dim_zero_cat

from cryo_disentangle.metrics.base import CodesMetric
from cryo_disentangle.metrics.canonical_order import canonical_order
from cryo_disentangle.metrics.correlation import (
    MCC,
    MeanCanonicalCorrelation,
    R2Linear,
    SplineMCC,
)
from cryo_disentangle.metrics.fixed_factor_scores import BetaVAEScore, FactorVAEScore
from cryo_disentangle.metrics.functional.codes import Array, check_codes
from cryo_disentangle.metrics.infomec import InfoMEC
from cryo_disentangle.metrics.information import MIG, Modularity
from cryo_disentangle.metrics.intervals import Interval, bootstrap_interval
from cryo_disentangle.metrics.prediction import DCI, SAP

__all__ = ["DisentanglementMetrics", "disentanglement_metrics"]


class DisentanglementMetrics(MetricCollection):
    """The scores of disentanglement, as a MetricCollection that stores the samples once.

    Names: ``mcc_pearson``, ``mcc_spearman``, ``mcc_spline``, ``mean_canonical_correlation``,
    ``r2_linear``, ``mig``, ``modularity``, ``sap``, ``dci_disentanglement``, ``dci_completeness``,
    ``dci_informativeness``, ``infomec_modularity``, ``infomec_compactness``, ``beta_vae``,
    ``factor_vae``; 1 is the best of each. Explicitness, also that of InfoMEC, is ``r2_linear`` for
    continuous factors and is not repeated.

    Lightning logs it with ``self.log_dict(metrics)`` after ``metrics.update(z, factors)``.

    Args:
        seed: Of held-out rows and of drawn pairs.
        prefix: Goes before the names, such as "val/".
        postfix: Goes after them.

    Example:
        >>> import torch
        >>> from cryo_disentangle.metrics import DisentanglementMetrics
        >>> factors = torch.rand(2000, 2, generator=torch.Generator().manual_seed(0))
        >>> metrics = DisentanglementMetrics(prefix="val/")
        >>> for batch in factors.split(500):
        ...     metrics.update(batch @ torch.tensor([[1.0, 1.0], [1.0, -1.0]]), batch)
        >>> scores = metrics.compute()
        >>> print(f"{scores['val/r2_linear']:.1f} {scores['val/mcc_pearson']:.1f}")
        1.0 0.7
    """

    def __init__(
        self, *, seed: int = 0, prefix: str | None = None, postfix: str | None = None
    ) -> None:
        super().__init__(dict(_metrics(seed)), prefix=prefix, postfix=postfix)
        self._seed = seed

    def chance(self) -> dict[str, Tensor]:
        """Scores the stored latents against the factors of random other samples.

        Returns:
            What latents that know nothing would score, by name.

        Raises:
            ValueError: If nothing is stored.
        """
        first = cast("CodesMetric", next(iter(self.values(copy_state=True))))
        if not len(first.z):
            raise ValueError(f"{type(self).__name__} has nothing to score: call update first")
        z, factors = dim_zero_cat(first.z).cpu(), dim_zero_cat(first.factors).cpu()
        generator = torch.Generator().manual_seed(self._seed)
        other = torch.randperm(len(factors), generator=generator)
        found = disentanglement_metrics(z, factors[other], seed=self._seed)
        return {self._set_name(name): score for name, score in found.items()}

    def plot(  # type: ignore[override] # one figure, where torchmetrics draws one a metric
        self,
        val: Mapping[str, Tensor] | None = None,
        ax: Axes | None = None,
        together: bool = True,  # noqa: ARG002 - torchmetrics' own
    ) -> tuple[Figure, Axes]:
        """Draws all scores as bars in one figure, each with its level by chance.

        Args:
            val: Result of ``compute``; None takes the present one.
            ax: Where to draw; None makes a new figure.
            together: As it is; there is one figure either way.

        Returns:
            The figure and its axes.

        Raises:
            ValueError: If nothing is stored.
        """
        scores, chance = self.compute() if val is None else val, self.chance()
        names = [name for name in chance if name in scores]
        figure = Figure(figsize=(6.2, 0.9 + 0.3 * len(names)), layout="constrained")
        axes = figure.subplots() if ax is None else ax
        axes.barh(names, [float(scores[name]) for name in names], color="#0072B2", label="score")
        axes.plot(
            [float(chance[name]) for name in names],
            names,
            "|",
            color="#D55E00",
            markersize=12,
            markeredgewidth=3,
            label="chance",
        )
        axes.invert_yaxis()
        axes.set(xlim=(0, 1), xlabel="score (1 is best)")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2, frameon=False)
        axes.grid(axis="x", alpha=0.3)
        found = axes.get_figure()
        return (found if isinstance(found, Figure) else figure), axes


@overload
def disentanglement_metrics(
    z: Array, factors: Array, *, with_interval: Literal[False] = False, seed: int = 0
) -> dict[str, Tensor]: ...


@overload
def disentanglement_metrics(
    z: Array,
    factors: Array,
    *,
    with_interval: Literal[True],
    level: float = 0.95,
    resamples: int = 100,
    seed: int = 0,
) -> dict[str, Interval]: ...


def disentanglement_metrics(
    z: Array,
    factors: Array,
    *,
    with_interval: bool = False,
    level: float = 0.95,
    resamples: int = 100,
    seed: int = 0,
) -> dict[str, Tensor] | dict[str, Interval]:
    """Scores latents against true factors by all scores of `DisentanglementMetrics`.

    Args:
        z: Latents (posterior means), shape (N, K).
        factors: True factors, shape (N, D).
        with_interval: Whether each score comes with its interval, which takes ``resamples`` / 2
            times as long; see `bootstrap_interval`. Ends are clipped to the scores' range.
        level: Probability that an interval holds.
        resamples: Number of halves of the samples that an interval is made of.
        seed: Of held-out rows, drawn pairs and halves.

    Returns:
        Scores by name, float64 scalars, or their intervals; they do not depend on the order of the
        samples.

    Raises:
        ValueError: If the arrays are no finite columns of the same samples, or a metric needs
            more of them.
    """
    z, factors = check_codes(z, factors)
    order = canonical_order(z, factors)
    z, factors = z[order], factors[order]
    metrics = _metrics(seed)

    def evaluate(z: Tensor, factors: Tensor) -> Tensor:
        return torch.stack([metric.evaluate(z, factors) for metric in metrics.values()])

    if not with_interval:
        return dict(zip(metrics, evaluate(z, factors), strict=True))
    found = bootstrap_interval(evaluate, z, factors, level=level, resamples=resamples, seed=seed)
    # A held-out R² may lie below 0 itself.
    low, high = found.low.clamp(min=0).minimum(found.value), found.high.clamp(max=1)
    return {name: Interval(found.value[i], low[i], high[i]) for i, name in enumerate(metrics)}


def _metrics(seed: int) -> dict[str, CodesMetric]:
    """Every score by its name."""
    return {
        "mcc_pearson": MCC("pearson"),
        "mcc_spearman": MCC("spearman"),
        "mcc_spline": SplineMCC(seed=seed),
        "mean_canonical_correlation": MeanCanonicalCorrelation(),
        "r2_linear": R2Linear(seed=seed),
        "mig": MIG(),
        "modularity": Modularity(),
        "sap": SAP(),
        "dci_disentanglement": DCI("disentanglement", seed=seed),
        "dci_completeness": DCI("completeness", seed=seed),
        "dci_informativeness": DCI("informativeness", seed=seed),
        "infomec_modularity": InfoMEC("modularity", seed=seed),
        "infomec_compactness": InfoMEC("compactness", seed=seed),
        "beta_vae": BetaVAEScore(seed=seed),
        "factor_vae": FactorVAEScore(seed=seed),
    }
