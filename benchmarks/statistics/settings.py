"""What is simulated: settings as data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from cryo_disentangle.simulation import (
    AdenylateKinase,
    ContrastTransferFromFile,
    LaplacePairs,
    LinearMixing,
    Microscope,
    ShearMixing,
    Simulation,
    TwoArms,
    UniformFactors,
    ViewsFromFile,
    WhiteNoise,
)
from cryo_disentangle.simulation.draws import Draws
from cryo_disentangle.simulation.processes import ConformationProcess, Conformations
from cryo_disentangle.simulation.temperature import TemperatureNormal
from cryo_disentangle.statistics.nuisance import Nuisance

SETS = Path(__file__).parents[2] / "../shared/data/poses/empiar_poses_ctf.npz"


@dataclass(frozen=True)
class Shifted:
    """Pairs of frames about the middle of the factors' range."""

    inner: LaplacePairs = field(default_factory=lambda: LaplacePairs(2, 0.4, 0.2))
    centre: float = 0.5

    @property
    def dim(self) -> int:
        """Number of factors."""
        return self.inner.dim

    @property
    def frames(self) -> int:
        """Frames of a trajectory."""
        return 2

    def sample(self, draws: Draws) -> Conformations:
        """Draws pairs."""
        found = self.inner.sample(draws)
        return found._replace(factors=found.factors + self.centre)


@dataclass(frozen=True)
class Setting:
    """A simulation, and how statistics are made of it.

    Attributes:
        simulate: Makes the simulation from a seed.
        errors: What consensus refinement leaves wrong in poses and contrast, standard deviations.
        nuisance: What is integrated out.
        refine: Whether poses are refined.
    """

    simulate: Callable[[int], Simulation]
    errors: Nuisance = field(default_factory=Nuisance)
    nuisance: Nuisance = field(default_factory=Nuisance)
    refine: bool = False


def adenylate_kinase(
    snr: float = 0.1,
    *,
    process: ConformationProcess | None = None,
    mixing: LinearMixing | ShearMixing | None = None,
    box_size: int = 64,
    box_angstrom: float = 108.8,
    count: int = 50_000,
    views: str = "10076",
) -> Setting:
    """Two hinges of adenylate kinase, views and CTFs of an EMPIAR set."""
    microscope = Microscope(
        ViewsFromFile(SETS, f"quat_xyzw_{views}"),
        None,
        ContrastTransferFromFile(SETS, f"ctf_{views}"),
        WhiteNoise(snr),
    )
    return Setting(
        lambda seed: Simulation(
            AdenylateKinase(),
            process or Shifted(),
            microscope,
            n_images=count,
            box_size=box_size,
            pixel_size=box_angstrom / box_size,
            mixing=mixing or LinearMixing(2, 45.0, 0.5),
            seed=seed,
        )
    )


def two_arms(snr: float, box_size: int = 24, count: int = 50_000) -> Setting:
    """Large motions: two arms, uniform factors, the setting of losses/known_poses.py."""
    microscope = Microscope(
        ViewsFromFile(SETS, "quat_xyzw_10076"),
        None,
        ContrastTransferFromFile(SETS, "ctf_10076"),
        WhiteNoise(snr),
    )
    return Setting(
        lambda seed: Simulation(
            TwoArms(),
            UniformFactors(2),
            microscope,
            n_images=count,
            box_size=box_size,
            pixel_size=136.0 / box_size,
            seed=seed,
        )
    )


def _temperatures(kelvin: list[float], spread: list[list[float]]) -> TemperatureNormal:
    return TemperatureNormal(kelvin, spread, 0.5)


_ERRORS = Nuisance(shift=1.0, rotation=3.0)
_COARSE = Nuisance(shift=3.0, rotation=8.0)
_ALL = Nuisance(shift=1.0, rotation=3.0, contrast=0.2)
_PAIRS = adenylate_kinase()

SETTINGS: dict[str, Setting] = {
    "pairs": _PAIRS,
    "pairs_small": adenylate_kinase(0.4, count=6000, box_size=32, box_angstrom=112.0),
    "pairs_snr_0.03": adenylate_kinase(0.03),
    "pairs_128": adenylate_kinase(box_size=128),
    "pairs_10180": adenylate_kinase(views="10180"),
    "shear": adenylate_kinase(mixing=ShearMixing(2, 45.0, 1.0, 0.5, 0.5)),
    "temperatures_5": adenylate_kinase(
        process=_temperatures(
            [100.0, 150.0, 200.0, 250.0, 300.0],
            [[0.35, 0.1], [0.35, 0.2], [0.35, 0.3], [0.35, 0.4], [0.35, 0.5]],
        )
    ),
    "temperatures_2": adenylate_kinase(
        process=_temperatures([100.0, 300.0], [[0.35, 0.1], [0.35, 0.5]])
    ),
    "harmonic": adenylate_kinase(process=_temperatures([100.0, 300.0], [[0.2, 0.2], [0.35, 0.35]])),
    "arms_snr_1": two_arms(1.0),
    "arms_snr_0.1": two_arms(0.1),
    "errors_without_care": replace(_PAIRS, errors=_ERRORS),
    "errors_integrated": replace(_PAIRS, errors=_ERRORS, nuisance=_ERRORS),
    "errors_refined": replace(_PAIRS, errors=_ERRORS, nuisance=_ERRORS, refine=True),
    "rotations_refined": replace(
        _PAIRS, errors=Nuisance(rotation=3.0), nuisance=Nuisance(rotation=3.0), refine=True
    ),
    "shifts_refined": replace(
        _PAIRS, errors=Nuisance(shift=1.0), nuisance=Nuisance(shift=1.0), refine=True
    ),
    "contrast_without_care": replace(_PAIRS, errors=Nuisance(contrast=0.2)),
    "contrast_integrated": replace(
        _PAIRS, errors=Nuisance(contrast=0.2), nuisance=Nuisance(contrast=0.2)
    ),
    "all_errors_refined": replace(_PAIRS, errors=_ALL, nuisance=_ALL, refine=True),
    "coarse_refined": replace(_PAIRS, errors=_COARSE, nuisance=_COARSE, refine=True),
}
