"""Randomness of a penalty: a function of its seed, the process and the step alone."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from cryo_disentangle.types import Inference

__all__ = ["StepDraws", "in_python", "sample_posterior", "uncompiled"]

# SeedSequence pads short keys with zeros, so keys of other parts of a run could coincide with ours.
_TRAINING, _EVALUATION = (zlib.crc32(name) for name in (b"penalty, training", b"penalty, held out"))
_Function = TypeVar("_Function", bound=Callable[..., Any])


def uncompiled(function: _Function) -> _Function:
    """Leaves a function, and all that it calls, to Python under ``torch.compile``.

    Args:
        function: Draws, or reads numbers that change from step to step.

    Returns:
        The same function.
    """
    return cast(_Function, torch.compiler.disable(function))


def in_python(function: _Function) -> _Function:
    """Leaves a function to Python under ``torch.compile``, which compiles what it calls.

    Penalties count steps, read schedules and draw from generators of their own: a compiler would
    take such numbers for constants and compile each step anew.

    Args:
        function: Part of a penalty.

    Returns:
        The same function.
    """
    return cast(_Function, torch.compiler.disable(function, recursive=False))


@uncompiled
def sample_posterior(inference: Inference, generator: torch.Generator) -> Tensor:
    """Draws conformations, apart from what is compiled.

    Args:
        inference: Posteriors of B particles.
        generator: Source of randomness on their device.

    Returns:
        Shape (B, Z); gradients flow to mean and covariance.
    """
    return inference.sample(generator)


class StepDraws(nn.Module):
    """Counts training steps and gives a generator for each.

    The count is part of the state dict, so a run that is resumed draws what it would have drawn.
    Processes draw differently, and shuffles of a batch stay within a process. Held-out batches
    don't count; their draws are the same in every pass over them, so that passes can be compared.
    Torch's global generator is neither read nor moved.

    Args:
        seed: Names the stream, not negative.
    """

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.seed = seed
        self.step = 0
        self._evaluations = 0

    @uncompiled
    def generator(self, device: torch.device | str) -> torch.Generator:
        """Makes the generator of the current step, the same until `advance`.

        Args:
            device: Where it draws; numbers differ between kinds of device.

        Returns:
            A fresh generator.
        """
        distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        rank = torch.distributed.get_rank() if distributed else 0
        purpose, count = (
            (_TRAINING, self.step) if self.training else (_EVALUATION, self._evaluations)
        )
        key = np.random.SeedSequence([self.seed, rank, purpose, count])
        return torch.Generator(device).manual_seed(int(key.generate_state(1, np.uint64)[0]) >> 1)

    def advance(self) -> None:
        """Ends a training step, or in evaluation mode a held-out batch."""
        if self.training:
            self.step += 1
            self._evaluations = 0
        else:
            self._evaluations += 1

    def get_extra_state(self) -> dict[str, int]:
        """Returns what the state dict keeps.

        Returns:
            The number of training steps.
        """
        return {"step": self.step}

    def set_extra_state(self, state: dict[str, int]) -> None:
        """Goes on from a state dict.

        Args:
            state: Result of `get_extra_state`.
        """
        self.step = state["step"]
