"""Mixed factors at several temperatures, known in-plane poses: does the prior find the factors?

    python benchmarks/losses/temperature.py --scratch runs/losses [--seeds 5] [--setting 5 2]

Two arms whose hinge angles are the factors turned by 45 degrees, 10,000 images of 32 pixels, SNR
10, at five temperatures from 100 to 300 K or at these two alone. One factor's spread grows fivefold
with the temperature, the other's stays (a frozen factor). ``harmonic`` is the control: both grow as
the square root of the temperature, five levels, which identifies nothing. The weight of the
divergence grows as in slowness.py. Column ``told apart`` is what the check of identifiability says
of the trained latents alone, 1 or 0, and ``separation`` its measure. A minute and a half a
training on one core. Rows go to results/temperature_*.csv; those that are there are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from harness import HeldOut, Method, arguments, run, two_arms_in_plane
from slowness import WEIGHTS, make

from cryo_disentangle.modules import HeterogeneousReconstruction
from cryo_disentangle.priors import (
    ArrheniusLaw,
    Boltzmann,
    LevelTable,
    StandardNormal,
    TemperatureNormal,
    temperature_identifiability,
)
from cryo_disentangle.protocols import ConformationPrior
from cryo_disentangle.simulation import LinearMixing, Simulation
from cryo_disentangle.simulation import TemperatureNormal as NormalAtTemperatures

_STEPS = 4000
_LEVELS = {"5": (100.0, 150.0, 200.0, 250.0, 300.0), "2": (100.0, 300.0)}

_COMPARED = {
    "5": ("table", "Arrhenius", "Boltzmann", "vanilla"),
    "2": ("table", "Arrhenius", "Boltzmann"),
    "harmonic": ("table",),
}


def _levels(setting: str) -> tuple[float, ...]:
    return _LEVELS["2" if setting == "2" else "5"]


def _priors(levels: tuple[float, ...]) -> dict[str, Callable[[], ConformationPrior]]:
    low, high = levels[0], levels[-1]
    return {
        "table": lambda: TemperatureNormal(LevelTable(2, levels)),
        "Arrhenius": lambda: TemperatureNormal(ArrheniusLaw(2, low, high)),
        "Boltzmann": lambda: Boltzmann(2),
        "vanilla": StandardNormal,
    }


def told_apart(model: HeterogeneousReconstruction, held_out: HeldOut) -> dict[str, float]:
    """What the check of identifiability says of the latents."""
    kelvin = held_out.batches["own"]["temperature"]
    found = temperature_identifiability(held_out.infer(model, "own")[0], kelvin)
    return {"told apart": float(found.distinct[0, 1]), "separation": float(found.separation[0, 1])}


def simulation(setting: str, *, snr: float = 10.0, box_size: int = 32) -> Simulation:
    """What is looked at in a setting."""
    levels = _levels(setting)
    if setting == "harmonic":
        scales = [[0.5 * (kelvin / 300) ** 0.5] * 2 for kelvin in levels]
    else:
        scales = [[0.1 + 0.4 * (kelvin - 100) / 200, 0.3] for kelvin in levels]
    process = NormalAtTemperatures(levels, scales)
    return two_arms_in_plane(process, snr, LinearMixing(2, 45.0), box_size=box_size)


def methods(
    setting: str, names: Sequence[str], weights: tuple[float, float] = WEIGHTS
) -> list[Method]:
    """Trainings with priors of these names and the divergence's first and last weight."""
    priors = _priors(_levels(setting))
    made = partial(make, steps=_STEPS, weights=weights)
    return [Method(name, partial(made, prior=priors[name]), _STEPS) for name in names]


def main() -> None:
    """Trains and prints the tables."""
    options = arguments(__doc__, settings=("5", "2", "harmonic"))
    for setting in options.setting:
        run(
            f"temperature_{setting}",
            simulation(setting),
            methods(setting, _COMPARED[setting]),
            options,
            diagnose=told_apart,
        )


if __name__ == "__main__":
    main()
