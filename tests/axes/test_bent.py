"""Bent axes: kept where the mixing is curved, and only there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cryo_disentangle.axes import bent
from cryo_disentangle.axes.bent import BentAxes, bent_by_temperature, bent_by_time
from cryo_disentangle.axes.labelled import KnownLatents, axes_by_temperature, axes_by_time
from cryo_disentangle.embeddings.embedding import Embedding
from cryo_disentangle.metrics.functional import mcc
from cryo_disentangle.naming import name_axes
from cryo_disentangle.particles.labels import ParticleLabels
from tests.axes.simulated import Table, generator, heated, laplace, normal, posteriors

_COUNT = 3000
_FRAMES = torch.arange(2 * _COUNT).reshape(2, -1).T


def pairs(strength: float, seed: int = 0) -> Table:
    """Frames whose factors are mixed by a shear, then turned, (2 N, 2)."""
    g = generator(seed)
    earlier = normal(g, _COUNT, 2)
    factors = torch.cat([earlier, earlier + laplace(g, _COUNT, 2)])
    u, v = (factors / factors.std(0)).unbind(1)
    mixed = torch.stack([u + strength * torch.sin(1.5 * v), v], 1)
    spread = torch.linalg.cholesky(torch.cov(mixed.T))
    turn = torch.tensor([[0.8, 0.6], [-0.6, 0.8]], dtype=torch.float64)
    mixing = turn @ torch.linalg.inv(spread)
    return posteriors(mixed, mixing, 0.2, g)._replace(factors=factors)


def known(table: Table) -> KnownLatents:
    return KnownLatents(table.mean, table.covariance)


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Fewer steps than for noisier data, and less curved mixing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bent, "_STEPS", 120)
        patch.setattr(bent, "_STRAIGHT_STEPS", 40)
        patch.setattr(bent, "_SAMPLES", 8)
        patch.setattr(bent, "_JUDGED_SAMPLES", 32)
        yield


@pytest.fixture(scope="module")
def curved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Table, BentAxes, Path]:
    """Axes as the command writes them."""
    table, out = pairs(0.7), tmp_path_factory.mktemp("bent")
    time, trajectory = np.repeat([0.0, 1.0], _COUNT), np.tile(np.arange(_COUNT), 2)
    labels: Any = ParticleLabels(time=time, trajectory=trajectory)
    mean, covariance = table.mean.numpy(), table.covariance.numpy()
    embedding = Embedding("any tool", Path("z.npz"), mean, covariance=covariance)
    axes = name_axes(embedding, labels, out)
    assert isinstance(axes, BentAxes)
    return table, axes, out


def test_a_curved_mixing_is_undone(curved: tuple[Table, BentAxes, Path]) -> None:
    table, found, _ = curved
    before, after = (
        float(mcc(axes.transform(table.mean), table.factors)) for axes in (found.straight, found)
    )
    assert after > before + 0.03
    assert found.evidence_gain_ > 4 * found.evidence_gain_error_
    assert (
        "Bent by a flow, for pairs of frames that did not bend them are likelier" in found.verdict_
    )
    assert found.determined_


def test_coordinates_are_units_and_go_back(curved: tuple[Table, BentAxes, Path]) -> None:
    table, found, out = curved
    along = found.transform(table.mean)
    np.testing.assert_allclose(along.mean(0), 0, atol=1e-9)
    np.testing.assert_allclose(along.std(0), 1)
    assert found.straight.straight is found.straight
    assert ((along * found.straight.transform(table.mean)).mean(0) > 0).all()
    np.testing.assert_allclose(found.inverse_transform(along), table.mean, atol=1e-6)
    with np.load(out / "latents.npz") as written, np.load(out / "axes.npz") as axes:
        np.testing.assert_allclose(written["latents"], along)
        assert written["covariance"].shape == (2 * _COUNT, 2, 2)
        assert axes["evidence_gain"] == found.evidence_gain_
    assert "Bent by a flow" in (out / "axes.txt").read_text()
    assert (out / "axes.png").is_file()


def test_covariances_are_those_of_small_clouds(curved: tuple[Table, BentAxes, Path]) -> None:
    _, found, _ = curved
    spread = np.array([[2e-4, 1e-4], [1e-4, 3e-4]])
    cloud = np.random.default_rng(0).multivariate_normal([0.5, -0.3], spread, 20_000)
    expected = found.transform_covariance(spread[None], np.array([[0.5, -0.3]]))[0]
    np.testing.assert_allclose(np.cov(found.transform(cloud).T), expected, rtol=0.05, atol=1e-6)
    with pytest.raises(ValueError, match="along bent axes need the latents that they are of"):
        found.transform_covariance(spread[None])


def test_a_linear_mixing_stays_straight() -> None:
    table = pairs(0.0)
    straight = axes_by_time(known(table), _FRAMES)
    found = bent_by_time(straight, known(table), _FRAMES)
    assert found is straight
    assert "Straight: held-out pairs of frames are no likelier with bent ones" in found.verdict_


def test_axes_by_temperature_are_bent() -> None:
    table, kelvin = heated(0, 3000, 2, 0.2)
    u, v = table.factors.unbind(1)
    mixed = torch.stack([u + torch.sin(1.5 * v), v], 1)
    mixed = mixed @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(mixed.T))).T
    seen = posteriors(mixed, torch.eye(2, dtype=torch.float64), 0.2, generator(1))
    straight = axes_by_temperature(known(seen), kelvin)
    found = bent_by_temperature(straight, known(seen), kelvin)
    assert "for particles that did not bend them" in found.verdict_

    def score(along: np.ndarray | Tensor) -> float:
        return float(mcc(along, table.factors))

    assert score(found.transform(seen.mean)) > score(straight.transform(seen.mean)) + 0.01


def test_what_is_not_determined_or_too_little_stays_as_it_is() -> None:
    table = pairs(1.0)
    few = _FRAMES[:1000]
    straight = axes_by_time(known(table), few)
    words = straight.verdict_
    assert bent_by_time(straight, known(table), few) is straight
    straight.determined_ = False
    assert bent_by_time(straight, known(table), _FRAMES) is straight
    assert straight.verdict_ == words


def test_exact_latents_are_bent_too() -> None:
    table = pairs(1.0)
    u = table.factors
    mixed = torch.stack([u[:, 0] + torch.sin(1.5 * u[:, 1]), u[:, 1]], 1)
    exact = KnownLatents(mixed)
    found = bent_by_time(axes_by_time(exact, _FRAMES), exact, _FRAMES, torch.ones(_COUNT))
    assert isinstance(found, BentAxes)
    assert float(mcc(found.transform(mixed), table.factors)) > 0.95
