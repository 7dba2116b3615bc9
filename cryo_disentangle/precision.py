"""How exactly a device can compute, and when its numbers may be looked at."""

from __future__ import annotations

import os

import torch
from torch import Tensor

__all__ = ["chosen_device", "exact", "exact_dtype", "may_look"]


def chosen_device(name: str) -> torch.device:
    """Finds the device of an option ``--device``.

    Args:
        name: ``cpu``, ``cuda``, ``cuda:1`` and so on, or ``auto``, which is a GPU if there is one;
            processes of torchrun take one each.

    Returns:
        A device of this machine.

    Raises:
        ValueError: If it has no such device.
    """
    if name == "auto":
        if not torch.cuda.is_available():
            return torch.device("cpu")
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        found = torch.cuda.device_count()
        there = f"cuda:0 to cuda:{found - 1}" if found else "no CUDA device"
        raise ValueError(
            f"--device: cpu, cuda or auto expected, found {name!r}; this machine has {there}"
        ) from error
    return device


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
