"""Where simulated particles come from, and the molecule behind them."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from cryo_disentangle.particles import ParticleStack
from cryo_disentangle.particles.dataset import BatchedDataset, ParticleDataset
from cryo_disentangle.particles.preprocessing import Preprocessing
from cryo_disentangle.simulation import (
    SimulatedDataset,
    SimulatedParticles,
    Simulation,
    load_molecule,
)
from cryo_disentangle.simulation.mixing import Mixing
from cryo_disentangle.simulation.molecule import Molecule

__all__ = ["SimulatedFolder", "SimulatedSource", "SimulatedStream"]

# Streams 0 to 3 of a simulation's seed are its stack, calibration, training and validation.
_STREAM = 4
_FILES = ("particles.mrcs", "poses.pkl", "truth.npz")


class SimulatedSource(Protocol):
    """Simulated particles and the molecule behind them.

    Attributes:
        name: What to call them in messages.
        box_size: Image side in pixels.
        pixel_size: Å per pixel.
    """

    name: str
    box_size: int
    pixel_size: float

    def rows(self, count: int) -> npt.NDArray[np.int64]:
        """Chooses particles.

        Args:
            count: How many are wanted.

        Returns:
            Their rows, shape (N,); all there are where these are fewer.
        """
        ...

    def fit(self, preprocessing: Preprocessing) -> Preprocessing:
        """Measures the normalisation on these particles, unless it is given.

        Args:
            preprocessing: What is done to images.

        Returns:
            The same with a normalisation.
        """
        ...

    def dataset(self, preprocessing: Preprocessing) -> BatchedDataset:
        """The particles.

        Args:
            preprocessing: What is done to images; fitted.

        Returns:
            The particles, read in batches.
        """
        ...

    def molecule(self) -> tuple[Molecule, Mixing | None]:
        """The density as a function of the mixed factors, and their mixing."""
        ...


class SimulatedFolder:
    """A simulated stack on disk.

    Args:
        folder: What ``cryo-disentangle simulate`` has written.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If true factors are missing.
    """

    @staticmethod
    def lies_in(folder: Path) -> bool:
        """Whether a folder has all that can be asked of a simulated stack, its molecule included.

        Args:
            folder: The folder.

        Returns:
            True where no file is missing.
        """
        return all((folder / name).is_file() for name in (*_FILES, "molecule.yaml"))

    def __init__(self, folder: Path) -> None:
        self.name = str(folder)
        files = {key: folder / key for key in _FILES}
        for path in files.values():
            if not path.is_file():
                raise FileNotFoundError(
                    f"{path}: no such file; held_out must be a folder that "
                    "`cryo-disentangle simulate` has written"
                )
        ctf = folder / "ctf.pkl"
        self.stack = ParticleStack.open(
            files["particles.mrcs"],
            poses=files["poses.pkl"],
            ctf=ctf if ctf.is_file() else None,
            labels=files["truth.npz"],
        )
        if "factors" not in self.stack.labels.known():
            raise ValueError(f"{files['truth.npz']}: an array named factors expected, found none")
        self.box_size, self.pixel_size = self.stack.box_size, self.stack.pixel_size

    def rows(self, count: int) -> npt.NDArray[np.int64]:
        """Particles evenly spread over the stack."""
        total = len(self.stack)
        count = min(count, total)
        return np.arange(count, dtype=np.int64) * total // count

    def fit(self, preprocessing: Preprocessing) -> Preprocessing:
        """Measures on the stack."""
        return preprocessing.fit(self.stack)

    def dataset(self, preprocessing: Preprocessing) -> ParticleDataset:
        """The stack."""
        return ParticleDataset(self.stack, preprocessing)

    def molecule(self) -> tuple[Molecule, Mixing | None]:
        """Returns the molecule that molecule.yaml describes."""
        return load_molecule(Path(self.name))


class SimulatedStream:
    """Particles of a simulation that are used for nothing else.

    Args:
        simulation: The simulation.
    """

    def __init__(self, simulation: Simulation) -> None:
        self.name = "the simulation"
        self.simulation = simulation
        self.box_size, self.pixel_size = simulation.box_size, simulation.pixel_size

    def rows(self, count: int) -> npt.NDArray[np.int64]:
        """The first particles; there is no last one."""
        return np.arange(count, dtype=np.int64)

    def fit(self, preprocessing: Preprocessing) -> Preprocessing:
        """Measures on particles of the calibration."""
        return SimulatedParticles(self.simulation, preprocessing).preprocessing

    def dataset(self, preprocessing: Preprocessing) -> SimulatedDataset:
        """The stream."""
        return SimulatedDataset(self.simulation, preprocessing, _STREAM)

    def molecule(self) -> tuple[Molecule, Mixing | None]:
        """The simulation's own."""
        return self.simulation.molecule, self.simulation.mixing
