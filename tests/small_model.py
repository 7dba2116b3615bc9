"""A small model and a batch of noise for it, for the tests of modules, losses and callbacks."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from cryo_disentangle.decoders import ImplicitDecoder
from cryo_disentangle.encoders import MLPEncoder
from cryo_disentangle.geometry import random_rotations
from cryo_disentangle.imaging.hartley import hartley2, symmetrize
from cryo_disentangle.modules import HeterogeneousReconstruction
from cryo_disentangle.types import ParticleBatch

SIDE, COUNT, DIM = 16, 5, 3


def make_model(**options: Any) -> HeterogeneousReconstruction:
    """Makes a model whose weights are always the same."""
    torch.manual_seed(0)
    settings: dict[str, Any] = {
        "conformation_dim": DIM,
        "encoder": partial(MLPEncoder, width=16, layers=1),
        "decoder": partial(ImplicitDecoder, width=16, layers=1),
    }
    return HeterogeneousReconstruction(SIDE, **(settings | options))


def make_batch(*, ctf: bool = True, translation: bool = True) -> ParticleBatch:
    """Makes Hartley transforms of noise with random poses."""
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(COUNT, SIDE, SIDE, generator=generator)
    batch: ParticleBatch = {
        "images": symmetrize(hartley2(noise)) / SIDE,
        "index": torch.arange(COUNT),
        "rotation": random_rotations(COUNT, generator=generator),
    }
    if translation:
        batch["translation"] = 2 * torch.randn(COUNT, 2, generator=generator)
    if ctf:
        row = torch.tensor([SIDE, 4.0, 12000, 11000, 30, 300, 2.7, 0.1, 0])
        batch["ctf"] = row.repeat(COUNT, 1)
        batch["ctf"][:, 2] += torch.linspace(0, 5000, COUNT)
    return batch
