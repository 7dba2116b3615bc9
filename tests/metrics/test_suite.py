"""All scores at once."""

from __future__ import annotations

import importlib
from unittest.mock import Mock

import lightning as L
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from cryo_disentangle.metrics import (
    DisentanglementMetrics,
    disentanglement_metrics,
    permutation_null,
)

NAMES = {
    "beta_vae",
    "dci_completeness",
    "dci_disentanglement",
    "dci_informativeness",
    "factor_vae",
    "infomec_compactness",
    "infomec_modularity",
    "mcc_pearson",
    "mcc_spearman",
    "mcc_spline",
    "mean_canonical_correlation",
    "mig",
    "modularity",
    "r2_linear",
    "sap",
}


def codes(count: int = 600, seed: int = 0, noise: float = 0.05) -> tuple[Tensor, Tensor]:
    """Permuted, noisy factors and a latent of noise."""
    generator = torch.Generator().manual_seed(seed)
    factors = torch.rand(count, 3, generator=generator)
    z = torch.cat([factors.flip(1), torch.rand(count, 1, generator=generator)], dim=1)
    return z + noise * torch.randn(count, 4, generator=generator), factors


def test_names_and_groups() -> None:
    metrics = DisentanglementMetrics()
    z, factors = codes()
    for a, b in zip(z.split(250), factors.split(250), strict=True):
        metrics.update(a, b)
    # One group stores z and factors for all.
    assert len(metrics.compute_groups) == 1
    stored = {id(m.metric_state["z"]) for m in metrics.values(copy_state=False)}
    assert len(stored) == 1
    scores = metrics.compute()
    assert set(scores) == NAMES
    assert all(s.shape == () and s.dtype == torch.float64 for s in scores.values())
    expected = disentanglement_metrics(z, factors)
    assert {k: float(v) for k, v in scores.items()} == {k: float(v) for k, v in expected.items()}


def test_trees_are_fitted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("cryo_disentangle.metrics.functional.dci")
    fit = Mock(wraps=module.boosted_regression)
    monkeypatch.setattr(module, "boosted_regression", fit)
    metrics = DisentanglementMetrics()
    metrics.update(*codes(seed=99))
    metrics.compute()
    assert fit.call_count == 1


def test_perfect_codes_have_the_maximum() -> None:
    _, factors = codes(3000)
    scores = disentanglement_metrics(
        -(factors.flip(1) ** 3) * torch.tensor([1e-6, 1.0, 1e6]), factors
    )
    for name in NAMES - {"mcc_pearson", "r2_linear", "mean_canonical_correlation", "sap"}:
        assert float(scores[name]) == pytest.approx(1.0, abs=0.08), name
    linear = disentanglement_metrics(2 - 3 * factors.flip(1), factors)
    for name in ("mcc_pearson", "r2_linear", "mean_canonical_correlation"):
        assert float(linear[name]) == pytest.approx(1.0, abs=1e-9), name
    assert float(linear["sap"]) > 0.99


def test_unrelated_codes_have_none() -> None:
    z, _ = codes(2000, seed=1)
    _, factors = codes(2000, seed=2)
    scores = disentanglement_metrics(z, factors)
    chance = {"beta_vae", "factor_vae"}
    for name in NAMES - chance:
        assert float(scores[name]) == pytest.approx(0.0, abs=0.15), name
    for name in chance:
        assert float(scores[name]) == pytest.approx(1 / 3, abs=0.12), name


def test_scores_beside_their_null() -> None:
    def evaluate(z: Tensor, factors: Tensor) -> Tensor:
        return torch.stack(list(disentanglement_metrics(z, factors).values()))

    z, factors = codes(300, seed=1)
    unrelated = permutation_null(evaluate, z.roll(1, 0), factors, permutations=9)
    value, width = evaluate(z.roll(1, 0), factors), unrelated.high - unrelated.low
    assert bool(((value - unrelated.mean).abs() <= width + 1e-9).all())
    related = permutation_null(evaluate, z, factors, permutations=9)
    assert bool((related.p_value == 1 / 10).all())


@settings(max_examples=5)
@given(seed=st.integers(0, 10**6), exponents=st.tuples(*[st.integers(-20, 20)] * 4))
def test_order_sign_and_scale_of_latents_are_nothing(
    seed: int, exponents: tuple[int, int, int, int]
) -> None:
    # As many as fill the bins: else it matters from which side they are filled.
    z, factors = codes(800, seed=seed, noise=0.3)
    # Powers of two round nothing.
    scale = 2.0 ** torch.tensor(exponents) * torch.tensor([1.0, -1.0, 1.0, -1.0])
    order = torch.randperm(4, generator=torch.Generator().manual_seed(seed))
    scores, moved = (disentanglement_metrics(x, factors) for x in (z, (scale * z)[:, order]))
    # Trees cut between numbers at half the way, and at equal gains in the first latent.
    loose = {"dci_disentanglement", "dci_completeness", "dci_informativeness"}
    for name, score in scores.items():
        tolerance = 0.1 if name in loose else 1e-6
        assert float(moved[name]) == pytest.approx(float(score), abs=tolerance), name


@pytest.mark.parametrize(
    "case", ["constant", "one constant", "duplicate", "one of each", "fewer latents", "few samples"]
)
def test_odd_codes_have_finite_scores(case: str) -> None:
    z, factors = codes(200)
    if case == "constant":
        z = torch.full_like(z, 0.1)
    elif case == "one constant":
        z[:, 0] = 7.0
    elif case == "duplicate":
        z, factors = z[:, [0, 0, 1]], factors[:, [0, 0, 1]]
    elif case == "one of each":
        z, factors = z[:, 2], factors[:, 0]
    elif case == "fewer latents":
        z = z[:, :2]
    else:
        z, factors = z[:12], factors[:12]
    for name, value in disentanglement_metrics(z, factors).items():
        assert torch.isfinite(value), name
        # R² falls below 0 where a fit predicts worse than the mean.
        assert -0.2 <= float(value) <= 1.0 + 1e-9, name


def test_too_few_samples() -> None:
    z, factors = codes(11)
    with pytest.raises(ValueError, match="must have at least 12 samples, got 11"):
        disentanglement_metrics(z, factors)


def test_intervals_of_all() -> None:
    z, factors = codes(300)
    scores = disentanglement_metrics(z, factors)
    intervals = disentanglement_metrics(z, factors, with_interval=True, resamples=4)
    assert set(intervals) == NAMES
    for name, found in intervals.items():
        assert float(found.value) == float(scores[name])
        assert float(found.low) <= float(found.value) <= float(found.high) or (
            float(found.high) - float(found.low) < 0.05
        )
        assert 0.0 <= float(found.low) <= float(found.high) <= 1.0, name


def test_intervals_hold_scores_below_zero() -> None:
    z, _ = codes(60, seed=1)
    _, factors = codes(60, seed=2)
    found = disentanglement_metrics(z, factors, with_interval=True, resamples=4)["r2_linear"]
    assert float(found.low) <= float(found.value) < 0.0
    assert float(found.value) < float(found.high)


class _Scored(L.LightningModule):
    """Logs the metrics of a model that knows the factors."""

    def __init__(self) -> None:
        super().__init__()
        self.metrics = DisentanglementMetrics(prefix="val/")

    def validation_step(self, batch: list[Tensor], _: int) -> None:
        """Stores a batch and logs."""
        self.metrics.update(*batch)
        self.log_dict(self.metrics)


@pytest.mark.filterwarnings("ignore:.*does not have many workers:UserWarning")
@pytest.mark.filterwarnings("ignore:.*GPU available but not used:UserWarning")
@pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*treespec.*:FutureWarning")
def test_lightning_logs_them() -> None:
    z, factors = codes(200)
    trainer = L.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    loader = DataLoader(TensorDataset(z, factors), batch_size=64)
    (logged,) = trainer.validate(_Scored(), loader, verbose=False)
    expected = {f"val/{k}": float(v) for k, v in disentanglement_metrics(z, factors).items()}
    assert logged == pytest.approx(expected, abs=1e-6)


def test_all_scores_are_one_figure_with_chance() -> None:
    generator = torch.Generator().manual_seed(0)
    factors = torch.rand(300, 2, generator=generator)
    suite = DisentanglementMetrics(prefix="val/")
    with pytest.raises(ValueError, match="nothing to score: call update first"):
        suite.chance()
    suite.update(factors, factors)
    chance = suite.chance()
    assert set(chance) == set(suite.compute())
    assert float(chance["val/mcc_pearson"]) < 0.3
    assert float(chance["val/modularity"]) == 0
    figure, axes = suite.plot()
    assert figure is axes.figure
    assert len(axes.patches) == len(chance)
    assert [text.get_text() for text in axes.get_yticklabels()] == list(chance)
    assert np.array_equal(axes.lines[0].get_xdata(), [float(value) for value in chance.values()])
    again, same = suite.plot({name: torch.ones(()) for name in chance}, ax=axes)
    assert (again, same) == (figure, axes)
