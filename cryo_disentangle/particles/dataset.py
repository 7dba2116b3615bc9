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

__all__ = ["BatchedDataset", "ParticleDataset", "collated"]

_T = TypeVar("_T")


class BatchedDataset(Dataset[ParticleBatch]):
    """Particles that come in whole batches.

    A loader asks for a batch (`__getitems__`) and gets it collated, so that reading and transforms
    are done once a batch; give the loader ``collate_fn=collated``.
    """

    def __getitems__(self, indices: Sequence[int]) -> ParticleBatch:
        """Makes the batch of some indices, in their order."""
        raise NotImplementedError

    def __getitem__(self, index: int | Sequence[int]) -> ParticleBatch:
        """One sample, without the batch axis; for a list of indices the batch."""
        if not isinstance(index, int):
            return self.__getitems__(index)
        batch = cast("dict[str, Tensor]", self.__getitems__([index]))
        return cast("ParticleBatch", {key: value[0] for key, value in batch.items()})


class ParticleDataset(BatchedDataset):
    """Preprocessed particles with poses, CTF and labels.

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
        known = {key: rows for key, rows in arrays.items() if rows is not None}
        known |= stack.ctf_terms.known() | stack.labels.known()
        self._known = {key: torch.from_numpy(rows) for key, rows in known.items()}

    def __len__(self) -> int:
        """Number of particles."""
        return len(self.stack)

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
        return cast("ParticleBatch", batch | self.known(index))

    def known(self, rows: Tensor) -> dict[str, Tensor]:
        """Collects what is known of particles without reading their images.

        Args:
            rows: 0-based rows of the stack, shape (B,), int64.

        Returns:
            Poses, CTF and labels by their keys of `ParticleBatch`, each of shape (B, ...).
        """
        return {key: values[rows] for key, values in self._known.items()}


def collated(batch: _T) -> _T:
    """Passes on a batch that `BatchedDataset.__getitems__` has collated.

    Args:
        batch: The batch.

    Returns:
        The same.
    """
    return batch
