"""Trajectories as a small file: principal components of frames, quantised."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cryo_disentangle.files.arrays import read_archive
from cryo_disentangle.files.paths import replacing
from cryo_disentangle.physics.collective import hinge_angles, principal_components, superposed
from cryo_disentangle.physics.go_model import Recorded
from cryo_disentangle.physics.residues import CORE, load_residues

__all__ = [
    "Trajectories",
    "compress_runs",
    "hinges_of",
    "open_trajectories",
    "write_trajectories",
]

Array = npt.NDArray[np.floating]
# Rounding of the components in Å; of a bead's position this is 0.5 (C / 12 / R)^½, 0.1 Å at most.
_QUANTUM = 0.5
_AT_ONCE = 4096
_NAMES = ("steps", "mean", "axes", "kelvin", "potential", "interval_ps")


class Trajectories(NamedTuple):
    """Runs of equal length at several temperatures, superposed on the CORE.

    Attributes:
        scores: Principal components of the frames in Å, shape (T, N, C), float32.
        mean: Mean structure in Å, shape (R, 3).
        axes: Positions are mean + scores @ axes, shape (C, R, 3).
        kelvin: Temperature of each run, shape (T,).
        potential: Potential energy of each frame in kJ/mol, shape (T, N).
        interval_ps: Time between frames.
    """

    scores: npt.NDArray[np.float32]
    mean: Array
    axes: Array
    kelvin: Array
    potential: Array
    interval_ps: float

    def positions(self, scores: Array) -> Array:
        """Places the residues.

        Args:
            scores: Principal components, shape (..., C).

        Returns:
            Cα positions in Å, shape (..., R, 3).
        """
        found: Array = self.mean + np.tensordot(scores, self.axes, axes=1)
        return found


def compress_runs(
    runs: Sequence[Recorded], kelvin: Sequence[float], components: int
) -> Trajectories:
    """Superposes runs and keeps their principal components.

    Args:
        runs: One for each temperature, of equal length and interval.
        kelvin: Temperatures.
        components: Principal components C that are kept.

    Returns:
        The trajectories, components rounded to 0.5 Å as files keep them.
    """
    residues = load_residues()
    frames = np.stack(
        [superposed(run.positions, residues.open, residues.domain == CORE) for run in runs]
    ).astype(np.float32)
    flat = frames.reshape(-1, residues.open.size)
    principal = principal_components(flat, components)
    scores = principal(flat).reshape(*frames.shape[:2], components)
    return Trajectories(
        (np.round(scores / _QUANTUM) * _QUANTUM).astype(np.float32),
        principal.mean.reshape(-1, 3).astype(np.float32),
        principal.axes.T.reshape(components, -1, 3).astype(np.float32),
        np.asarray(kelvin, dtype=np.float64),
        np.stack([run.potential for run in runs]).astype(np.float32),
        float(runs[0].time[1] - runs[0].time[0]),
    )


def write_trajectories(file: Path, found: Trajectories) -> None:
    """Writes trajectories, components as multiples of 0.5 Å.

    Args:
        file: ``.npz`` to write.
        found: The trajectories.
    """
    steps = np.moveaxis(np.round(found.scores / _QUANTUM).astype("<i2"), 2, 0)
    # Component by component, low bytes apart from high ones: a third smaller when compressed.
    planes = np.ascontiguousarray(steps)[..., None].view(np.uint8).transpose(3, 0, 1, 2)
    with replacing(file) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(
            stream,
            steps=planes,
            mean=found.mean,
            axes=found.axes,
            kelvin=found.kelvin,
            potential=found.potential.astype(np.float32),
            interval_ps=np.float64(found.interval_ps),
        )


@lru_cache(maxsize=4)
def open_trajectories(file: Path | None = None) -> Trajectories:
    """Reads trajectories.

    Args:
        file: ``.npz`` of `write_trajectories`; None is that shipped with the package: 5,000 frames
            at each of 270, 285, 300, 315 and 330 K, 6 ps apart, made by
            ``benchmarks/physics/make_frames.py``.

    Returns:
        The trajectories, shared by all callers.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds no trajectories.
    """
    if file is None:
        shipped = resources.files("cryo_disentangle.physics") / "data" / "frames.npz"
        with resources.as_file(shipped) as path:
            return _read(path)
    return _read(Path(file))


def _read(file: Path) -> Trajectories:
    """Reads the arrays of a file."""
    arrays = read_archive(file, _NAMES, "trajectories")
    missing = [name for name in _NAMES if name not in arrays]
    if missing:
        raise ValueError(f"{file}: trajectories need {', '.join(_NAMES)}, found no {missing[0]}")
    bytes_ = np.ascontiguousarray(arrays["steps"].transpose(1, 2, 3, 0))
    scores = np.moveaxis(bytes_.view("<i2")[..., 0], 0, 2).astype(np.float32) * _QUANTUM
    return Trajectories(
        np.ascontiguousarray(scores),
        arrays["mean"],
        arrays["axes"],
        arrays["kelvin"],
        arrays["potential"],
        float(arrays["interval_ps"]),
    )


@lru_cache(maxsize=4)
def hinges_of(file: Path | None = None) -> npt.NDArray[np.float32]:
    """Measures the hinge angles of all frames of a file.

    Args:
        file: As in `open_trajectories`.

    Returns:
        NMP and LID angle in degrees, shape (T, N, 2), shared by all callers.
    """
    found = open_trajectories(file)
    flat = found.scores.reshape(-1, found.scores.shape[2])
    parts = [
        hinge_angles(found.positions(flat[start : start + _AT_ONCE]))
        for start in range(0, len(flat), _AT_ONCE)
    ]
    return np.concatenate(parts).reshape(*found.scores.shape[:2], -1).astype(np.float32)
