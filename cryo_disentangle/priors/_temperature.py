"""Temperatures of particles."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from cryo_disentangle.precision import exact_dtype, may_look
from cryo_disentangle.types import ParticleBatch

__all__ = ["GAS_CONSTANT", "HOTTEST_KELVIN", "check_kelvin", "temperatures"]

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
