"""Means over held-out particles, for which the host does not wait while batches come."""

from __future__ import annotations

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torchmetrics import Metric

__all__ = ["ParticleMean"]


class ParticleMean(Metric):
    """A mean over the particles of batches that differ in size.

    Batches whose value is NaN are left out, and their number is given in a warning when the mean is
    asked for. That of torchmetrics looks for them at each batch, and waits for the device.
    """

    is_differentiable = False
    full_state_update = False
    total: Tensor
    weight: Tensor
    left_out: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("total", "weight", "left_out"):
            self.add_state(name, default=torch.tensor(0.0), dist_reduce_fx="sum")

    def update(self, value: Tensor, count: int) -> None:
        """Adds a batch.

        Args:
            value: Mean over its particles, a scalar.
            count: Number of its particles.
        """
        bad = value.isnan()
        self.total += torch.where(bad, 0.0, value * count)
        self.weight += (~bad).float() * count
        self.left_out += bad.float()

    def compute(self) -> Tensor:
        """Evaluates the mean.

        Returns:
            A scalar; NaN where no batch had a number.
        """
        number = int(self.left_out)
        if number:
            rank_zero_warn(f"{number} held-out batches have a loss that is NaN and are left out")
        return self.total / self.weight
