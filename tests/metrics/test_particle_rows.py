from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from cryo_disentangle.metrics.particle_rows import ParticleRowsMetric, evaluating


class Rows(ParticleRowsMetric):
    """Keeps z and, perhaps, time."""

    def __init__(self) -> None:
        super().__init__(("z", "time"))

    def update(self, index: Tensor, z: Tensor, time: Tensor | None = None) -> None:
        self.keep(index, {"z": z, "time": time})

    def evaluate(self, rows: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"mean": rows["z"].mean(), "most": rows["z"].max()}


def test_rows_are_in_order_and_count_once() -> None:
    metric = Rows()
    metric.update(torch.tensor([5, 2]), torch.tensor([50.0, 20.0]))
    metric.update(torch.tensor([3, 2]), torch.tensor([30.0, 99.0]))
    rows = metric.rows()
    assert list(rows) == ["z"]
    assert rows["z"].tolist() == [20, 30, 50]
    assert float(metric.compute()["mean"]) == pytest.approx(100 / 3)


def test_reset_forgets() -> None:
    metric = Rows()
    metric.update(torch.arange(2), torch.ones(2))
    metric.reset()
    with pytest.raises(ValueError, match="Rows has nothing to score: call update with particles"):
        metric.rows()
    metric.update(torch.arange(0), torch.ones(0))
    with pytest.raises(ValueError, match="Rows has nothing to score"):
        metric.rows()


def test_all_or_none_have_a_row() -> None:
    metric = Rows()
    metric.update(torch.arange(2), torch.ones(2), torch.ones(2))
    metric.update(torch.arange(2, 5), torch.ones(3))
    with pytest.raises(
        ValueError, match="time must be known of all particles or none, got it of 2 of 5"
    ):
        metric.rows()


def test_intervals_are_those_of_each_score() -> None:
    metric = Rows()
    z = torch.randn(400, generator=torch.Generator().manual_seed(0)).double()
    metric.update(torch.arange(400), z)
    found = metric.intervals(resamples=200)
    assert list(found) == ["mean", "most"]
    assert {name: part.value for name, part in found.items()} == metric.compute()
    mean = found["mean"]
    # Twice 1.96 standard errors.
    assert float(mean.high - mean.low) == pytest.approx(3.92 * float(z.std()) / 20, rel=0.25)
    assert found["most"].low <= found["most"].value <= found["most"].high
    with pytest.raises(ValueError, match="level must lie between 0 and 1, got 2"):
        metric.intervals(level=2)


def test_scores_of_rows_are_a_subclass_s_matter() -> None:
    with pytest.raises(NotImplementedError, match="Rows has no scores of rows"):
        ParticleRowsMetric.evaluate(Rows(), {})


def test_plot() -> None:
    pyplot = pytest.importorskip("matplotlib.pyplot")
    metric = Rows()
    metric.update(torch.arange(2), torch.ones(2))
    figure, _ = metric.plot()
    pyplot.close(figure)


def test_evaluation_gives_each_module_its_mode_back() -> None:
    model = nn.Sequential(nn.Dropout(), nn.Linear(2, 2))
    model.train()
    model[0].eval()
    with evaluating(model):
        assert not any(module.training for module in model.modules())
        assert not torch.is_grad_enabled()
    assert torch.is_grad_enabled()
    assert [module.training for module in model.modules()] == [True, False, True]
    with evaluating(None):
        assert not torch.is_grad_enabled()


def fail() -> None:
    raise RuntimeError("inside")


def test_an_error_gives_the_mode_back() -> None:
    model = nn.Linear(2, 2).train()
    with pytest.raises(RuntimeError, match="inside"), evaluating(model):
        fail()
    assert model.training
    assert torch.is_grad_enabled()
