"""Linear-Gaussian statistics of known conformations, for the tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cryo_disentangle.geometry import random_rotations
from cryo_disentangle.statistics import StatisticsFolder
from cryo_disentangle.statistics.origin import StatisticsOrigin
from cryo_disentangle.statistics.particle_statistics import ParticleStatistics
from cryo_disentangle.statistics.subspace import Subspace
from cryo_disentangle.statistics.writing import StatisticsWriter

BOX_SIZE = 16


def origin(count: int, **changes: object) -> StatisticsOrigin:
    """Where the statistics pretend to come from."""
    made: dict[str, object] = {
        "subspace": "ab12",
        "noise": (1.0, 1.0),
        "particles": "stack.mrcs",
        "digest": "cd34",
        "n_particles": count,
        "box_size": BOX_SIZE,
        "pixel_size": 3.5,
    }
    return StatisticsOrigin(**(made | changes))  # type: ignore[arg-type]


def statistics_of(coefficients: Tensor, seed: int = 0, strength: float = 3.0) -> ParticleStatistics:
    """Statistics of coefficients (N, K), each seen through slices of its own."""
    generator = torch.Generator().manual_seed(seed)
    count, rank = coefficients.shape
    slices = torch.randn(count, 4 * rank, rank, generator=generator) * strength / rank
    noise = torch.randn(count, 4 * rank, 1, generator=generator)
    residual = slices @ coefficients[..., None] + noise
    return ParticleStatistics(
        precision=slices.mT @ slices,
        information=(slices.mT @ residual)[..., 0],
        offset=residual.square().sum((1, 2)),
        index=torch.arange(count),
        half=torch.arange(count) % 2,
        rotation=random_rotations(count, generator=generator),
    )


def subspace_of(rank: int) -> Subspace:
    """Volumes of noise."""
    radius = 4
    generator = torch.Generator().manual_seed(0)
    nodes = torch.randn((2 * radius + 3) ** 3, rank + 1, generator=generator)
    return Subspace(nodes, torch.ones(radius + 1), BOX_SIZE, 3.5, radius)


def write(path: Path, statistics: ParticleStatistics, **changes: object) -> StatisticsFolder:
    """Writes a folder in two blocks, with a subspace."""
    count, subspace = len(statistics), subspace_of(statistics.rank)
    changes.setdefault("subspace", subspace.digest)
    index, half = statistics.index.numpy(), statistics.half.numpy()
    writer = StatisticsWriter(
        path,
        origin(count, **changes),
        index,
        half,
        statistics.rotation.numpy().astype(np.float32),
        statistics.rank,
    )
    for rows in (torch.arange(count // 2), torch.arange(count // 2, count)):
        some = statistics.take(rows)
        writer.write(rows, some.precision, some.information, some.offset)
    subspace.save(writer.partial / "subspace.pt")
    return writer.finish()
