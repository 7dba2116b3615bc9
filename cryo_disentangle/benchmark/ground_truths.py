"""Ground truth of public benchmarks, read from the files that their users download."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cryo_disentangle.files.arrays import map_array
from cryo_disentangle.files.checkpoints import map_tensor
from cryo_disentangle.files.maps import read_volume
from cryo_disentangle.files.text import read_text
from cryo_disentangle.imaging.fsc import fourier_shell_correlation
from cryo_disentangle.metrics.functional.populations import earth_movers_distance, fsc_area
from cryo_disentangle.particles.pickles import read_indices

__all__ = ["GroundTruth", "read_cryobench", "read_flatiron"]

_POPULATIONS = "populations"


@dataclass(frozen=True)
class GroundTruth:
    """States of a benchmark's particles.

    Attributes:
        volume: Reads the volume of a state, shape (D, D, D), by its number from 0 on.
        populations: Weight of each of V states, shape (V,), sum 1.
        state: State of each particle, shape (N,); None where it is not known.
    """

    volume: Callable[[int], Tensor]
    populations: npt.NDArray[np.float64]
    state: npt.NDArray[np.int64] | None = None

    def per_image_fsc(
        self, found: Callable[[int], Tensor], rows: Sequence[int], mask: Tensor | None = None
    ) -> float:
        """Scores the volumes that a method has for single particles, as CryoBench does.

        Args:
            found: Makes the volume of a particle by its row, shape (D, D, D), in the frame of the
                true ones.
            rows: Particles, of which CryoBench takes 100 evenly spread.
            mask: Multiplies all volumes, shape (D, D, D); None is no mask.

        Returns:
            Mean of `fsc_area`, at most 0.5.

        Raises:
            ValueError: If the particles' states are not known, there are no rows, or volumes are of
                another box.
        """
        if self.state is None or not len(rows):
            raise ValueError("per-image FSC needs particles whose states are known, found none")
        areas = [fsc_area(found(row), self.volume(int(self.state[row])), mask) for row in rows]
        return sum(areas) / len(areas)

    def populations_distance(self, volumes: Sequence[Tensor], weights: Sequence[float]) -> float:
        """Scores states and their populations, as the Flatiron challenge does with Fourier shells.

        Args:
            volumes: A method's states, each of shape (D, D, D), in the frame of the true ones.
            weights: Their populations.

        Returns:
            Earth mover's distance, the cost being one less the mean Fourier shell correlation of
            shells 1 to D / 2: 0 is best. The challenge ranks costs first.

        Raises:
            ValueError: If numbers of volumes and weights differ, or boxes do.
        """
        cost = torch.empty(len(self.populations), len(volumes), dtype=torch.float64)
        for state in range(len(cost)):
            true = self.volume(state)
            for number, each in enumerate(volumes):
                cost[state, number] = 1 - fourier_shell_correlation(true, each)[1:].mean()
        return earth_movers_distance(self.populations, np.asarray(weights), cost)


def read_cryobench(
    folder: str | Path, volumes: str = "vols/128_org", labels: str = "gt_latents.pkl"
) -> GroundTruth:
    """Reads the ground truth of a data set of CryoBench, such as IgG-1D.

    Args:
        folder: What the data set's archive unpacks to.
        volumes: Folder of the true maps in it, ``*.mrc``, in the order of the numbers in their
            names.
        labels: Pickle with the state of each particle, counted from 0.

    Returns:
        The truth; populations are the shares of the particles.

    Raises:
        FileNotFoundError: If labels are missing or there are no maps.
        ValueError: If a particle has a state that there is no map of.

    References:
        Jeon et al., CryoBench, NeurIPS 2024; Zenodo 11629428 and 12528292.
    """
    place, path = Path(folder) / volumes, Path(folder) / labels
    maps = sorted(place.glob("*.mrc"), key=_by_numbers)
    if not maps:
        raise FileNotFoundError(f"{place}: true maps (*.mrc) expected, found none")
    state = read_indices(path)
    wrong = np.flatnonzero((state < 0) | (state >= len(maps)))
    if wrong.size:
        raise ValueError(
            f"{path}, row {wrong[0] + 1}: state {state[wrong[0]]}, and {place} has maps of states "
            f"0 to {len(maps) - 1}"
        )
    shares = np.bincount(state, minlength=len(maps)) / len(state)
    return GroundTruth(lambda number: torch.from_numpy(read_volume(maps[number])[0]), shares, state)


def read_flatiron(
    folder: str | Path, volumes: str = "maps_gt_flat.pt", metadata: str = "metadata.csv"
) -> GroundTruth:
    """Reads the ground truth of the Flatiron Institute's heterogeneity challenge.

    Args:
        folder: With both files.
        volumes: True maps as one array (V, D³) or (V, D, D, D), saved by torch (``.pt``) or NumPy
            (``.npy``); it is mapped, and read state by state.
        metadata: Table with a column ``populations``, a row for each state.

    Returns:
        The truth; which particle is in which state is not published with it.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If the table has no populations, numbers of states differ, or maps are no cubes.

    References:
        Astore et al. 2025, The inaugural Flatiron Institute cryo-EM conformational heterogeneity
        challenge; OSF 8h6fz.
    """
    populations = _populations(Path(folder) / metadata)
    path = Path(folder) / volumes
    reader: Callable[[Path, str], Tensor | npt.NDArray[np.generic]] = (
        map_array if path.suffix == ".npy" else map_tensor
    )
    maps = reader(path, "true maps")
    size = int(np.prod(maps.shape[1:]))
    side = round(size ** (1 / 3))
    if len(maps) != len(populations) or side**3 != size:
        raise ValueError(
            f"{path}: {len(populations)} cubes expected, as {metadata} has rows, found shape "
            f"{tuple(maps.shape)}"
        )

    def volume(number: int) -> Tensor:
        found = maps[number]
        tensor = found if isinstance(found, Tensor) else torch.from_numpy(np.array(found))
        return tensor.float().reshape(side, side, side)

    return GroundTruth(volume, populations)


def _populations(path: Path) -> npt.NDArray[np.float64]:
    """Column of populations, divided by its sum."""
    rows = list(csv.DictReader(read_text(path, "a table of states").splitlines()))
    if not rows or rows[0].get(_POPULATIONS) is None:
        names = ", ".join(rows[0]) if rows else "no rows"
        raise ValueError(f"{path}: a column named {_POPULATIONS} expected, found {names}")
    found = np.empty(len(rows))
    for number, row in enumerate(rows):
        try:
            found[number] = float(row[_POPULATIONS])
        except (TypeError, ValueError):
            found[number] = np.nan
        if not found[number] >= 0:
            raise ValueError(
                f"{path}, row {number + 1}: {_POPULATIONS} must be a number from 0 on, found "
                f"{row[_POPULATIONS]!r}"
            )
    if not 0 < found.sum() < np.inf:
        raise ValueError(f"{path}: {_POPULATIONS} must have a sum above 0, found {found.sum():g}")
    return found / found.sum()


def _by_numbers(path: Path) -> list[str | int]:
    """Sorts 10.mrc after 9.mrc."""
    parts = re.split(r"(\d+)", path.name)
    return [int(part) if number % 2 else part for number, part in enumerate(parts)]
