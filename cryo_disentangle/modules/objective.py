"""How penalties join the loss of a model, whatever its observations are."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from cryo_disentangle.protocols.models import LatentImageModel
from cryo_disentangle.types import Inference, ParticleBatch

__all__ = ["add_penalties"]


def add_penalties(
    terms: dict[str, Tensor],
    penalties: nn.ModuleDict,
    model: LatentImageModel,
    batch: ParticleBatch,
    inference: Inference,
    *,
    training: bool,
) -> dict[str, Tensor]:
    """Adds penalties to a loss.

    Penalties compare particles, so that a lone one, as the last batch of a stack may be, goes
    without.

    Args:
        terms: The loss, ``loss``, and what it is made of.
        penalties: Penalties by name.
        model: The model that is trained.
        batch: Particles (B, ...) or pairs of frames (B, 2, ...).
        inference: What was inferred of them, of the same leading shape.
        training: Whether it is a training step, whose gradients other processes wait for.

    Returns:
        The terms with each penalty, and with all of them in ``loss``.

    Raises:
        ValueError: If a lone particle leaves out a penalty with parameters under DDP.
    """
    if batch["index"].numel() < 2:
        if training:
            _refuse_unused(penalties)
        return terms
    terms = dict(terms)
    for name, penalty in penalties.items():
        terms[name] = penalty(model, batch, inference)
        terms["loss"] = terms["loss"] + terms[name]
    return terms


def _refuse_unused(penalties: nn.ModuleDict) -> None:
    """Refuses to leave out penalties whose parameters other processes wait for."""
    learned = [name for name, penalty in penalties.items() if any(_trained(penalty))]
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    if learned and distributed and torch.distributed.get_world_size() > 1:
        raise ValueError(
            "a batch of one particle leaves out penalties, because they compare particles, but "
            "with "
            f"several processes the parameters of {', '.join(learned)} need a gradient at each "
            "step: give a batch_size of at least 2"
        )


def _trained(module: nn.Module) -> Iterator[bool]:
    """Whether each parameter is trained."""
    return (parameter.requires_grad for parameter in module.parameters())
