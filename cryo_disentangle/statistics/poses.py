"""Poses as the posterior of their errors corrects them, with their uncertainty."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import roma
import torch
from torch import Tensor

from cryo_disentangle.files.paths import replacing
from cryo_disentangle.particles import ParticleStack
from cryo_disentangle.particles.export import write_particles_star
from cryo_disentangle.particles.pickles import write_poses
from cryo_disentangle.statistics.nuisance import Nuisance
from cryo_disentangle.types import Pose

__all__ = ["PoseErrors", "corrected_poses", "write_refined_poses"]

_COLUMNS = {
    "shift": ("_disentangleShiftErrorXAngst", "_disentangleShiftErrorYAngst"),
    "rotation": tuple(f"_disentangleRotationError{axis}" for axis in "XYZ"),
}


class PoseErrors:
    """Expected errors of poses and their deviations, written block by block beside statistics.

    Args:
        folder: Where ``pose_error.npy`` and ``pose_deviation.npy`` lie or are to lie.
        count: Number N of particles.
        width: Number Q of errors a particle.
    """

    def __init__(self, folder: Path, count: int, width: int) -> None:
        self._arrays = [
            _mapped(folder / f"pose_{name}.npy", (count, width)) for name in ("error", "deviation")
        ]

    def write(self, rows: Tensor, error: Tensor, deviation: Tensor) -> None:
        """Writes a block.

        Args:
            rows: Which particles, shape (B,).
            error: In standard deviations of the prior, shape (B, Q).
            deviation: Posterior standard deviations, in the same units, shape (B, Q).
        """
        for array, values in zip(self._arrays, (error, deviation), strict=True):
            array[rows.numpy()] = values.cpu().numpy()

    def read(self) -> tuple[Tensor, Tensor]:
        """Expected errors and their deviations, each of shape (N, Q)."""
        error, deviation = (torch.from_numpy(np.array(array)) for array in self._arrays)
        return error, deviation


def _mapped(path: Path, shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    """An array on disk, as it was left or of zeros."""
    if not path.is_file():
        np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape).flush()
    return np.load(path, mmap_mode="r+")


def corrected_poses(stack: ParticleStack, nuisance: Nuisance, error: Tensor) -> Pose:
    """Corrects the poses of particles.

    Args:
        stack: The particles.
        nuisance: What the errors are in units of.
        error: In standard deviations, shape (N, Q).

    Returns:
        Rotations, and translations in pixels.

    Raises:
        ValueError: If the particles have no poses.
    """
    if stack.rotation is None:
        raise ValueError(f"{stack.path}: no poses found, there is nothing to correct")
    rotation = torch.from_numpy(stack.rotation)
    shift, turn = nuisance.split(error)
    if nuisance.rotation:
        rotation = roma.rotvec_to_rotmat(turn) @ rotation
    if stack.translation is None:
        return Pose(rotation, shift if nuisance.shift else None)
    return Pose(rotation, torch.from_numpy(stack.translation) + shift)


def write_refined_poses(
    folder: Path,
    stack: ParticleStack,
    nuisance: Nuisance,
    error: Tensor,
    deviation: Tensor,
    probability: Tensor | None = None,
) -> None:
    """Writes ``refined.star`` and ``poses.pkl``, and how sure of the poses the images make one.

    Standard deviations of the posterior are more columns of the STAR file, in Å and degrees about
    the image's axes, and arrays in ``pose_uncertainty.npz`` in pixels and degrees.

    Args:
        folder: Where to.
        stack: The particles.
        nuisance: What the errors are in units of.
        error: In standard deviations of the prior, shape (N, Q).
        deviation: Of the posterior, in the same units, shape (N, Q).
        probability: Of the hypothesis that each pose was found from, shape (N,), a further column
            and array; None where poses were not searched for.
    """
    pose = corrected_poses(stack, nuisance, error)
    shift, turn = nuisance.split(deviation)
    turn = turn * (180 / math.pi)
    extra: dict[str, npt.NDArray[np.float32]] = {}
    if nuisance.shift:
        extra |= dict(zip(_COLUMNS["shift"], (shift * stack.pixel_size).T.numpy(), strict=True))
    if nuisance.rotation:
        extra |= dict(zip(_COLUMNS["rotation"], turn.T.numpy(), strict=True))
    known: dict[str, Any] = {"shift_px": shift.numpy(), "rotation_deg": turn.numpy()}
    if probability is not None:
        extra["_disentanglePoseProbability"] = known["probability"] = probability.numpy()
    translation = None if pose.translation is None else pose.translation.numpy()
    write_particles_star(
        folder / "refined.star",
        [stack.name(row) for row in range(len(stack))],
        box_size=stack.box_size,
        pixel_size=stack.pixel_size,
        rotation=pose.rotation.numpy(),
        translation_px=translation,
        ctf=stack.ctf,
        extra=extra,
    )
    write_poses(folder / "poses.pkl", pose.rotation.numpy(), translation, stack.box_size)
    path = folder / "pose_uncertainty.npz"
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **known)
