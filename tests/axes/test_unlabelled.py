from __future__ import annotations

import numpy as np
import pytest
import torch

from cryo_disentangle.axes import IndependentAxes, PrincipalAxes
from cryo_disentangle.metrics.functional import mcc
from tests.axes.simulated import generator, laplace, normal, posteriors, turned


@pytest.mark.parametrize(("width", "noise"), [(2, 0.01), (2, 0.4), (4, 0.3)])
def test_independent_axes_of_uniform_conformations(width: int, noise: float) -> None:
    g = generator(0)
    factors = 12**0.5 * (torch.rand(8000, width, generator=g, dtype=torch.float64) - 0.5)
    table = posteriors(factors, turned(g, width), noise, g)
    axes = IndependentAxes().fit(table.mean, table.covariance)
    weights = torch.linalg.lstsq(table.mean, factors).solution
    best = float(mcc(table.mean @ weights, factors))
    assert float(mcc(axes.transform(table.mean), factors)) > 0.98 * best
    assert axes.angle_.max() < 15
    assert axes.kurtosis_.max() < 3
    assert not axes.determined_
    assert "a guess that the motions are independent" in axes.verdict_


def test_principal_axes_are_those_of_the_conformations_not_of_the_noise() -> None:
    g = generator(0)
    z = normal(g, 20_000, 2) * torch.tensor([1.0, 0.5]).double()
    errors = torch.tensor([[0.1, 0.1], [0.1, 2.0]]).double().expand(20_000, 2, 2)
    measured = z + normal(g, 20_000, 2) @ torch.linalg.cholesky(errors[0]).T
    axes = PrincipalAxes(errors=True).fit(measured, errors)
    assert axes.variance_ == pytest.approx([1, 0.25], rel=0.1)
    direction = axes.matrix_ / np.linalg.norm(axes.matrix_, axis=1, keepdims=True)
    np.testing.assert_allclose(np.abs(direction), np.eye(2), atol=0.1)
    assert axes.angle_.max() < 10
    # Without the errors the noise's direction is the principal one.
    assert abs(PrincipalAxes().fit(measured).matrix_[0, 0]) < 0.3
    assert not axes.determined_
    assert "a convention" in axes.verdict_


def test_exact_latents() -> None:
    g = generator(1)
    factors = laplace(g, 4000, 3)
    z = factors @ turned(g, 3).T
    assert float(mcc(IndependentAxes().fit(z).transform(z), factors)) > 0.99
    axes = PrincipalAxes().fit(z @ torch.diag(torch.tensor([3.0, 2.0, 1.0])).double())
    assert axes.variance_ == pytest.approx([9, 4, 1], rel=0.2)


@pytest.mark.parametrize("kind", [PrincipalAxes, IndependentAxes])
def test_noise_that_explains_all_is_named(
    kind: type[PrincipalAxes] | type[IndependentAxes],
) -> None:
    z = normal(generator(0), 3000, 2)
    with pytest.raises(ValueError, match="noise explains all of the spread of the latents along"):
        kind(errors=True).fit(z, 1.02 * torch.ones(3000, 2))
    with pytest.raises(ValueError, match="latents must be finite, got nan at row 0"):
        kind().fit(z * np.nan)
