"""Randomness of a penalty: a function of its seed, the process and the step alone."""

from __future__ import annotations

import zlib

import numpy as np
import torch
from torch import nn

__all__ = ["StepDraws"]

# SeedSequence pads short keys with zeros, so keys of other parts of a run could coincide with ours.
_TRAINING, _EVALUATION = (zlib.crc32(name) for name in (b"penalty, training", b"penalty, held out"))


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
        seed = int(key.generate_state(1, np.uint64)[0] >> np.uint64(1))
        return torch.Generator(device).manual_seed(seed)

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
