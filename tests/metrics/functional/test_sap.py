from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cryo_disentangle.metrics.functional.sap import sap
from tests.metrics.golden import CASES, load

few = settings(max_examples=15)
seeds = st.integers(0, 10**6)


def _draw(seed: int, rows: int = 60, k: int = 4, d: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(rows, d))
    z = factors @ rng.normal(size=(d, k)) + 0.3 * rng.normal(size=(rows, k))
    return torch.from_numpy(z), torch.from_numpy(factors)


@pytest.mark.parametrize("case", CASES)
def test_the_gap_is_the_references(case: str) -> None:
    golden = load(case)
    expected = golden.score("dlib_sap_continuous", "SAP_score")
    assert float(sap(golden.z, golden.factors)) == pytest.approx(expected, abs=1e-6)
    # A single latent has no second, so that its gap is its own score.
    for z, row in zip(golden.z.T, golden.matrix("dlib_sap_continuous_matrix"), strict=True):
        found = [float(sap(z, f)) for f in golden.factors.T]
        assert found == pytest.approx(row, abs=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_the_reference_form_is_the_references(case: str) -> None:
    golden = load(case)
    expected = golden.score("dlib_sap_discrete", "SAP_score")
    score = sap(golden.z, golden.labels, reference=True, n_train=golden.n_train)
    assert float(score) == pytest.approx(expected, abs=0.03)


def test_the_gap_is_the_populations_where_theory_knows_it() -> None:
    known = [c for c in map(load, CASES) if "sap_continuous" in c.population_values]
    assert len(known) == 20
    for golden in known:
        expected = golden.population_values["sap_continuous"]
        assert float(sap(golden.z, golden.factors)) == pytest.approx(expected, abs=0.05)


@few
@given(seeds, st.floats(1e-6, 1e6))
def test_order_sign_and_scale_change_nothing(seed: int, scale: float) -> None:
    z, factors = _draw(seed)
    order = torch.randperm(4, generator=torch.Generator().manual_seed(seed))
    moved = (scale * z * torch.tensor([-1.0, 1.0, 1.0, -1.0]) + 1)[:, order]
    torch.testing.assert_close(sap(moved, factors), sap(z, factors), atol=1e-9, rtol=0)


def test_a_perfect_code_scores_one_and_noise_nothing() -> None:
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(10_000, 3))
    assert float(sap(1 - factors[:, ::-1], factors)) == pytest.approx(1, abs=1e-3)
    assert float(sap(rng.normal(size=(10_000, 3)), factors)) == pytest.approx(0, abs=1e-3)


def test_edge_cases() -> None:
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(5000, 2)))
    constant = torch.full((5000, 2), 0.1)
    assert float(sap(constant, x)) == 0.0
    assert float(sap(x, constant)) == 0.0
    assert float(sap(x[:, :1], x[:, :1])) == pytest.approx(1)
    assert float(sap(x[:, [0, 1, 0, 1]], x)) == pytest.approx(0, abs=1e-12)
    assert float(sap(x, x[:, [0, 1, 0, 1]])) == pytest.approx(1, abs=2e-3)
    assert float(sap(x[:, :1], x)) == pytest.approx(0.5, abs=2e-3)
    assert float(sap(x[:2], x[:2])) == pytest.approx(0, abs=1e-9)
    assert 0 <= float(sap(x[:40, :1], x[:40] > 0, reference=True)) <= 1


def test_the_reference_form_takes_classes_only() -> None:
    z, factors = _draw(0)
    with pytest.raises(ValueError, match="factor 1 must show 2 classes or more"):
        sap(z, torch.stack([factors[:, 0] > 0, factors[:, 0] > 99], dim=1), reference=True)
    with pytest.raises(ValueError, match="z must have at least 4 samples, got 3"):
        sap(z[:3], factors[:3], reference=True)
