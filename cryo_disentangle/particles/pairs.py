"""Pairs of frames that follow each other in a trajectory, which models of time learn from."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import cast

import numpy as np
import numpy.typing as npt
from torch import Tensor

from cryo_disentangle.particles.dataset import BatchedDataset
from cryo_disentangle.particles.sampling import split_indices
from cryo_disentangle.types import ParticleBatch

__all__ = ["PairedDataset", "earlier_frames", "next_frames", "split_trajectories"]


class PairedDataset(BatchedDataset):
    """Pairs of frames, each named by its earlier one.

    A batch of B pairs is one batch of 2B particles, read at once; every tensor gets the shape
    (B, 2, ...), the earlier frame first.

    Args:
        particles: Single particles.
        following: Row of each particle's next frame, shape (N,), as `next_frames` finds it; None
            where it is the next row.
    """

    def __init__(
        self, particles: BatchedDataset, following: npt.NDArray[np.int64] | None = None
    ) -> None:
        self.particles = particles
        self.following = following

    def __getitems__(self, indices: Sequence[int]) -> ParticleBatch:
        """Reads a batch of pairs.

        Args:
            indices: 0-based rows of the earlier frames, shape (B,), in any order.

        Returns:
            The pairs, in that order.

        Raises:
            IndexError: If an index is out of range, or a frame has none after it.
        """
        first = np.asarray(indices, dtype=np.int64)
        second = first + 1 if self.following is None else self.following[first]
        batch = self.particles.__getitems__(np.stack([first, second], axis=1).ravel().tolist())
        return cast(
            "ParticleBatch",
            {key: cast("Tensor", value).unflatten(0, (-1, 2)) for key, value in batch.items()},
        )


def next_frames(
    time: npt.NDArray[np.floating], trajectory: npt.NDArray[np.integer], source: str
) -> npt.NDArray[np.int64]:
    """Finds the frame that comes after each one.

    Args:
        time: Time stamps, shape (N,), in any order.
        trajectory: Numbers of trajectories, shape (N,).
        source: Where they come from, for messages.

    Returns:
        0-based row of the next frame of the same trajectory, shape (N,); -1 for a last frame.

    Raises:
        ValueError: If two frames of a trajectory have the same time, or no trajectory has two
            frames.
    """
    order = np.lexsort((time, trajectory))
    together = trajectory[order[1:]] == trajectory[order[:-1]]
    ties = np.flatnonzero(together & (time[order[1:]] == time[order[:-1]]))
    if ties.size:
        row, other = sorted(order[ties[0] : ties[0] + 2] + 1)
        raise ValueError(
            f"{source}: particles {row} and {other} of trajectory {trajectory[row - 1]} have the "
            f"same time {time[row - 1]:g} in single precision; frames need times that differ"
        )
    n_alone, n_trajectories = _count_alone(trajectory)
    if not together.any():
        raise ValueError(
            f"{source}: pairs need trajectories of two frames or more, found one frame in each of "
            f"{n_trajectories}"
        )
    if n_alone:
        warnings.warn(
            f"{source}: {n_alone} of {n_trajectories} trajectories have a single frame and are in "
            "no pair",
            stacklevel=2,
        )
    following = np.full(len(order), -1, dtype=np.int64)
    following[order[:-1][together]] = order[1:][together]
    return following


def _count_alone(trajectory: npt.NDArray[np.integer]) -> tuple[int, int]:
    """How many trajectories have one frame, and how many there are."""
    counts = np.unique(trajectory, return_counts=True)[1]
    return int((counts == 1).sum()), len(counts)


def earlier_frames(
    rows: npt.NDArray[np.int64], following: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Finds the pairs within some particles.

    Args:
        rows: 0-based rows of the particles, shape (N,).
        following: As `next_frames` returns it.

    Returns:
        Rows of the earlier frame of each pair of which both frames are among ``rows``, in order.
    """
    inside = np.zeros(len(following), dtype=bool)
    inside[rows] = True
    after = following[rows]
    return rows[(after >= 0) & inside[after]]


def split_trajectories(
    trajectory: npt.NDArray[np.int64],
    following: npt.NDArray[np.int64],
    validation_fraction: float,
    seed: int,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Splits particles by whole trajectories, at random.

    Neighbouring frames resemble each other, so a frame held out alone would not be unseen.

    Args:
        trajectory: Numbers of trajectories, shape (N,).
        following: As `next_frames` returns it.
        validation_fraction: Share of trajectories for validation, of those with pairs, at least 0
            and less than 1; unless it is 0, both sides get at least one.
        seed: The split is a function of this, the fraction and the trajectories alone.

    Returns:
        0-based indices of particles for training and for validation, both ascending.

    Raises:
        ValueError: If the fraction is out of range, or one trajectory would have to be split.
    """
    names = np.unique(trajectory[following >= 0])
    if 0 < validation_fraction < 1:
        if len(names) == 1:
            raise ValueError(
                f"validation_fraction {validation_fraction} cannot hold out a whole trajectory, of "
                "which there is one; set it to 0"
            )
        share = 1 / len(names)
        validation_fraction = min(max(validation_fraction, share), 1 - share)
    held_out = names[split_indices(len(names), validation_fraction, seed)[1]]
    validation = np.isin(trajectory, held_out)
    return np.flatnonzero(~validation), np.flatnonzero(validation)
