"""Batches for priors, which read no images."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from cryo_disentangle.types import ParticleBatch


@pytest.fixture
def particles() -> Callable[..., ParticleBatch]:
    """Makes a batch of a leading shape."""

    def make(
        count: int | tuple[int, ...],
        temperature: Tensor | None = None,
        time: Tensor | None = None,
    ) -> ParticleBatch:
        shape = (count,) if isinstance(count, int) else count
        index = torch.arange(int(torch.tensor(shape).prod())).reshape(shape)
        batch: ParticleBatch = {"images": torch.zeros(*shape, 1, 1), "index": index}
        if temperature is not None:
            batch["temperature"] = temperature
        if time is not None:
            batch["time"] = time
        return batch

    return make
