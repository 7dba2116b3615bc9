"""How a callback looks at a model without a trace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import lightning as L
import torch

from cryo_disentangle.metrics.canonical_order import mix_bits
from cryo_disentangle.metrics.particle_rows import evaluating
from cryo_disentangle.types import ParticleBatch, observation

__all__ = ["named_by_image", "trained", "undisturbed"]


@contextmanager
def trained(trainer: L.Trainer, module: L.LightningModule) -> Iterator[None]:
    """Has a trained module in evaluation mode on its device, in ``on_fit_end``; without gradients.

    Lightning moves modules to the CPU before that hook.

    Args:
        trainer: A Trainer at the end of a fit.
        module: The module.

    Yields:
        Nothing.
    """
    home = module.device
    module.to(trainer.strategy.root_device)
    try:
        with evaluating(module):
            yield
    finally:
        module.to(home)


@contextmanager
def undisturbed(module: L.LightningModule) -> Iterator[None]:
    """Leaves a module's mode and the global random numbers as they were; without gradients.

    Args:
        module: The module, which is in evaluation mode meanwhile.

    Yields:
        Nothing.
    """
    devices = [module.device] if module.device.type == "cuda" else []
    with torch.random.fork_rng(devices), evaluating(module):
        yield


def named_by_image(batch: ParticleBatch) -> ParticleBatch:
    """Gives particles numbers that are a hash of their images, in place of their index.

    Args:
        batch: B single particles.

    Returns:
        The same with another ``index``, shape (B,), not negative.
    """
    # On the CPU, for not all devices have float64.
    pixels = observation(batch).flatten(1).cpu().double().view(torch.int64)
    place = torch.arange(1, pixels.shape[1] + 1, device=pixels.device)
    key = mix_bits((mix_bits(pixels) * mix_bits(place)).sum(1))
    # Not negative, as seeds must be that are made of them.
    number = (key & (2**63 - 1)).to(batch["index"].device)
    return cast("ParticleBatch", dict(batch) | {"index": number})
