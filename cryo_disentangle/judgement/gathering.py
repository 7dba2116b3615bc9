"""Rows that come batch by batch."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["GatheredRows"]

_PARTS = 32


class GatheredRows:
    """Columns of many particles, on the host, in few tensors.

    A small tensor kept of each batch would lie between the large ones that come and go, and keep
    the allocator from giving their memory back: about 2 kB a particle for images of 32 pixels.
    """

    def __init__(self) -> None:
        self._kept: dict[str, list[Tensor]] = {}
        self._new: dict[str, list[Tensor]] = {}

    def add(self, columns: Mapping[str, Tensor]) -> None:
        """Keeps a batch.

        Args:
            columns: Values by name, each of shape (B, ...); the same names in every batch.
        """
        for name, value in columns.items():
            parts = self._new.setdefault(name, [])
            parts.append(value.detach().cpu())
            if len(parts) == _PARTS:
                self._kept.setdefault(name, []).append(torch.cat(parts))
                parts.clear()

    def columns(self) -> dict[str, Tensor]:
        """Joins all batches.

        Returns:
            Values by name, each of shape (N, ...), in the order of the batches; none of no batch.
        """
        return {
            name: torch.cat([*self._kept.get(name, []), *parts])
            for name, parts in self._new.items()
        }
