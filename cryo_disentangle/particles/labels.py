"""What is known of particles beside their images: time, trajectory, temperature, true factors."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cryo_disentangle.files.arrays import read_archive

__all__ = ["ParticleLabels", "read_labels"]

_KELVIN = (1.0, 1000.0)


@dataclass(frozen=True, eq=False)
class ParticleLabels:
    """Labels of some particles; what is not known is None.

    Args:
        time: Time stamps in any one unit, shape (N,), float32.
        trajectory: Numbers of trajectories, shape (N,), int64.
        temperature: In kelvin, shape (N,), float32.
        factors: True factors of variation, shape (N, F), float32.
    """

    time: npt.NDArray[np.float32] | None = None
    trajectory: npt.NDArray[np.int64] | None = None
    temperature: npt.NDArray[np.float32] | None = None
    factors: npt.NDArray[np.float32] | None = None

    def known(self) -> dict[str, npt.NDArray[Any]]:
        """The labels that are known, by name."""
        values = {name: getattr(self, name) for name in _NAMES}
        return {name: rows for name, rows in values.items() if rows is not None}

    def __len__(self) -> int:
        """Number of particles; 0 where nothing is known."""
        return max((len(rows) for rows in self.known().values()), default=0)

    def take(self, rows: slice | npt.NDArray[np.int64]) -> ParticleLabels:
        """Selects particles.

        Args:
            rows: 0-based, a slice or shape (N,).

        Returns:
            Their labels, in that order.
        """
        return ParticleLabels(**{name: values[rows] for name, values in self.known().items()})


_NAMES = tuple(field.name for field in fields(ParticleLabels))


def read_labels(path: str | Path) -> ParticleLabels:
    """Reads labels of particles.

    The simulator's ``truth.npz`` is such a file. Other arrays than the four are left alone.

    Args:
        path: NumPy archive (``.npz``) with one or more of ``time`` (N,), ``trajectory`` (N,),
            ``temperature`` (N,) in kelvin and ``factors`` (N, F).

    Returns:
        The labels.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no such archive, has none of the four arrays, or one of them has
            another shape, another length than the others, or a value that makes no sense.
    """
    path = Path(path)
    arrays = read_archive(path, _NAMES, "labels")
    lengths = {name: len(_numeric(array, name, path)) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{name} {count}" for name, count in lengths.items())
        raise ValueError(f"{path}: labels must have a row for each particle, found {counts}")
    values: dict[str, npt.NDArray[Any]] = {
        name: array.astype(np.int64) if name == "trajectory" else _single(array, name, path)
        for name, array in arrays.items()
    }
    labels = ParticleLabels(**values)
    _check_kelvin(labels.temperature, path)
    return labels


def _numeric(array: npt.NDArray[Any], name: str, path: Path) -> npt.NDArray[Any]:
    """Refuses an array of another shape or type than the label's."""
    axes, shape = (2, "(N, F)") if name == "factors" else (1, "(N,)")
    if array.ndim != axes or 0 in array.shape[1:]:
        raise ValueError(f"{path}: {name} must have shape {shape}, found {array.shape}")
    kinds, what = ("iu", "integers") if name == "trajectory" else ("fiu", "real numbers")
    if array.dtype.kind not in kinds:
        raise ValueError(f"{path}: {name} must be {what}, found {array.dtype}")
    return array


def _single(array: npt.NDArray[Any], name: str, path: Path) -> npt.NDArray[np.float32]:
    """Takes finite numbers in single precision, as batches have them."""
    with np.errstate(over="ignore"):
        values = array.astype(np.float32)
    bad = np.flatnonzero(~np.isfinite(values).reshape(len(values), -1).all(axis=1))
    if bad.size:
        raise ValueError(f"{path}, row {bad[0] + 1}: {name} is not finite, found {array[bad[0]]}")
    return values


def _check_kelvin(temperature: npt.NDArray[np.float32] | None, path: Path) -> None:
    """Refuses temperatures that cannot be in kelvin."""
    if temperature is None:
        return
    low, high = _KELVIN
    bad = np.flatnonzero((temperature < low) | (temperature > high))
    if bad.size:
        raise ValueError(
            f"{path}, row {bad[0] + 1}: temperature must be in kelvin, {low:g} to {high:,g} K, "
            f"found {temperature[bad[0]]:g}"
        )
