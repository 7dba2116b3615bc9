"""A two-basin Gō model of adenylate kinase: energies made of the two structures themselves."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from cryo_disentangle.physics.residues import CORE, LID, NMP, load_residues

if TYPE_CHECKING:
    import openmm

__all__ = ["Contacts", "Recorded", "TwoBasinModel"]

Array = npt.NDArray[np.floating]
_ANGSTROM = 0.1  # in nm, OpenMM's unit of length
_MASS = 100.0  # dalton
_BOND, _ANGLE = 1e4, 40.0  # kJ/mol/nm² and kJ/mol/rad²
_REPULSION_RANGE = 5.0
_FEWEST_BETWEEN = 3
_SETTLING_STEPS = 5000


class Contacts(NamedTuple):
    """Pairs of residues that attract each other.

    Attributes:
        pairs: Residues i < j, from 0, shape (C, 2).
        open: Distance in the open structure in Å, shape (C,).
        closed: In the closed one, shape (C,).
        open_depth: Depth of the well at the open distance in kJ/mol, shape (C,).
        closed_depth: At the closed distance, shape (C,).
        rigid: Whether the pair has one narrow well, at the mean distance, shape (C,).
    """

    pairs: npt.NDArray[np.int64]
    open: Array
    closed: Array
    open_depth: Array
    closed_depth: Array
    rigid: npt.NDArray[np.bool_]


class Recorded(NamedTuple):
    """Frames of a run at equal intervals.

    Attributes:
        positions: Cα atoms in Å, shape (N, 214, 3), float32.
        potential: Potential energy in kJ/mol, shape (N,).
        time: In ps from the first frame, shape (N,).
    """

    positions: npt.NDArray[np.float32]
    potential: Array
    time: Array


def _openmm() -> ModuleType:
    """OpenMM, which only those need who make trajectories."""
    try:
        import openmm
    except ImportError as error:
        raise ImportError(
            "OpenMM is needed to make trajectories (not to use those shipped): "
            "pip install 'cryo-disentangle[physics]'"
        ) from error
    module: ModuleType = openmm
    return module


@dataclass(frozen=True)
class TwoBasinModel:
    """Adenylate kinase whose NMP and LID each open and close.

    A bead for each residue at its Cα atom. Bonds and angles are harmonic. Pairs nearer than
    ``range_angstrom`` in one of the structures are contacts: where the two structures differ by
    ``rigid_angstrom`` at most they have one 12-10 well at the mean distance, else a Gaussian well
    at each structure's distance. Of contacts between two domains that only the closed structure
    has, each pair of domains has its own depths, which decide how often each domain is closed and
    how fast it moves. Solvent is implicit, there is no ligand, and time is that of the friction.

    Args:
        rigid_depth: Depth of wells within domains in kJ/mol.
        nmp_depths: Of contacts between NMP and CORE that only the closed structure has: at the open
            and at the closed distance.
        lid_depths: The same of LID and CORE.
        between_depths: The same of NMP and LID.
        width_angstrom: Standard deviation of Gaussian wells.
        range_angstrom: Largest distance of a contact.
        closed_range_angstrom: The same between domains, of contacts that move.
        rigid_angstrom: Largest change of a contact with one well.

    Raises:
        ValueError: If a width or a range is not positive, or a depth is negative.

    References:
        Whitford, Miyashita, Levy and Onuchic 2007, J. Mol. Biol. 366:1661; Clementi, Nymeyer and
        Onuchic 2000, J. Mol. Biol. 298:937 (12-10 wells).
    """

    rigid_depth: float = 3.0
    nmp_depths: tuple[float, float] = (1.5, 2.2)
    lid_depths: tuple[float, float] = (0.6, 1.1)
    between_depths: tuple[float, float] = (0.6, 1.0)
    width_angstrom: float = 1.0
    range_angstrom: float = 10.0
    closed_range_angstrom: float = 8.0
    rigid_angstrom: float = 0.5

    def __post_init__(self) -> None:
        ranges = (self.width_angstrom, self.range_angstrom, self.closed_range_angstrom)
        if not min(*ranges, self.rigid_angstrom) > 0:
            raise ValueError(
                "width_angstrom, range_angstrom, closed_range_angstrom and rigid_angstrom must be "
                f"positive, found {', '.join(f'{v:g}' for v in (*ranges, self.rigid_angstrom))}"
            )
        depths = (self.rigid_depth, *self.nmp_depths, *self.lid_depths, *self.between_depths)
        if min(depths) < 0:
            raise ValueError(f"depths must not be negative, found {min(depths):g}")

    @cached_property
    def contacts(self) -> Contacts:
        """The contacts of both structures."""
        residues = load_residues()
        first, second = np.triu_indices(len(residues.domain), _FEWEST_BETWEEN)
        near, far = (_distances(x)[first, second] for x in (residues.open, residues.closed))
        domains = np.sort(residues.domain[np.stack([first, second])], axis=0)
        inside = domains[0] == domains[1]
        rigid = np.abs(near - far) <= self.rigid_angstrom
        everywhere = inside | rigid
        reach = np.where(everywhere, self.range_angstrom, self.closed_range_angstrom)
        depths = np.full((2, len(first)), self.rigid_depth)
        for pair, own in (
            ((CORE, NMP), self.nmp_depths),
            ((CORE, LID), self.lid_depths),
            ((NMP, LID), self.between_depths),
        ):
            of_pair = (domains[0] == pair[0]) & (domains[1] == pair[1]) & ~rigid
            opening = of_pair & (near < self.closed_range_angstrom)
            depths[:, of_pair & ~opening] = np.array(own)[:, None]
            # What holds the open state alone is as deep as what holds the closed one alone.
            only_open = opening & (far >= self.closed_range_angstrom)
            depths[:, only_open] = np.array([own[1], 0.0])[:, None]
        kept = np.minimum(near, far) < reach
        return Contacts(
            np.stack([first, second], axis=1)[kept],
            near[kept],
            far[kept],
            depths[0, kept],
            depths[1, kept],
            rigid[kept],
        )

    def system(self) -> openmm.System:
        """Builds the model for OpenMM.

        Returns:
            The system, lengths in nm, energies in kJ/mol.

        Raises:
            ImportError: If OpenMM is not installed.
        """
        mm = _openmm()
        system: openmm.System = mm.System()
        residues, contacts = load_residues(), self.contacts
        for _ in residues.domain:
            system.addParticle(_MASS)
        for force in (
            *_chain(mm, residues.open),
            *_attraction(mm, contacts, self.width_angstrom),
            _repulsion(mm, contacts),
        ):
            system.addForce(force)
        return system

    def run(
        self,
        temperature_kelvin: float,
        frames: int,
        steps_per_frame: int = 250,
        *,
        seed: int = 0,
        step_fs: float = 40.0,
        friction_per_ps: float = 0.5,
    ) -> Recorded:
        """Runs Langevin dynamics from the open structure.

        Args:
            temperature_kelvin: Temperature in kelvin.
            frames: Number of frames that are recorded.
            steps_per_frame: Steps between frames.
            seed: Of velocities and random forces.
            step_fs: Length of a step.
            friction_per_ps: Friction; it sets what a ps of the model is worth.

        Returns:
            The frames, after 5,000 steps that are not recorded.

        Raises:
            ImportError: If OpenMM is not installed.
            ValueError: If a number is not positive.
        """
        numbers = (temperature_kelvin, frames, steps_per_frame, step_fs, friction_per_ps)
        if min(numbers) <= 0:
            raise ValueError(
                "temperature_kelvin, frames, steps_per_frame, step_fs and friction_per_ps must be "
                f"positive, found {', '.join(f'{number:g}' for number in numbers)}"
            )
        mm = _openmm()
        integrator = mm.LangevinMiddleIntegrator(
            temperature_kelvin, friction_per_ps, step_fs / 1000
        )
        # OpenMM takes 0 for a seed of its own choice.
        integrator.setRandomNumberSeed(seed + 1)
        # As measured, the reference platform is the fastest for as few beads.
        context = mm.Context(self.system(), integrator, mm.Platform.getPlatformByName("Reference"))
        context.setPositions(load_residues().open * _ANGSTROM)
        context.setVelocitiesToTemperature(temperature_kelvin, seed + 1)
        integrator.step(_SETTLING_STEPS)
        positions = np.empty((frames, len(load_residues().domain), 3), np.float32)
        potential = np.empty(frames)
        for frame in range(frames):
            integrator.step(steps_per_frame)
            state = context.getState(getPositions=True, getEnergy=True)
            positions[frame] = state.getPositions(asNumpy=True)._value / _ANGSTROM
            potential[frame] = state.getPotentialEnergy()._value
        time = np.arange(frames) * (steps_per_frame * step_fs / 1000)
        return Recorded(positions, potential, time)


def _distances(positions: Array) -> Array:
    """Between all residues, (R, R)."""
    found: Array = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    return found


def _chain(mm: ModuleType, positions: Array) -> tuple[openmm.Force, openmm.Force]:
    """Bonds along the chain, and the angles between them."""
    bonds, angles = mm.HarmonicBondForce(), mm.HarmonicAngleForce()
    steps = np.diff(positions, axis=0)
    lengths = np.linalg.norm(steps, axis=1)
    cosine = -(steps[:-1] * steps[1:]).sum(1) / (lengths[:-1] * lengths[1:])
    for i, length in enumerate(lengths.tolist()):
        bonds.addBond(i, i + 1, length * _ANGSTROM, _BOND)
    for i, angle in enumerate(np.arccos(cosine).tolist()):
        angles.addAngle(i, i + 1, i + 2, angle, _ANGLE)
    return bonds, angles


def _attraction(
    mm: ModuleType, contacts: Contacts, width_angstrom: float
) -> tuple[openmm.Force, openmm.Force]:
    """Contacts with one well, and those with two."""
    one = mm.CustomBondForce("depth * (5 * (r0 / r)^12 - 6 * (r0 / r)^10)")
    for name in ("depth", "r0"):
        one.addPerBondParameter(name)
    width = width_angstrom * _ANGSTROM
    two = mm.CustomBondForce(
        f"-p * exp(-((r - a) / {width})^2 / 2) - q * exp(-((r - b) / {width})^2 / 2)"
    )
    for name in "paqb":
        two.addPerBondParameter(name)
    for (i, j), *distances, p, q, rigid in zip(*(a.tolist() for a in contacts), strict=True):
        a, b = (distance * _ANGSTROM for distance in distances)
        if rigid:
            one.addBond(i, j, [p, (a + b) / 2])
        else:
            two.addBond(i, j, [p, a, q, b])
    return one, two


def _repulsion(mm: ModuleType, contacts: Contacts) -> openmm.Force:
    """Keeps domains apart where they come near each other without a contact."""
    residues = load_residues()
    force = mm.CustomBondForce(f"({_REPULSION_RANGE * _ANGSTROM} / r)^12")
    first, second = np.triu_indices(len(residues.domain), _FEWEST_BETWEEN)
    nearest = np.minimum(*(_distances(x)[first, second] for x in (residues.open, residues.closed)))
    attracted = {tuple(pair) for pair in contacts.pairs.tolist()}
    apart = (residues.domain[first] != residues.domain[second]) & (nearest < 2 * _REPULSION_RANGE)
    for i, j in zip(first[apart].tolist(), second[apart].tolist(), strict=True):
        if (i, j) not in attracted:
            force.addBond(i, j, [])
    return force
