"""What is simulated: settings as data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from cryo_disentangle.physics.frames import DynamicsFrames, DynamicsPairs, DynamicsResidues
from cryo_disentangle.priors import GeneralizedNormal
from cryo_disentangle.protocols import ConformationPrior
from cryo_disentangle.simulation import (
    AdenylateKinase,
    ConcentratedViews,
    ContrastTransferFromFile,
    LaplacePairs,
    LinearMixing,
    Microscope,
    ShearMixing,
    Simulation,
    TwoArms,
    UniformFactors,
    UniformViews,
    ViewsFromFile,
    WhiteNoise,
)
from cryo_disentangle.simulation.draws import Draws
from cryo_disentangle.simulation.processes import ConformationProcess, Conformations
from cryo_disentangle.simulation.temperature import TemperatureNormal
from cryo_disentangle.simulation.views import Views
from cryo_disentangle.statistics.nuisance import Nuisance

SETS = Path(__file__).parents[2] / "../shared/data/poses/empiar_poses_ctf.npz"


_EMPIAR_VIEWS = ViewsFromFile(SETS, "quat_xyzw_10076")
_EMPIAR_CTF = ContrastTransferFromFile(SETS, "ctf_10076")


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
        largest_rank: Most volumes that are tried.
        rank: Number of volumes; None is by the held-out likelihood.
        degree: Degree of the polynomials in the latents that volumes are fitted to, after learning
            on a subspace once; None stays with that subspace.
        large_motions: Whether the networks are larger than those of configs/statistics.yaml.
        prior: Makes the prior of the conformation; None is the standard normal.
    """

    simulate: Callable[[int], Simulation]
    errors: Nuisance = field(default_factory=Nuisance)
    nuisance: Nuisance = field(default_factory=Nuisance)
    refine: bool = False
    largest_rank: int = 8
    rank: int | None = None
    degree: int | None = None
    large_motions: bool = False
    prior: Callable[[], ConformationPrior] | None = None


def adenylate_kinase(
    snr: float = 0.1,
    *,
    process: ConformationProcess | None = None,
    mixing: LinearMixing | ShearMixing | None = None,
    box_size: int = 64,
    box_angstrom: float = 108.8,
    count: int = 50_000,
    views: str | Views = "10076",
) -> Setting:
    """Two hinges of adenylate kinase, views and CTFs of an EMPIAR set, or other views."""
    named = isinstance(views, str)
    microscope = Microscope(
        ViewsFromFile(SETS, f"quat_xyzw_{views}") if isinstance(views, str) else views,
        None,
        ContrastTransferFromFile(SETS, f"ctf_{views if named else '10076'}"),
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


def dynamics(
    process: ConformationProcess,
    snr: float = 0.1,
    *,
    box_size: int = 64,
    box_angstrom: float = 108.8,
    count: int = 50_000,
) -> Setting:
    """Frames of molecular dynamics, views and CTFs of EMPIAR-10076; factors are hinge angles."""
    microscope = Microscope(_EMPIAR_VIEWS, None, _EMPIAR_CTF, WhiteNoise(snr))
    return Setting(
        lambda seed: Simulation(
            DynamicsResidues(),
            process,
            microscope,
            n_images=count,
            box_size=box_size,
            pixel_size=box_angstrom / box_size,
            seed=seed,
        )
    )


def arms(
    snr: float,
    views: Views,
    *,
    count: int = 2,
    largest_rank: int = 12,
    box_size: int = 24,
    particles: int = 50_000,
) -> Setting:
    """Large motions: arms whose angles are uniform, as in losses/known_poses.py."""
    microscope = Microscope(
        views, None, ContrastTransferFromFile(SETS, "ctf_10076"), WhiteNoise(snr)
    )
    every = TwoArms(lengths=(40.0, 30.0, 35.0, 26.0, 32.0)[:count])
    return Setting(
        lambda seed: Simulation(
            every,
            UniformFactors(count),
            microscope,
            n_images=particles,
            box_size=box_size,
            pixel_size=136.0 / box_size,
            seed=seed,
        ),
        largest_rank=largest_rank,
        large_motions=True,
    )


def _temperatures(kelvin: list[float], spread: list[list[float]]) -> TemperatureNormal:
    return TemperatureNormal(kelvin, spread, 0.5)


def _small_dynamics(process: ConformationProcess) -> Setting:
    """Fewer particles and pixels; SNR 0.4 at 32 pixels is what binning leaves of 0.1 at 64."""
    return dynamics(process, 0.4, box_size=32, box_angstrom=112.0, count=12_000)


_ERRORS = Nuisance(shift=1.0, rotation=3.0)
_COARSE = Nuisance(shift=3.0, rotation=8.0)
_ALL = Nuisance(shift=1.0, rotation=3.0, contrast=0.2)
_PAIRS = adenylate_kinase()
_FIVE_ARMS = arms(0.1, UniformViews(), count=5, largest_rank=20, box_size=40)

SETTINGS: dict[str, Setting] = {
    "pairs": _PAIRS,
    "pairs_small": adenylate_kinase(0.4, count=6000, box_size=32, box_angstrom=112.0),
    "shear_small": adenylate_kinase(
        0.4,
        mixing=ShearMixing(2, 45.0, 1.0, 0.5, 0.5),
        count=6000,
        box_size=32,
        box_angstrom=112.0,
    ),
    "pairs_snr_0.03": adenylate_kinase(0.03),
    "pairs_latents": replace(_PAIRS, degree=3),
    "pairs_snr_0.03_latents": replace(adenylate_kinase(0.03), degree=2),
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
    "dynamics_pairs_0ps": dynamics(DynamicsPairs(0.0)),
    "dynamics_pairs_6ps": dynamics(DynamicsPairs(6.0)),
    "dynamics_pairs_120ps": dynamics(DynamicsPairs(120.0)),
    "dynamics_pairs_1200ps": dynamics(DynamicsPairs(1200.0)),
    "dynamics_temperatures": dynamics(DynamicsFrames()),
    "dynamics_pairs_6ps_small": _small_dynamics(DynamicsPairs(6.0)),
    "dynamics_pairs_120ps_small": _small_dynamics(DynamicsPairs(120.0)),
    "dynamics_pairs_1200ps_small": _small_dynamics(DynamicsPairs(1200.0)),
    "dynamics_temperatures_small": _small_dynamics(DynamicsFrames()),
    "arms_snr_1": replace(arms(1.0, _EMPIAR_VIEWS), rank=16),
    "arms_snr_1_bounded": replace(arms(1.0, _EMPIAR_VIEWS), rank=16, prior=GeneralizedNormal),
    "arms_snr_0.1": arms(0.1, _EMPIAR_VIEWS),
    "arms_snr_0.1_bounded": replace(arms(0.1, _EMPIAR_VIEWS), prior=GeneralizedNormal),
    "arms_snr_0.1_latents": replace(arms(0.1, _EMPIAR_VIEWS), degree=4),
    "five_arms": arms(0.1, UniformViews(), count=5, largest_rank=20),
    "five_arms_40": _FIVE_ARMS,
    "five_arms_40_bounded": replace(_FIVE_ARMS, prior=GeneralizedNormal),
    "five_arms_40_latents": replace(_FIVE_ARMS, prior=GeneralizedNormal, degree=2),
    "pairs_preferred": adenylate_kinase(views=ConcentratedViews(5.0)),
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
