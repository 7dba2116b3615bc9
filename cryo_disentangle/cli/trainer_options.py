"""Options of Lightning's Trainer that it takes unseen and fails of later."""

from __future__ import annotations

import math
from collections.abc import Mapping

__all__ = ["check_trainer"]

_LEAST = {
    "accumulate_grad_batches": 1,
    "check_val_every_n_epoch": 1,
    "gradient_clip_val": 0,
    "log_every_n_steps": 0,
    "min_epochs": 0,
    "min_steps": -1,
    "num_sanity_val_steps": -1,
}


def check_trainer(options: Mapping[str, object]) -> None:
    """Refuses numbers that no training can go by.

    Args:
        options: The Trainer's, by name.

    Raises:
        ValueError: If a number is below the least that means something, or not finite.
    """
    for name, least in _LEAST.items():
        value = options.get(name)
        if isinstance(value, int | float) and not least <= value < math.inf:
            raise ValueError(f"trainer.{name} must be at least {least}, found {value}")
    interval = options.get("val_check_interval")
    if isinstance(interval, int | float) and not interval > 0:
        raise ValueError(f"trainer.val_check_interval must be above 0, found {interval}")
