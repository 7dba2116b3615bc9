"""Poses and contrast as a consensus refinement may leave them."""

from __future__ import annotations

import math

import numpy as np
import roma
import torch
from settings import Setting
from torch import Tensor

from cryo_disentangle.statistics import StatisticsFolder
from cryo_disentangle.statistics.nuisance import Nuisance
from cryo_disentangle.types import Pose

__all__ = ["contrast_of", "draw_errors", "in_both_frames", "pose_scores", "wrong_pose"]


def draw_errors(nuisance: Nuisance, count: int, seed: int) -> Tensor:
    """Errors of poses and contrast in standard deviations, shape (N, Q)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, nuisance.count, generator=generator)


def wrong_pose(rotation: Tensor, nuisance: Nuisance, error: Tensor) -> Pose:
    """A pose that errors would correct to the true one."""
    shift, turn = nuisance.split(error)
    return Pose(roma.rotvec_to_rotmat(-turn) @ rotation, -shift if nuisance.shift else None)


def contrast_of(nuisance: Nuisance, error: Tensor) -> Tensor:
    """Factor of each particle's contrast, shape (N, 1, 1)."""
    change = error[:, -1] * nuisance.contrast if nuisance.contrast else error.new_zeros(len(error))
    return 1 + change[:, None, None]


def in_both_frames(nuisance: Nuisance, error: Tensor, rotation: Tensor) -> dict[str, Tensor]:
    """Errors by name, in the image's frame and in the molecule's: z may follow either."""
    shift, turn = nuisance.split(error)
    found = {}
    if nuisance.shift:
        found["shift"] = torch.cat([shift, _to_molecule(rotation[:, :2], shift)], 1)
    if nuisance.rotation:
        found["rotation"] = torch.cat([turn, _to_molecule(rotation, turn)], 1)
    if nuisance.contrast:
        found["contrast"] = error[:, -1:]
    return found


def _to_molecule(rows: Tensor, vector: Tensor) -> Tensor:
    """Vectors of the image in the molecule's frame."""
    return (rows.mT @ vector[..., None])[..., 0]


def pose_scores(
    folder: StatisticsFolder, truth: Tensor, setting: Setting, error: Tensor
) -> dict[str, float]:
    """Error variances of refined poses over what consensus left, and over what they predict.

    Up to a motion of the whole frame, one for each half set.

    Args:
        folder: Statistics of N particles with refined poses.
        truth: True rotations, shape (N, 3, 3).
        setting: What was wrong and is refined.
        error: By how much, in standard deviations, shape (N, Q).
    """
    nuisance = setting.nuisance
    if not setting.refine:
        return {}
    left = torch.from_numpy(np.load(folder.path / "pose_error.npy"))
    predicted = torch.from_numpy(np.load(folder.path / "pose_deviation.npy")).square()
    halves = [folder.statistics.half == number for number in (0, 1)]
    found: dict[str, float] = {}
    if nuisance.shift:
        off = _without_frame_shift((left - error)[:, :2], truth, halves)
        ratio = float(off.square().mean())
        found["shift_error"] = ratio
        found["shift_over_predicted"] = ratio / float(predicted[:, :2].mean())
    if nuisance.rotation:
        first = 2 if nuisance.shift else 0
        given = wrong_pose(truth, setting.errors, error).rotation
        rotation = roma.rotvec_to_rotmat(nuisance.split(left)[1]) @ given
        for mine in halves:
            frame = roma.special_procrustes((rotation[mine].mT @ truth[mine]).mean(0))
            rotation[mine] = rotation[mine] @ frame
        angles = roma.rotmat_to_rotvec(truth @ rotation.mT) / math.radians(nuisance.rotation)
        ratio = float(angles.square().mean())
        found["rotation_error"] = ratio
        found["rotation_over_predicted"] = ratio / float(predicted[:, first : first + 3].mean())
    return found


def _without_frame_shift(off: Tensor, rotation: Tensor, halves: list[Tensor]) -> Tensor:
    """Errors of shifts without what a shift of the whole molecule explains, shape (N, 2)."""
    kept = off.clone()
    for mine in halves:
        seen = rotation[mine, :2].flatten(0, 1)
        moved = torch.linalg.lstsq(seen, off[mine].reshape(-1, 1)).solution
        kept[mine] -= (seen @ moved).reshape(-1, 2)
    return kept
