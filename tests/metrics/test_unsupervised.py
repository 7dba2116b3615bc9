"""Classes of latents alone give their functions' scores, beside metrics of factors too."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor
from torchmetrics import MetricCollection

from cryo_disentangle import metrics
from cryo_disentangle.metrics import functional
from cryo_disentangle.metrics.functional.unsupervised import (
    gaussian_total_correlation,
    gaussian_wasserstein_correlation,
    pairwise_mutual_information,
)
from cryo_disentangle.metrics.unsupervised import LatentsMetric

TWINS: list[tuple[LatentsMetric, Callable[[Tensor], Tensor]]] = [
    (metrics.GaussianTotalCorrelation(), gaussian_total_correlation),
    (metrics.GaussianWassersteinCorrelation(), gaussian_wasserstein_correlation),
    (
        metrics.GaussianWassersteinCorrelation(normalized=True),
        partial(gaussian_wasserstein_correlation, normalized=True),
    ),
    (metrics.PairwiseMutualInformation(9), partial(pairwise_mutual_information, bins=9)),
    (
        metrics.PairwiseMutualInformation(reference=True),
        partial(pairwise_mutual_information, reference=True),
    ),
]


def latents(count: int = 300) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, 3, generator=generator).cumsum(1)


@pytest.mark.parametrize(("metric", "function"), TWINS)
def test_class_gives_the_score_of_its_function(
    metric: LatentsMetric, function: Callable[[Tensor], Tensor]
) -> None:
    z = latents()
    metric.reset()
    for batch in z.split(77):
        metric.update(batch)
    found = metric.compute()
    torch.testing.assert_close(found, function(z), rtol=1e-12, atol=1e-15)
    assert (found.shape, found.dtype) == ((), torch.float64)
    assert torch.equal(pickle.loads(pickle.dumps(metric)).compute(), found)
    half = metric.clone()
    half.reset()
    half.update(z.bfloat16())
    assert float(half.compute()) == pytest.approx(float(found), rel=0.03)


def test_numpy_and_one_latent() -> None:
    metric = metrics.GaussianTotalCorrelation()
    metric.update(latents()[:, 0].numpy())
    assert float(metric.compute()) == pytest.approx(0.0, abs=1e-12)


def test_in_a_collection_with_metrics_of_factors() -> None:
    z, factors = latents(), latents()[:, :2]
    collection = MetricCollection([twin.clone() for twin, _ in TWINS[:2]] + [metrics.MCC()])
    for a, b in zip(z.split(100), factors.split(100), strict=True):
        collection.update(z=a, factors=b)
    assert len(collection.compute_groups) == 2
    scores = collection.compute()
    expected = gaussian_total_correlation(z)
    torch.testing.assert_close(scores["GaussianTotalCorrelation"], expected)
    assert float(scores["MCC"]) == pytest.approx(float(functional.mcc(z, factors)))


def test_nothing_to_score() -> None:
    with (
        pytest.warns(UserWarning, match="was called before the ``update`` method"),
        pytest.raises(ValueError, match=r"Correlation has nothing to score: call update\(z\)"),
    ):
        metrics.GaussianTotalCorrelation().compute()


def test_batches_that_do_not_fit() -> None:
    metric = metrics.PairwiseMutualInformation()
    metric.update(latents())
    with pytest.raises(ValueError, match="z must have 3 columns as in earlier batches, got 1"):
        metric.update(latents()[:, 0])
