"""Tables of real poses and CTF parameters, from which simulated particles draw rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import roma
import torch
from torch import Tensor

from cryo_disentangle.files.arrays import read_archive
from cryo_disentangle.particles.ctf import check_ctf
from cryo_disentangle.particles.ctf_columns import ctf_from_cryosparc, ctf_from_star
from cryo_disentangle.particles.pickles import read_ctf, read_poses
from cryo_disentangle.particles.pose_columns import poses_from_cryosparc, poses_from_star
from cryo_disentangle.simulation.draws import Draws

__all__ = ["choose_rows", "read_array", "read_ctf_rows", "read_rotations", "read_shifts"]


def choose_rows(draws: Draws, count: int) -> Tensor:
    """Draws rows of a table with replacement.

    Every table of ``count`` rows gives a particle the same row, so that its pose and CTF belong
    together.

    Args:
        draws: The particles.
        count: Rows of the table.

    Returns:
        0-based rows, shape (B,), int64.
    """
    return (draws.uniform("row", 1)[:, 0] * count).long().clamp_max(count - 1)


def read_array(file: Path, key: str) -> npt.NDArray[Any]:
    """Reads an array of finite numbers from an ``.npz`` file.

    Args:
        file: NumPy archive.
        key: Name of the array.

    Returns:
        The array.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it lacks the key, or the array holds anything but finite numbers.
    """
    array = read_archive(file, [key], "a table")[key]
    if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
        raise ValueError(f"{file}, key {key!r}: finite numbers expected, found others")
    return array


def _shaped(array: npt.NDArray[Any], columns: int, source: str) -> Tensor:
    """Refuses an array that is not (N, columns)."""
    if array.ndim != 2 or array.shape[1] != columns or not len(array):
        raise ValueError(f"{source}: shape (N, {columns}) expected, found {array.shape}")
    return torch.from_numpy(array.astype(np.float64))


def read_rotations(file: Path, key: str) -> Tensor:
    """Reads rotations.

    Args:
        file: ``poses.pkl``, STAR, ``.cs``, or ``.npz``.
        key: Array of an ``.npz``: matrices (N, 3, 3), or quaternions (N, 4), scalar last.

    Returns:
        Shape (N, 3, 3), float64.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file does not hold rotations.
    """
    if file.suffix == ".npz":
        array = read_array(file, key)
        if array.shape[1:] == (3, 3):
            return torch.from_numpy(array.astype(np.float64))
        quaternion = _shaped(array, 4, f"{file}, key {key!r}")
        rotation: Tensor = roma.unitquat_to_rotmat(torch.nn.functional.normalize(quaternion, dim=1))
        return rotation
    if file.suffix == ".star":
        return torch.from_numpy(poses_from_star(file).rotation)
    if file.suffix == ".cs":
        return torch.from_numpy(poses_from_cryosparc(file).rotation)
    return torch.from_numpy(np.asarray(read_poses(file)[0], dtype=np.float64))


def read_shifts(file: Path, key: str) -> Tensor:
    """Reads in-plane translations.

    Args:
        file: ``poses.pkl``, STAR, ``.cs``, or ``.npz``.
        key: Array of an ``.npz``, shape (N, 2).

    Returns:
        Fractions of the box, shape (N, 2), float64.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file does not hold translations.
    """
    if file.suffix == ".npz":
        return _shaped(read_array(file, key), 2, f"{file}, key {key!r}")
    if file.suffix == ".star":
        return torch.from_numpy(poses_from_star(file).translation)
    if file.suffix == ".cs":
        return torch.from_numpy(poses_from_cryosparc(file).translation)
    translation = read_poses(file)[1]
    if translation is None:
        raise ValueError(f"{file}: translations expected, found rotations only")
    return torch.from_numpy(np.asarray(translation, dtype=np.float64))


def read_ctf_rows(file: Path, key: str) -> Tensor:
    """Reads CTF parameters.

    Args:
        file: ``ctf.pkl``, STAR, ``.cs``, or ``.npz``.
        key: Array of an ``.npz``, shape (N, 9).

    Returns:
        cryoDRGN's nine columns, shape (N, 9), float32.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file does not hold CTF parameters.
    """
    if file.suffix == ".npz":
        rows = _shaped(read_array(file, key), 9, f"{file}, key {key!r}").numpy()
        return torch.from_numpy(check_ctf(rows, str(file)))
    if file.suffix == ".star":
        return torch.from_numpy(ctf_from_star(file))
    if file.suffix == ".cs":
        return torch.from_numpy(ctf_from_cryosparc(file))
    return torch.from_numpy(read_ctf(file))
