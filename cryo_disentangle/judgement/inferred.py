"""What is inferred, and known, of particles."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cryo_disentangle.adapters import AdaptedModel
from cryo_disentangle.types import ParticleBatch

__all__ = ["InferredRows", "infer_rows"]


class InferredRows(NamedTuple):
    """What is inferred, and known, of N particles.

    Attributes:
        rows: Which particles of the stack, shape (N,).
        mean: Posterior means, shape (N, Z).
        log_variance: Logarithm of the posteriors' variances, shape (N, Z).
        rotation: Known rotations, else inferred ones, shape (N, 3, 3); None where there are none.
        factors: True factors that came with the batches, shape (N, F), or None.
    """

    rows: npt.NDArray[np.int64]
    mean: npt.NDArray[np.float32]
    log_variance: npt.NDArray[np.float32]
    rotation: npt.NDArray[np.float32] | None
    factors: npt.NDArray[np.float32] | None


def infer_rows(model: AdaptedModel, batches: Iterable[ParticleBatch]) -> InferredRows:
    """Infers the conformations of particles.

    Args:
        model: The model.
        batches: Single particles.

    Returns:
        One row a particle, in the order of the batches.

    Raises:
        ValueError: If there are no particles.
    """
    parts: dict[str, list[Tensor]] = {}
    for batch in batches:
        found = model.infer(batch)
        rotation = batch.get("rotation")
        if rotation is None and found.pose is not None:
            rotation = found.pose.rotation
        row = {
            "mean": found.mean,
            "log_variance": found.log_variance,
            "rotation": rotation,
            "factors": batch.get("factors"),
        }
        parts.setdefault("rows", []).append(batch["index"].cpu())
        for name, value in row.items():
            if value is not None:
                # NumPy has no bfloat16.
                parts.setdefault(name, []).append(value.float().cpu())
    if not parts:
        raise ValueError("there are no particles to look at")
    rows: dict[str, Any] = {name: torch.cat(values).numpy() for name, values in parts.items()}
    return InferredRows(**({"rotation": None, "factors": None} | rows))
