from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cryo_disentangle.axes import EvidenceAxes, TimeAxes
from cryo_disentangle.metrics.functional import mcc
from tests.axes.simulated import Table, generator, laplace, normal, pairs

few = settings(max_examples=6)


def fitted(table: Table) -> TimeAxes:
    return TimeAxes().fit(table.mean[0], table.mean[1], (table.covariance[0], table.covariance[1]))


def best_of_linear_maps(table: Table, axes: TimeAxes | EvidenceAxes) -> tuple[float, float]:
    """MCC along the axes, and that of the true ones."""
    means, factors = table.mean[0], table.factors[0]
    found = mcc(axes.transform(means), factors)
    weights = torch.linalg.lstsq(means, factors).solution
    return float(found), float(mcc(means @ weights, factors))


@few
@given(st.integers(0, 10**6), st.integers(2, 5), st.sampled_from([0.0001, 0.3]))
def test_finds_the_axes_along_which_steps_go(seed: int, width: int, noise: float) -> None:
    table = pairs(seed, 4000, width, noise)
    axes = fitted(table)
    found, best = best_of_linear_maps(table, axes)
    assert found > 0.98 * best
    assert axes.angle_.max() < 12
    assert axes.determined_
    assert axes.verdict_.startswith("Determined by time")


@pytest.mark.parametrize("steps", ["normal", "round"])
@pytest.mark.parametrize("width", [2, 3])
def test_steps_without_a_direction_determine_nothing(steps: str, width: int) -> None:
    for seed in range(5):
        axes = fitted(pairs(seed, 600, width, 0.5, steps))
        assert not axes.determined_
        assert axes.verdict_.startswith("Not determined by time")


def test_the_angle_holds_the_error() -> None:
    held = 0
    for seed in range(8):
        table = pairs(seed, 1000, 2, 0.3)
        axes = fitted(table)
        found, best = best_of_linear_maps(table, axes)
        error = np.degrees(np.arccos(min(1.0, found / best)))
        held += error < axes.angle_.max() + 1
    assert held >= 6


def test_noise_that_differs_between_particles_is_no_movement() -> None:
    # The noise is along axes, and its size differs between particles: it is far from normal.
    g = generator(0)
    earlier = normal(g, 4000, 2)
    z = torch.stack([earlier, earlier + 0.5 * normal(g, 4000, 2)])
    errors = 0.5 * torch.exp(normal(g, 2, 4000, 2))
    measured = z + errors.sqrt() * normal(g, 2, 4000, 2)
    assert TimeAxes().fit(measured[0], measured[1]).determined_
    aware = TimeAxes(errors=True).fit(measured[0], measured[1], (errors[0], errors[1]))
    assert not aware.determined_


@pytest.mark.parametrize("seed", range(3))
def test_noise_that_posteriors_know_in_part_is_no_movement(seed: int) -> None:
    # Two images of each conformation: nothing moves, and posteriors are a little too narrow and
    # differ less between particles than the noise does.
    g = generator(seed)
    z, draw = normal(g, 20_000, 2), 1.5 * normal(g, 2, 20_000, 2)
    precision, told = 4 * draw.exp(), 5.2 * (0.85 * draw).exp()
    mean = (precision * z + precision.sqrt() * normal(g, *draw.shape)) / (precision + 1)
    covariance = 1 / (told + 1)
    assert TimeAxes().fit(mean[0], mean[1]).determined_
    aware = TimeAxes().fit(mean[0], mean[1], (covariance[0], covariance[1]))
    assert aware.contrast_[0, 1] > 2.5 * aware.contrast_error_[0, 1] + 0.002
    assert not aware.determined_


def test_coordinates_of_any_unit_and_order() -> None:
    table = pairs(0, 3000)
    axes = TimeAxes().fit(table.mean[0], table.mean[1])
    units = torch.tensor([[0.0, 1e-2], [10.0, 0.0]], dtype=torch.float64)
    moved = table.mean @ units.T + 7
    other = TimeAxes().fit(moved[0], moved[1])
    np.testing.assert_allclose(
        np.abs(other.transform(table.mean[0] @ units.T + 7)),
        np.abs(axes.transform(table.mean[0])),
        atol=1e-4,
    )
    z = axes.transform(table.mean.flatten(0, 1))
    np.testing.assert_allclose(z.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(z.std(0), 1)
    np.testing.assert_allclose(axes.inverse_transform(z), table.mean.flatten(0, 1), atol=1e-9)
    spread = axes.transform_covariance(table.covariance[0].numpy())
    expected = axes.matrix_ @ table.covariance[0][5].numpy() @ axes.matrix_.T
    np.testing.assert_allclose(spread[5], expected)
    np.testing.assert_allclose(
        axes.transform_covariance(np.ones((3, 2)))[0], axes.matrix_ @ axes.matrix_.T
    )


def test_intervals_scale_steps() -> None:
    g = generator(0)
    interval = 1 + 99.0 * (torch.arange(4000) % 2)
    earlier = normal(g, 4000, 2)
    steps = laplace(g, 4000, 2) * interval[:, None].sqrt()
    scaled = TimeAxes().fit(earlier, earlier + steps, interval=interval)
    assert float(mcc(torch.from_numpy(scaled.transform(earlier)), earlier)) > 0.99
    assert scaled.kurtosis_.max() < 8 < TimeAxes().fit(earlier, earlier + steps).kurtosis_.max()


def test_evidence_finds_axes_where_noise_hides_them() -> None:
    table = pairs(1, 3000, 2, 0.6)
    covariance = table.covariance[0], table.covariance[1]
    axes = EvidenceAxes(samples=16).fit(table.mean[0], table.mean[1], covariance)
    found, best = best_of_linear_maps(table, axes)
    assert found > 0.99 * best
    assert axes.determined_
    assert axes.angle_.max() < 20


def test_evidence_of_given_samples_and_of_a_likelihood() -> None:
    table = pairs(2, 1500, 2, 0.4)
    identity = torch.eye(2, dtype=torch.float64)
    precision = (torch.linalg.inv(table.covariance) - identity).transpose(0, 1)
    information = torch.linalg.solve(table.covariance, table.mean[..., None])[..., 0]
    information = information.transpose(0, 1)

    def likelihood(samples: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        linear = torch.einsum("nfsi,nfi->nfs", samples, information[rows])
        quadratic = torch.einsum("nfsi,nfij,nfsj->nfs", samples, precision[rows], samples)
        return linear - 0.5 * quadratic

    covariance = table.covariance[0], table.covariance[1]
    own = EvidenceAxes(samples=24).fit(table.mean[0], table.mean[1], covariance)
    given = EvidenceAxes(samples=24).fit(table.mean[0], table.mean[1], covariance, likelihood)
    np.testing.assert_allclose(given.matrix_, own.matrix_, atol=0.02)
    samples = normal(generator(0), 1500, 2, 24, 2)
    factor = torch.linalg.cholesky(table.covariance.transpose(0, 1))
    drawn = table.mean.transpose(0, 1)[:, :, None] + samples @ factor.mT
    weights = likelihood(drawn, torch.arange(1500)) + 0.5 * samples.square().sum(-1)
    weighted = EvidenceAxes().fit_samples(drawn, weights)
    assert weighted.determined_
    assert best_of_linear_maps(table, weighted)[0] > 0.98 * best_of_linear_maps(table, own)[1]


def test_evidence_of_normal_steps_determines_nothing() -> None:
    for seed in range(2):
        table = pairs(seed, 800, 2, 0.6, "normal")
        covariance = table.covariance[0], table.covariance[1]
        axes = EvidenceAxes(samples=16).fit(table.mean[0], table.mean[1], covariance)
        assert not axes.determined_


def test_small_steps_of_sure_latents_are_no_noise() -> None:
    g = generator(0)
    z = normal(g, 600, 2)
    later = z + 0.02 * laplace(g, 600, 2)
    axes = TimeAxes().fit(z, later, (z * 0 + 1e-5, z * 0 + 1e-5))
    assert axes.determined_
    assert axes.angle_.max() < 10


def test_bad_input() -> None:
    g = generator(0)
    z = normal(g, 300, 2)
    with pytest.raises(ValueError, match=r"at least 200 pairs .* got \(100, 2\) and \(100, 2\)"):
        TimeAxes().fit(z[:100], z[:100])
    with pytest.raises(ValueError, match=r"of the same shape .* got \(300, 2\) and \(300, 1\)"):
        TimeAxes().fit(z, z[:, :1])
    with pytest.raises(ValueError, match=r"positive intervals .* smallest -1"):
        TimeAxes().fit(z, z, interval=-torch.ones(300))
    with pytest.raises(ValueError, match=r"coordinates \[1\] of the latents .* do not vary"):
        TimeAxes().fit(z, z + torch.stack([normal(g, 300), torch.zeros(300)], 1))
    measured = torch.cat([z, z]) + 0.5 * normal(g, 600, 2)
    with pytest.raises(ValueError, match="noise explains all of the spread of the steps between"):
        TimeAxes(errors=True).fit(measured[:300], measured[300:], (z * 0 + 0.25, z * 0 + 0.25))
    with pytest.raises(ValueError, match=r"covariance must have shape \(600, 2, 2\) or \(600, 2\)"):
        TimeAxes().fit(z, z, (z[:, 0], z[:, 0]))
    with pytest.raises(ValueError, match="samples must be at least 2, got 1"):
        EvidenceAxes(samples=1)
    with pytest.raises(ValueError, match=r"samples of shape \(N, 2, S, Z\) and log_weights"):
        EvidenceAxes().fit_samples(z, z)
    with pytest.raises(ValueError, match="samples and log_weights must be finite"):
        EvidenceAxes().fit_samples(torch.full((200, 2, 3, 2), np.nan), torch.zeros(200, 2, 3))
    with pytest.raises(ValueError, match=r"latents must have 2 coordinates .* got 3"):
        TimeAxes().fit(z, z + laplace(g, 300, 2)).transform(torch.ones(4, 3))
