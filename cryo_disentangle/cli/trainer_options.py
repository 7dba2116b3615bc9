"""Options of Lightning's Trainer that it takes unseen and fails of later, or late."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

import torch

__all__ = ["check_trainer", "set_schedule_length"]

_LEAST = {
    "accumulate_grad_batches": 1,
    "check_val_every_n_epoch": 1,
    "gradient_clip_val": 0,
    "log_every_n_steps": 0,
    "min_epochs": 0,
    "min_steps": -1,
    "num_sanity_val_steps": -1,
}
# Variables of torchrun and SLURM.
_STARTED = ("WORLD_SIZE", "SLURM_NTASKS")


def check_trainer(options: Mapping[str, object]) -> None:
    """Refuses numbers that no training can go by.

    Args:
        options: The Trainer's, by name.

    Raises:
        ValueError: If a number is below the least that means something, or not finite, or more
            processes are asked for than there are cores.
    """
    _check_processes(options)
    for name, least in _LEAST.items():
        value = options.get(name)
        if isinstance(value, int | float) and not least <= value < math.inf:
            raise ValueError(f"trainer.{name} must be at least {least}, found {value}")
    interval = options.get("val_check_interval")
    if isinstance(interval, int | float) and not interval > 0:
        raise ValueError(f"trainer.val_check_interval must be above 0, found {interval}")


def set_schedule_length(trainer: Mapping[str, Any], model: Mapping[str, Any]) -> None:
    """Lets a learning-rate schedule of known length, such as OneCycleLR, be as long as training.

    Args:
        trainer: The Trainer's options, by name.
        model: The model's, by name; an ``lr_scheduler`` without ``total_steps`` is given one.

    Raises:
        ValueError: If the schedule ends before training does, which torch says only then, or
            nothing says how long training is.
    """
    scheduler: Any = model.get("lr_scheduler") or {}
    init, interval = scheduler.get("init_args") or {}, model.get("lr_interval")
    if interval is None or not _is_of_total_steps(init):
        return
    counted = "max_steps" if interval == "step" else "max_epochs"
    length, total = trainer.get(counted) or -1, init["total_steps"]
    name = scheduler["class_path"].rpartition(".")[2]
    if total is None and length < 1:
        raise ValueError(
            f"{name} needs the length of training: give trainer.{counted}, or total_steps of "
            "model.lr_scheduler"
        )
    if total is None:
        init["total_steps"] = length
    elif length > total:
        raise ValueError(
            f"trainer.{counted} is {length}, but the schedule of model.lr_scheduler ({name}) ends "
            f"after total_steps {total}: leave total_steps out, and it is as long as training"
        )


def _is_of_total_steps(init: Mapping[str, Any]) -> bool:
    """Whether a schedule's length is its number of steps, not one of epochs by steps of each."""
    return "total_steps" in init and init.get("epochs") is None


def _check_processes(options: Mapping[str, object]) -> None:
    """Refuses more processes than cores, unless a cluster has started them."""
    devices, cores = options.get("devices"), os.cpu_count() or 1
    on_cpu = options.get("accelerator") == "cpu" or not (
        torch.cuda.is_available() or torch.backends.mps.is_available()
    )
    started = options.get("num_nodes") not in (None, 1) or any(map(os.environ.get, _STARTED))
    try:
        count = int(devices)  # type: ignore[call-overload]
    except (TypeError, ValueError):
        return
    if on_cpu and not started and count > cores:
        raise ValueError(
            f"trainer.devices: {count} processes on a CPU, and this machine has {cores} "
            f"core{'s'[: cores > 1]}: give at most as many, or one, which uses all of them"
        )
