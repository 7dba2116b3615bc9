from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cryo_disentangle.geometry import random_rotations
from cryo_disentangle.metrics.functional.spread import nuisance_spread_leak, view_spread_leak
from cryo_disentangle.metrics.spread_leak import SpreadLeak
from cryo_disentangle.types import Inference, ParticleBatch
from tests.metrics.toy_models import split_batch

COUNT = 600


@pytest.fixture(scope="module")
def particles() -> ParticleBatch:
    generator = torch.Generator().manual_seed(0)
    ctf = torch.tensor([64, 2.0, 15000, 14000, 20, 300, 2.7, 0.1, 0]).repeat(COUNT, 1)
    ctf[:, 2:4] += 2000 * torch.randn(COUNT, 1, generator=generator)
    return ParticleBatch(
        images=torch.zeros(COUNT, 1, 1),
        index=torch.arange(COUNT),
        rotation=random_rotations(COUNT, generator=generator),
        translation=torch.randn(COUNT, 2, generator=generator),
        ctf=ctf,
        temperature=torch.full((COUNT,), 300.0),
    )


@pytest.fixture(scope="module")
def z(particles: ParticleBatch) -> Tensor:
    noise = torch.randn(COUNT, 2, generator=torch.Generator().manual_seed(1))
    return noise * (0.3 + particles["rotation"][:, 2, 2:].abs())


def test_scores_of_what_the_batches_hold(particles: ParticleBatch, z: Tensor) -> None:
    metric = SpreadLeak(permutations=50)
    metric.update(Inference(z, torch.zeros_like(z), None), particles)
    scores = metric.compute()
    assert all(value.shape == () for value in scores.values())
    direct = view_spread_leak(z, particles["rotation"], permutations=50)
    assert float(scores["view_spread_p_value"]) == pytest.approx(1 / 51)
    assert float(scores["view_spread_ratio"]) == float(
        max(direct.ratio.max(), direct.overall_ratio)
    )
    assert float(scores["view_spread_variance"]) == float(direct.variance.max())
    defocus = nuisance_spread_leak(z, {"defocus": particles["ctf"][:, 2:4]}, permutations=50)
    assert float(scores["defocus_spread_p_value"]) == float(
        min(defocus["defocus"].p_value.min(), defocus["defocus"].overall_p_value)
    )
    assert float(scores["shift_spread_p_value"]) > 0.05
    assert len(scores) == 9


def test_a_width_that_is_foreseen(particles: ParticleBatch, z: Tensor) -> None:
    width = 0.3 + particles["rotation"][:, 2, 2].abs()
    metric = SpreadLeak(permutations=50)
    metric.update(z, particles, width)
    assert float(metric.compute()["view_spread_p_value"]) > 0.05


def test_only_what_is_there_is_scored(particles: ParticleBatch, z: Tensor) -> None:
    metric = SpreadLeak()
    metric.update(z, ParticleBatch(images=particles["images"], index=particles["index"]))
    assert metric.compute() == {}


def test_batches_order_and_pairs_change_nothing(particles: ParticleBatch, z: Tensor) -> None:
    whole, parts, pairs = (SpreadLeak(permutations=10) for _ in range(3))
    width = z.abs() + 1
    whole.update(z, particles, width)
    sizes = [100, 37, COUNT - 137]
    batches = list(
        zip(z.split(sizes), split_batch(particles, sizes), width.split(sizes), strict=True)
    )
    for latents, batch, wide in (*reversed(batches), batches[0]):
        parts.update(latents, batch, wide)
    frames = {key: value.unflatten(0, (-1, 2)) for key, value in particles.items()}  # type: ignore[attr-defined]
    pairs.update(z.unflatten(0, (-1, 2)), frames, width.unflatten(0, (-1, 2)))  # type: ignore[arg-type]
    assert whole.compute() == parts.compute() == pairs.compute()
