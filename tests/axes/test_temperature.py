from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cryo_disentangle.axes import TemperatureAxes
from cryo_disentangle.metrics.functional import mcc
from tests.axes.simulated import generator, heated, normal

few = settings(max_examples=6)


@few
@given(st.integers(0, 10**6), st.integers(2, 4), st.sampled_from([0.0001, 0.3, 0.6]))
def test_finds_the_axes_that_react_differently(seed: int, width: int, noise: float) -> None:
    table, kelvin = heated(seed, 9000, width, noise)
    axes = TemperatureAxes().fit(table.mean, kelvin, table.covariance)
    weights = torch.linalg.lstsq(table.mean, table.factors).solution
    best = mcc(table.mean @ weights, table.factors)
    assert float(mcc(axes.transform(table.mean), table.factors)) > 0.97 * float(best)
    assert axes.determined_
    assert axes.angle_.max() < 15
    # Noise would make the growth of a frozen motion look smaller: 3² to the power of 2 x 1. What
    # is left of its variance when the noise is subtracted is uncertain, and its inverse skewed.
    assert 81 / 2 < axes.ratio_[0] < 81 * (1.5 if noise < 0.5 else 5)
    assert axes.ratio_[-1] == pytest.approx(1, rel=0.3)
    assert (np.diff(axes.ratio_) < 0).all()


@pytest.mark.parametrize(("width", "noise"), [(2, 0.3), (2, 0.9), (3, 0.3)])
def test_harmonic_motions_are_not_told_apart(width: int, noise: float) -> None:
    for seed in range(6):
        table, kelvin = heated(seed, 1500, width, noise, harmonic=True)
        axes = TemperatureAxes().fit(table.mean, kelvin, table.covariance)
        assert not axes.determined_
        assert "widen or narrow alike" in axes.verdict_


def test_estimates_with_errors() -> None:
    table, kelvin = heated(0, 6000, 2, 0.6)
    errors = torch.linalg.inv(torch.linalg.inv(table.covariance) - torch.eye(2))
    gain = torch.eye(2) - table.covariance
    estimates = torch.linalg.solve(gain, table.mean[..., None])[..., 0]
    scale = torch.tensor([[3.0, 1.0], [0.0, 20.0]], dtype=torch.float64)
    axes = TemperatureAxes(errors=True).fit(
        estimates @ scale.T + 5, kelvin, scale @ errors @ scale.T
    )
    posterior = TemperatureAxes().fit(table.mean, kelvin, table.covariance)
    along, reference = axes.matrix_ @ scale.numpy(), posterior.matrix_
    cosine = np.abs((along * reference).sum(1))
    norms = np.linalg.norm(along, axis=1) * np.linalg.norm(reference, axis=1)
    assert (cosine > 0.999 * norms).all()
    assert axes.determined_
    assert axes.ratio_ == pytest.approx(posterior.ratio_, rel=0.1)


def test_uncorrected_noise_hides_a_frozen_motion() -> None:
    table, kelvin = heated(0, 6000, 2, 0.6)
    axes = TemperatureAxes().fit(table.mean, kelvin)
    assert axes.ratio_[0] < 40


def test_noise_that_explains_all_is_named() -> None:
    z = normal(generator(0), 3000, 2)
    kelvin = 100.0 + 100 * (torch.arange(3000) % 2)
    with pytest.raises(ValueError, match="noise explains all of the spread of the latents along"):
        TemperatureAxes(errors=True).fit(z, kelvin, 1.02 * torch.ones(3000, 2))
    with pytest.raises(ValueError, match="noise explains all of the spread of the latents along"):
        TemperatureAxes().fit(0.5 * z, kelvin, 0.5 * torch.ones(3000, 2))


def test_a_single_coordinate_is_determined() -> None:
    table, kelvin = heated(0, 600, 1)
    axes = TemperatureAxes().fit(table.mean, kelvin, table.covariance[:, :, 0])
    assert axes.determined_
    assert axes.verdict_.startswith("Determined: there is a single coordinate")


def test_bad_input() -> None:
    z = normal(generator(0), 300, 2)
    two = 100.0 + 100 * (torch.arange(300) % 2)
    with pytest.raises(ValueError, match=r"at least two temperatures are needed, found \[300.0\]"):
        TemperatureAxes().fit(z, torch.full((300,), 300.0))
    with pytest.raises(ValueError, match=r"at least 50 particles .* found 1 at 150 K"):
        TemperatureAxes().fit(z, torch.where(torch.arange(300) == 7, 150.0, two))
    with pytest.raises(ValueError, match=r"from 1 K to 1,000 K, found 0.1"):
        TemperatureAxes().fit(z, two / 1000)
    with pytest.raises(ValueError, match=r"temperatures \(N,\) are needed, got \(300, 2\)"):
        TemperatureAxes().fit(z, two[:7])
    with pytest.raises(ValueError, match="covariance must be finite, got other values at row 0"):
        TemperatureAxes().fit(z, two, torch.full((300, 2), np.nan))
    with pytest.raises(ValueError, match=r"covariance must be positive, .* at row 0"):
        TemperatureAxes().fit(z, two, -torch.ones(300, 2))
    with pytest.raises(ValueError, match="does not vary along some direction"):
        TemperatureAxes().fit(torch.stack([z[:, 0], 2 * z[:, 0]], 1), two)


def test_a_bent_harmonic_motion_is_not_told_apart() -> None:
    both = normal(generator(0), 40_000, 2)
    both[20_000:] *= 1.75
    # Few volumes show the ends of a large motion too near: here its variance grows 15 % less.
    bent = torch.stack([both[:, 0], torch.asinh(0.36 * both[:, 1])], 1)
    kelvin = torch.tensor([100.0, 300.0]).repeat_interleave(20_000)
    axes = TemperatureAxes().fit(bent, kelvin)
    assert 0.1 < axes.separation_[0, 1] < 0.2
    assert not axes.determined_
