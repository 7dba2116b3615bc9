"""Frames of molecular dynamics as conformations of particles, and their density."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cryo_disentangle.physics.collective import HINGES
from cryo_disentangle.physics.residues import load_residues
from cryo_disentangle.physics.trajectories import Trajectories, hinges_of, open_trajectories
from cryo_disentangle.simulation.draws import Draws
from cryo_disentangle.simulation.molecule import GaussianMolecule
from cryo_disentangle.simulation.processes import Conformations

__all__ = ["DynamicsFrames", "DynamicsPairs", "DynamicsResidues"]


def _run_of(found: Trajectories, kelvin: float) -> int:
    """Row of a temperature."""
    rows = np.flatnonzero(found.kelvin == kelvin)
    if not len(rows):
        known = ", ".join(f"{value:g}" for value in found.kelvin)
        raise ValueError(f"trajectories have temperatures of {known} K, found {kelvin:g} K")
    return int(rows[0])


def _chosen(file: Path | None, run: Tensor, frame: Tensor) -> tuple[Tensor, Tensor]:
    """Hinge angles and the molecule's coordinates of frames, float64."""
    rows = (run.numpy(), frame.numpy())
    angles = torch.from_numpy(hinges_of(file)[rows]).double()
    return angles, torch.from_numpy(open_trajectories(file).scores[rows]).double()


@dataclass(frozen=True)
class DynamicsFrames:
    """Frames of simulated dynamics at several temperatures, all equally likely.

    Factors are the NMP and the LID angle in degrees, which do not determine the conformation: the
    molecule, `DynamicsResidues`, has all principal components of the frame. The temperature of a
    particle is that of its frame.

    Args:
        kelvin: Temperatures that frames are taken from; none are all that there are.
        file: Trajectories as `write_trajectories` writes them; none are those of the package.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If there is no run at a temperature.
    """

    kelvin: Sequence[float] = ()
    file: Path | None = None

    def __post_init__(self) -> None:
        _ = self._runs

    @cached_property
    def _runs(self) -> Tensor:
        """Rows of the temperatures."""
        found = open_trajectories(self.file)
        return torch.tensor([_run_of(found, t) for t in self.kelvin or found.kelvin.tolist()])

    @property
    def dim(self) -> int:
        """Two hinges."""
        return len(HINGES)

    def sample(self, draws: Draws) -> Conformations:
        """Draws frames: angles (B, 2), temperatures, and coordinates (B, C)."""
        found = open_trajectories(self.file)
        uniform = draws.uniform("frame", 2)
        run = self._runs[_below(uniform[:, 0], len(self._runs))]
        frame = _below(uniform[:, 1], found.scores.shape[1])
        factors, coordinates = _chosen(self.file, run, frame)
        return Conformations(
            factors, temperature=torch.from_numpy(found.kelvin)[run], coordinates=coordinates
        )


@dataclass(frozen=True)
class DynamicsPairs:
    """Pairs of frames of simulated dynamics at one temperature, a lag apart.

    Particles 2i and 2i + 1 are the frames of trajectory i, at times 0 and ``lag_ps``. Factors and
    molecule are those of `DynamicsFrames`.

    Args:
        lag_ps: Time between the frames of a pair, a multiple of the trajectories' interval; at 0
            they are two images of one frame, in which nothing has moved.
        kelvin: Temperature of the run that they are taken from.
        file: Trajectories as `write_trajectories` writes them; none are those of the package.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If there is no run at the temperature, or the lag is no multiple of the interval
            or as long as the run.
    """

    lag_ps: float = 120.0
    kelvin: float = 300.0
    file: Path | None = None

    def __post_init__(self) -> None:
        _run_of(open_trajectories(self.file), self.kelvin)
        _ = self._lag

    @cached_property
    def _lag(self) -> int:
        """The lag in frames."""
        found = open_trajectories(self.file)
        lag = round(self.lag_ps / found.interval_ps)
        if (
            not 0 <= lag < found.scores.shape[1]
            or abs(lag * found.interval_ps - self.lag_ps) > 1e-6
        ):
            raise ValueError(
                f"lag_ps must be a multiple of {found.interval_ps:g} ps and shorter than the run "
                f"of {found.scores.shape[1] * found.interval_ps:g} ps, found {self.lag_ps:g}"
            )
        return lag

    @property
    def dim(self) -> int:
        """Two hinges."""
        return len(HINGES)

    @property
    def frames(self) -> int:
        """Particles of a trajectory."""
        return 2

    def sample(self, draws: Draws) -> Conformations:
        """Draws pairs: angles (B, 2), times, trajectories, and coordinates (B, C)."""
        found = open_trajectories(self.file)
        trajectory = torch.div(draws.index, 2, rounding_mode="floor")
        late = draws.index % 2
        start = Draws(draws.seed, trajectory).uniform("frame", 1)[:, 0]
        frame = _below(start, found.scores.shape[1] - self._lag) + late * self._lag
        run = torch.full_like(frame, _run_of(found, self.kelvin))
        factors, coordinates = _chosen(self.file, run, frame)
        return Conformations(
            factors,
            time=late.double() * self.lag_ps,
            trajectory=trajectory,
            coordinates=coordinates,
        )


def _below(uniform: Tensor, count: int) -> Tensor:
    """Integers below a count."""
    return (uniform * count).long().clamp_max(count - 1)


@dataclass(frozen=True)
class DynamicsResidues(GaussianMolecule):
    """Adenylate kinase as a Gaussian for each residue, moved by the components of trajectories.

    A Gaussian weighs as many electrons as the heavy atoms of its residue have, and is as wide as
    they are spread about the Cα atom and ``sigma_angstrom`` together.

    Args:
        sigma_angstrom: Standard deviation of the Gaussian of one atom in Å.
        file: Trajectories as `write_trajectories` writes them; none are those of the package.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the standard deviation is not positive.
    """

    sigma_angstrom: float = 2.0
    file: Path | None = None

    def __post_init__(self) -> None:
        if not self.sigma_angstrom > 0:
            raise ValueError(f"sigma_angstrom must be positive, found {self.sigma_angstrom}")
        open_trajectories(self.file)

    @property
    def dim(self) -> int:
        """Number of principal components C."""
        return open_trajectories(self.file).scores.shape[2]

    @cached_property
    def weights(self) -> Tensor:
        """Electrons of each residue, shape (214,)."""
        return torch.from_numpy(load_residues().electrons.astype(np.float32))

    @cached_property
    def sigma(self) -> Tensor:
        """Standard deviations in Å, shape (214,)."""
        wide = np.hypot(load_residues().spread, self.sigma_angstrom)
        return torch.from_numpy(wide.astype(np.float32))

    @cached_property
    def _linear(self) -> tuple[Tensor, Tensor]:
        """Mean (R, 3) and axes (C, R, 3)."""
        found = open_trajectories(self.file)
        return torch.from_numpy(found.mean), torch.from_numpy(found.axes)

    def centres(self, conformation: Tensor) -> Tensor:
        """Places the residues.

        Args:
            conformation: Principal components in Å, shape (B, C).

        Returns:
            Model coordinates (x, y, z) in Å, shape (B, 214, 3).
        """
        mean, axes = (part.to(conformation) for part in self._linear)
        return mean + torch.tensordot(conformation, axes, dims=1)
