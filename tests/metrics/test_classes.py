"""Each class gives its function's score."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from cryo_disentangle import metrics
from cryo_disentangle.metrics import functional
from cryo_disentangle.metrics.base import CodesMetric
from cryo_disentangle.metrics.canonical_order import canonical_order
from cryo_disentangle.metrics.functional.correlation import mean_canonical_correlation
from cryo_disentangle.metrics.functional.dci import dci
from cryo_disentangle.metrics.functional.explicitness import explicitness
from cryo_disentangle.metrics.functional.fixed_factor_scores import (
    beta_vae_score_from_codes,
    factor_vae_score_from_codes,
)
from cryo_disentangle.metrics.functional.infomec import infomec
from cryo_disentangle.metrics.functional.information import med, mig, modularity
from cryo_disentangle.metrics.functional.irs import irs
from cryo_disentangle.metrics.functional.neighbourhood import (
    information_imbalance,
    neighbourhood_similarity,
)
from cryo_disentangle.metrics.functional.sap import sap

TWINS: list[tuple[CodesMetric, Callable[[Tensor, Tensor], Tensor]]] = [
    (metrics.MCC(), functional.mcc),
    (metrics.MCC("spearman"), partial(functional.mcc, correlation="spearman")),
    (metrics.MCC(circular=(1,)), partial(functional.mcc, circular=(1,))),
    (metrics.MCC(circular_latents=(0,)), partial(functional.mcc, circular_latents=(0,))),
    (metrics.SplineMCC(knots=5, seed=1), partial(functional.spline_mcc, knots=5, seed=1)),
    (metrics.R2Linear(seed=1), partial(functional.r2_linear, seed=1)),
    (metrics.MeanCanonicalCorrelation(), mean_canonical_correlation),
    (metrics.MIG(10), partial(mig, bins=10)),
    (metrics.MIG(miller_madow=False), partial(mig, miller_madow=False)),
    (metrics.MIG(reference=True), partial(mig, reference=True)),
    (metrics.Modularity(10), partial(modularity, bins=10)),
    (metrics.Modularity(reference=True), partial(modularity, reference=True)),
    (metrics.MED(10), partial(med, bins=10)),
    (metrics.SAP(), sap),
    (metrics.SAP(reference=True, seed=1), partial(sap, reference=True, seed=1)),
    (metrics.Explicitness(seed=1), partial(explicitness, seed=1)),
    (metrics.Explicitness(reference=True), partial(explicitness, reference=True)),
    (metrics.DCI(reference=True), lambda z, f: dci(z, f, reference=True)[0]),
    (metrics.InfoMEC(reference=True), lambda z, f: infomec(z, f, reference=True)[0]),
    (metrics.IRS(5, quantile=0.9), partial(irs, bins=5, quantile=0.9)),
    *(
        (
            metrics.DCI(score, seed=1, test_fraction=0.25),  # type: ignore[arg-type]
            lambda z, f, i=i: dci(z, f, seed=1, test_fraction=0.25)[i],
        )
        for i, score in enumerate(("disentanglement", "completeness", "informativeness"))
    ),
    *(
        (
            metrics.InfoMEC(score, seed=1, neighbors=5, bins=4),  # type: ignore[arg-type]
            lambda z, f, i=i: infomec(z, f, seed=1, neighbors=5, bins=4)[i],
        )
        for i, score in enumerate(("modularity", "explicitness", "compactness"))
    ),
    (
        metrics.NeighbourhoodSimilarity(5, max_samples=200, seed=1),
        partial(neighbourhood_similarity, k=5, max_samples=200, seed=1),
    ),
    *(
        (
            metrics.InformationImbalance(direction, k=2, max_samples=200, seed=1),  # type: ignore[arg-type]
            lambda z, f, i=i: information_imbalance(z, f, k=2, max_samples=200, seed=1)[i],
        )
        for i, direction in enumerate(("latents_to_factors", "factors_to_latents"))
    ),
    (
        metrics.BetaVAEScore(5, seed=1),
        partial(beta_vae_score_from_codes, bins=5, seed=1),
    ),
    (
        metrics.FactorVAEScore(5, threshold=0.1, seed=1),
        partial(factor_vae_score_from_codes, bins=5, threshold=0.1, seed=1),
    ),
]


def named(twin: object) -> str:
    return type(twin).__name__ if isinstance(twin, CodesMetric) else ""


@pytest.mark.parametrize(("metric", "function"), TWINS, ids=named)
def test_class_gives_the_score_of_its_function(
    metric: CodesMetric, function: Callable[[Tensor, Tensor], Tensor]
) -> None:
    generator = torch.Generator().manual_seed(0)
    factors = torch.randint(8, (300, 2), generator=generator).double()
    z = factors @ torch.tensor([[0.9, 0.4, 0.0], [-0.4, 0.9, 0.0]]).double()
    z = z + torch.randn(300, 3, generator=generator)
    metric.reset()
    for a, b in zip(z.split(77), factors.split(77), strict=True):
        metric.update(a, b)
    order = canonical_order(z, factors)
    expected = function(z[order], factors[order])
    assert 0 < float(expected) <= 1
    assert torch.equal(metric.compute(), expected)


@pytest.mark.parametrize(("metric", "_"), TWINS, ids=named)
def test_what_torchmetrics_wants_to_know(metric: CodesMetric, _: object) -> None:
    assert metric.is_differentiable is False
    lower_is_better = isinstance(metric, metrics.InformationImbalance)
    assert metric.higher_is_better is not lower_is_better
    assert metric.full_state_update is False
    assert (metric.plot_lower_bound, metric.plot_upper_bound) == (0.0, 1.0 + lower_is_better)


def test_every_class_is_tested() -> None:
    classes = {
        name
        for name in metrics.__all__
        if isinstance(getattr(metrics, name), type)
        and issubclass(getattr(metrics, name), CodesMetric)
    }
    assert classes == {type(metric).__name__ for metric, _ in TWINS}


def test_unknown_scores() -> None:
    with pytest.raises(ValueError, match=r"score must be one of disentanglement, .*, got 'modul'"):
        metrics.DCI("modul")  # type: ignore[arg-type]
