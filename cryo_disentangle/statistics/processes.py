"""Work shared between processes, each with its own particles."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch.distributed as dist
from torch import Tensor

__all__ = ["joined_processes", "of_the_first", "process", "sum_over_processes", "wait_for_all"]

_Value = TypeVar("_Value")


@contextmanager
def joined_processes() -> Iterator[None]:
    """Joins the processes that torchrun has started, if it has, and leaves them at the end.

    Yields:
        Nothing; `process` tells which one this is.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or dist.is_initialized():
        yield
        return
    dist.init_process_group("gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def process() -> tuple[int, int]:
    """Rank of this process, and how many there are."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def of_the_first(value: _Value) -> _Value:
    """Takes a value of the first process.

    Args:
        value: That of this one.

    Returns:
        That of the first.
    """
    if process()[1] == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values)
    return values[0]


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
