"""Particles as PyTorch takes them: whole batches at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar, cast

import torch
from torch import Tensor
from torch.utils.data import Dataset

from cryo_disentangle.particles.preprocessing import HartleyPreprocessing, Preprocessing
from cryo_disentangle.particles.stack import ParticleStack
from cryo_disentangle.types import ParticleBatch

__all__ = ["ParticleDataset", "collated"]

_T = TypeVar("_T")


class ParticleDataset(Dataset[ParticleBatch]):
    """Preprocessed particles with poses and CTF.

    A loader asks for a whole batch (`__getitems__`) and gets it collated, so that reading and
    transforms are done once a batch; give the loader ``collate_fn=collated``.

    Args:
        stack: Where images come from.
        preprocessing: What is done to them; cryoDRGN's by default. Fitted here if it is not yet.

    Attributes:
        stack: As given.
        preprocessing: As given, fitted.
    """

    def __init__(self, stack: ParticleStack, preprocessing: Preprocessing | None = None) -> None:
        self.stack = stack
        self.preprocessing = (preprocessing or HartleyPreprocessing()).fit(stack)
        arrays = {"rotation": stack.rotation, "translation": stack.translation, "ctf": stack.ctf}
        self._known = {
            key: torch.from_numpy(rows) for key, rows in arrays.items() if rows is not None
        }

    def __len__(self) -> int:
        """Number of particles."""
        return len(self.stack)

    def __getitem__(self, index: int | list[int]) -> ParticleBatch:
        """One particle, without the batch axis; for a list of indices the batch."""
        if isinstance(index, list):
            return self.__getitems__(index)
        batch = cast("dict[str, Tensor]", self.__getitems__([index]))
        return cast("ParticleBatch", {key: value[0] for key, value in batch.items()})

    def __getitems__(self, indices: Sequence[int]) -> ParticleBatch:
        """Reads a batch.

        Args:
            indices: 0-based rows of the stack, in any order.

        Returns:
            The batch, in that order.

        Raises:
            IndexError: If an index is out of range.
            ValueError: If an image is constant or has a value that is not finite.
        """
        index = torch.as_tensor(indices, dtype=torch.int64)
        batch = {
            "images": self.preprocessing(torch.from_numpy(self.stack.read(index.numpy()))),
            "index": index,
        }
        batch |= {key: rows[index] for key, rows in self._known.items()}
        return cast("ParticleBatch", batch)


def collated(batch: _T) -> _T:
    """Passes on a batch that `ParticleDataset.__getitems__` has collated.

    Args:
        batch: The batch.

    Returns:
        The same.
    """
    return batch
