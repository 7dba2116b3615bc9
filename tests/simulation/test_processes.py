from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from cryo_disentangle.simulation import (
    CorrelatedFactors,
    FactorPath,
    LaplaceFactors,
    NormalFactors,
    UniformFactors,
)
from cryo_disentangle.simulation.draws import Draws
from cryo_disentangle.simulation.processes import ConformationProcess
from cryo_disentangle.simulation.quantiles import laplace_quantile, tabulated_quantile

DRAWS = Draws.consecutive((5,), 0, 20_000)


@pytest.mark.parametrize(
    ("process", "distribution"),
    [
        (UniformFactors(3, -2, 1), stats.uniform(-2, 3)),
        (NormalFactors(3, 0.4, 0.1), stats.norm(0.1, 0.4)),
        (LaplaceFactors(3, 0.25, -0.1), stats.laplace(-0.1, 0.25)),
    ],
)
def test_independent_factors_have_their_distribution(
    process: ConformationProcess, distribution: stats.rv_continuous
) -> None:
    factors = process.sample(DRAWS).factors
    assert factors.shape == (20_000, process.dim)
    for column in factors.T:
        assert stats.kstest(column.numpy(), distribution.cdf).pvalue > 1e-3
    correlation = torch.corrcoef(factors.T) - torch.eye(3)
    assert float(correlation.abs().max()) < 4 / 20_000**0.5


@pytest.mark.parametrize("strength", [0.2, 0.7])
def test_correlated_factors_have_the_papers_density(strength: float) -> None:
    process = CorrelatedFactors(dim=3, strength=strength, low=-1, high=3, pair=(2, 0))
    factors = (process.sample(DRAWS).factors + 1) / 4
    edges = np.linspace(0, 1, 9)
    counts, _, _ = np.histogram2d(factors[:, 2].numpy(), factors[:, 0].numpy(), [edges, edges])
    fine = (np.arange(400) + 0.5) / 400
    density = np.exp(-((fine[:, None] - fine) ** 2) / (2 * strength**2))
    expected = density.reshape(8, 50, 8, 50).sum((1, 3))
    expected *= counts.sum() / expected.sum()
    keep = expected > 5
    chi2 = ((counts - expected) ** 2 / expected)[keep].sum()
    assert stats.chi2.sf(chi2, keep.sum() - 1) > 1e-3
    assert stats.kstest(factors[:, 1].numpy(), "uniform").pvalue > 1e-3


def test_points_of_a_path_are_on_it_and_evenly_spread() -> None:
    path = FactorPath([[0, 0], [1, 1], [2, 0]])
    factors = path.sample(DRAWS).factors
    assert path.dim == 2
    expected = torch.where(factors[:, 0] < 1, factors[:, 0], 2 - factors[:, 0])
    torch.testing.assert_close(factors[:, 1], expected)
    assert stats.kstest(factors[:, 0].numpy(), stats.uniform(0, 2).cdf).pvalue > 1e-3
    spread = FactorPath([[0, 0], [1, 1], [2, 0]], spread=0.1).sample(DRAWS).factors
    assert float((spread - factors).std()) == pytest.approx(0.1, rel=0.03)


def test_a_path_is_read_from_a_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "p.npz", points=[[0.0, 1.0], [2.0, 3.0]], flat=[1.0, 2.0])
    assert FactorPath.from_file(tmp_path / "p.npz", "points").points == [[0.0, 1.0], [2.0, 3.0]]
    with pytest.raises(ValueError, match=r"an array named x expected, found \['flat', 'points'\]"):
        FactorPath.from_file(tmp_path / "p.npz", "x")
    with pytest.raises(ValueError, match=r"shape \(P, K\) expected, found \(2,\)"):
        FactorPath.from_file(tmp_path / "p.npz", "flat")


def test_quantiles_invert_distribution_functions() -> None:
    probability = torch.linspace(0.001, 0.999, 97, dtype=torch.float64)
    expected = torch.from_numpy(stats.laplace.ppf(probability.numpy()))
    torch.testing.assert_close(laplace_quantile(probability), expected)
    grid = torch.linspace(0, 1, 11, dtype=torch.float64)
    # The density 2 z is linear, so the table is exact: the quantile is the square root.
    torch.testing.assert_close(
        tabulated_quantile(grid, 2 * grid, probability), probability.sqrt(), atol=1e-12, rtol=0
    )
    hole = torch.tensor([1.0, 0, 0, 0, 1.0], dtype=torch.float64)
    position = tabulated_quantile(torch.arange(5.0).double(), hole, probability)
    assert not bool(((position > 1) & (position < 3)).any())


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match=r"low < high, found low 1\.0 and high -1\.0"):
        UniformFactors(2, 1.0, -1.0)
    with pytest.raises(ValueError, match="at least one factor, found dim 0"):
        NormalFactors(0)
    with pytest.raises(ValueError, match="scale must be positive, found 0"):
        LaplaceFactors(2, 0)
    with pytest.raises(ValueError, match=r"pair must name two of 2 factors, found \(0, 2\)"):
        CorrelatedFactors(2, pair=(0, 2))
    with pytest.raises(ValueError, match="two points or more"):
        FactorPath([[0, 0]])
    with pytest.raises(ValueError, match="spread must not be negative"):
        FactorPath([[0, 0], [1, 1]], spread=-1)
