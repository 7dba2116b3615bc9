"""Work shared between processes, each with its own particles."""

from __future__ import annotations

from collections.abc import Iterable

import torch.distributed as dist
from torch import Tensor

__all__ = ["process", "sum_over_processes", "wait_for_all"]


def process() -> tuple[int, int]:
    """Rank of this process, and how many there are."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def sum_over_processes(tensors: Iterable[Tensor]) -> None:
    """Adds tensors of all processes up, in place.

    Args:
        tensors: The same number and shapes in every process.
    """
    if process()[1] > 1:
        for tensor in tensors:
            dist.all_reduce(tensor)


def wait_for_all() -> None:
    """Returns when every process has come here."""
    if process()[1] > 1:
        dist.barrier()
