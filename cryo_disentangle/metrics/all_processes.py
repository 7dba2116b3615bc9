"""Samples of all processes, also where some of them have none."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics.utilities.distributed import gather_all_tensors

__all__ = ["gather_samples"]

# Every process numbers them alike; floats first, as most states are.
_DTYPES = (
    torch.float32,
    torch.float64,
    torch.bfloat16,
    torch.float16,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.bool,
)
_MOST_AXES = 8


def gather_samples(state: Tensor, group: Any = None) -> list[Tensor]:  # noqa: ANN401
    """Gathers a state of samples from all processes, for torchmetrics' ``dist_sync_fn``.

    A process that has seen no sample holds an empty vector, which torchmetrics' own gathering can't
    lay beside the matrices of others, and hangs or fails. Here it first learns their shape and
    type, and takes part with no rows.

    Args:
        state: Shape (N, ...), N and nothing else different among processes.
        group: Processes to gather from; None for all.

    Returns:
        The state of each process.
    """
    if state.ndim == 0:
        return list(gather_all_tensors(state, group))
    header = torch.zeros(2 + _MOST_AXES, dtype=torch.int64)
    header[0], header[1] = _DTYPES.index(state.dtype), state.ndim
    header[2 : 2 + state.ndim] = torch.tensor(state.shape)
    headers = [h.tolist() for h in gather_all_tensors(header.to(state.device), group)]
    if not len(state):
        dtype, axes, _, *shape = max(headers, key=lambda h: (h[2] > 0, h[1]))
        state = state.new_empty((0, *shape[: axes - 1]), dtype=_DTYPES[dtype])
    return list(gather_all_tensors(state, group))
