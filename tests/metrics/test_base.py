"""What all metrics of latents and factors share."""

from __future__ import annotations

import pickle

import matplotlib as mpl
import pytest
import torch
from torch import Tensor

from cryo_disentangle.metrics import MCC, MIG, R2Linear
from cryo_disentangle.metrics.base import CodesMetric

mpl.use("Agg")


def codes(count: int = 400, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    factors = torch.rand(count, 2, generator=generator)
    return factors.flip(1) + 0.1 * torch.randn(count, 2, generator=generator), factors


def filled(metric: CodesMetric, batch: int = 150) -> CodesMetric:
    z, factors = codes()
    for a, b in zip(z.split(batch), factors.split(batch), strict=True):
        metric.update(a, b)
    return metric


def test_batches_and_order_are_nothing() -> None:
    z, factors = codes()
    shuffle = torch.randperm(len(z), generator=torch.Generator().manual_seed(1))
    whole = R2Linear()
    whole.update(z[shuffle], factors[shuffle])
    assert torch.equal(whole.compute(), filled(R2Linear()).compute())


def test_one_column_may_be_a_vector() -> None:
    z, factors = codes()
    vector, matrix = MCC(), MCC()
    vector.update(z[:, 1], factors[:, 0])
    matrix.update(z[:, 1:], factors[:, :1])
    assert torch.equal(vector.compute(), matrix.compute())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_any_precision_gives_a_float64_scalar(dtype: torch.dtype) -> None:
    z, factors = codes()
    metric = MCC()
    metric.update(z.to(dtype).requires_grad_(), factors.to(dtype))
    assert metric.z[0].dtype == dtype
    assert not metric.z[0].requires_grad
    found = metric.compute()
    assert found.shape == ()
    assert found.dtype == torch.float64
    assert float(found) == pytest.approx(float(filled(MCC()).compute()), abs=1e-3)


def test_arrays_of_numpy_are_taken() -> None:
    z, factors = codes()
    metric = MCC()
    metric.update(z.numpy().astype(">f4"), factors.numpy())
    assert torch.equal(metric.compute(), filled(MCC()).compute())


def test_half_of_the_metric_changes_nothing() -> None:
    metric = filled(MCC()).half()
    assert metric.compute().dtype == torch.float64


def test_pickle_clone_merge_and_reset() -> None:
    metric = filled(MIG())
    expected = metric.compute()
    assert torch.equal(pickle.loads(pickle.dumps(metric)).compute(), expected)
    assert torch.equal(metric.clone().compute(), expected)
    z, factors = codes()
    one, two = MIG(), MIG()
    one.update(z[:301], factors[:301])
    two.update(z[301:], factors[301:])
    one.merge_state(two)
    assert torch.equal(one.compute(), expected)
    metric.reset()
    assert metric.z == []


def test_plot() -> None:
    metric = filled(MCC())
    _, axes = metric.plot()
    low, high = axes.get_ylim()  # type: ignore[union-attr]
    assert low <= 0.0 < 1.0 <= high
    metric.plot([metric.compute(), metric.compute()])
    mpl.pyplot.close("all")


def test_nothing_to_score() -> None:
    # Torchmetrics warns by itself before.
    with (
        pytest.warns(UserWarning, match="was called before the ``update`` method"),
        pytest.raises(ValueError, match=r"MCC has nothing to score: call update\(z, factors\)"),
    ):
        MCC().compute()


def test_batches_that_do_not_fit() -> None:
    metric = filled(MCC())
    with pytest.raises(ValueError, match="z and factors must have as many samples, got 3 and 4"):
        metric.update(torch.zeros(3, 2), torch.zeros(4, 2))
    with pytest.raises(ValueError, match=r"z must have shape .*, got \(4, 2, 2\)"):
        metric.update(torch.zeros(4, 2, 2), torch.zeros(4, 2))
    with pytest.raises(ValueError, match="z must have 2 columns as in earlier batches, got 3"):
        metric.update(torch.zeros(4, 3), torch.zeros(4, 2))
    with pytest.raises(ValueError, match=r"factors must have 2 columns as in earlier .*, got 1"):
        metric.update(torch.zeros(4, 2), torch.zeros(4))
    assert len(metric.z) == len(metric.factors) == 3


def test_numbers_that_are_none() -> None:
    metric = filled(MCC())
    metric.update(torch.full((1, 2), torch.nan), torch.zeros(1, 2))
    with pytest.raises(ValueError, match="z must be finite, got nan"):
        metric.compute()


def test_unknown_choice() -> None:
    with pytest.raises(ValueError, match="correlation must be one of pearson, spearman, got 'k'"):
        MCC("k")  # type: ignore[arg-type]
