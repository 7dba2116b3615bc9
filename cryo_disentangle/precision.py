"""How exactly a device can compute, and when its numbers may be looked at."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["exact", "exact_dtype", "may_look"]


def exact_dtype(device: torch.device) -> torch.dtype:
    """Gives the widest type of a device.

    Args:
        device: Any.

    Returns:
        float64 on CPUs and CUDA devices; float32 on others, Apple's among them.
    """
    return torch.float64 if device.type in ("cpu", "cuda") else torch.float32


def exact(x: Tensor) -> Tensor:
    """Converts numbers to the widest type of their device.

    Args:
        x: Any shape.

    Returns:
        The same numbers in `exact_dtype`.
    """
    return x.to(exact_dtype(x.device))


def may_look(device: torch.device) -> bool:
    """Returns whether code may branch on values, in checks for instance.

    Args:
        device: Where the numbers lie.

    Returns:
        Whether it is a CPU, and no compiler at work, which stops at such a branch. Reading one
        number of a GPU waits for all that it has yet to do.
    """
    return device.type == "cpu" and not torch.compiler.is_compiling()
