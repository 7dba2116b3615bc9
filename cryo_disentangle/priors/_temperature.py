"""Temperatures of particles."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from cryo_disentangle.precision import exact_dtype, may_look
from cryo_disentangle.types import ParticleBatch

__all__ = ["GAS_CONSTANT", "HOTTEST_KELVIN", "check_kelvin", "temperature_levels", "temperatures"]

# kJ / (mol K), exact in the SI of 2019.
GAS_CONSTANT = 8.31446261815324e-3
COLDEST_KELVIN = 1.0
HOTTEST_KELVIN = 1000.0


def check_kelvin(values: Iterable[float]) -> None:
    """Refuses what can't be the temperature of a specimen in kelvin.

    Args:
        values: Temperatures.

    Raises:
        ValueError: If one is below 1 K or above 1,000 K.
    """
    for value in values:
        if not COLDEST_KELVIN <= value <= HOTTEST_KELVIN:
            raise ValueError(
                f"temperatures must be in kelvin, from 1 K to 1,000 K, found {value:g}"
            )


def temperature_levels(temperature: Tensor, fewest: int) -> tuple[Tensor, Tensor]:
    """Sorts particles by temperature.

    Args:
        temperature: In kelvin, shape (N,), of a few levels.
        fewest: Particles that each level must have.

    Returns:
        The temperatures, shape (T,), and the level of each particle, shape (N,), int64.

    Raises:
        ValueError: If there are less than two levels, one can't be in kelvin, or one has too few
            particles.
    """
    # Single-precision stamps of one temperature may differ in the last digit.
    kelvin, level = (temperature.double() * 100).round().div(100).unique(return_inverse=True)
    check_kelvin(kelvin.tolist())
    if len(kelvin) < 2:
        raise ValueError(f"at least two temperatures are needed, found {kelvin.tolist()}")
    for value, count in zip(kelvin.tolist(), torch.bincount(level).tolist(), strict=True):
        if count < fewest:
            raise ValueError(
                f"at least {fewest} particles are needed at each temperature, found {count} at "
                f"{value:g} K"
            )
    return kelvin, level


def temperatures(batch: ParticleBatch, prior: nn.Module) -> Tensor:
    """Takes the temperatures of a batch.

    Args:
        batch: Particles or pairs.
        prior: Named in the message.

    Returns:
        Temperatures in kelvin, `exact_dtype`, of the batch's leading shape.

    Raises:
        ValueError: If there are none, or, on a CPU, they can't be in kelvin.
    """
    if "temperature" not in batch:
        raise ValueError(
            f"{type(prior).__name__} needs the temperature of each particle in kelvin, but the "
            "batch has no temperature"
        )
    kelvin = batch["temperature"]
    kelvin = kelvin.to(exact_dtype(kelvin.device))
    # Those of a data set were checked when they were read.
    if may_look(kelvin.device):
        check_kelvin(kelvin.unique().tolist())
    return kelvin
