"""Slices of several volumes at once, read from and added to a grid in Fourier space."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from cryo_disentangle.decoders.spline import SplinePoints
from cryo_disentangle.imaging import FourierDisc

__all__ = ["SliceGrid", "shell_means"]


def shell_means(values: Tensor, shell: Tensor, count: int) -> Tensor:
    """Averages values shell by shell.

    Args:
        values: Shape (N, ...).
        shell: Shell of each, shape (N,), int64.
        count: Number of shells; values beyond the last one are left out.

    Returns:
        Shape (count, ...), zero where a shell has no value.
    """
    inside = shell < count
    shell, values = shell[inside], values[inside]
    total = values.new_zeros(count, *values.shape[1:]).index_add(0, shell, values)
    number = torch.bincount(shell, minlength=count).clamp_min(1).to(values)
    return total / number.view(-1, *[1] * (values.ndim - 1))


class SliceGrid:
    """A cubic grid of spline coefficients that holds all slices up to a radius.

    Volumes are columns of nodes (G, C), in the conventions of `BasisDecoder`, of whose grid this is
    the middle. A slice's points come as one half of the disc and, beside each, its mirror image.

    Args:
        box_size: Image side D in pixels, even.
        radius: Radius in Fourier pixels, at most D / 2.

    Attributes:
        disc: The coefficients of an image inside the radius.
        side: Number S of nodes along an axis, 2 · radius + 3.
        shell: Shell of each of the disc's P points, shape (P,).
        node_shell: Shell of each of the G = S³ nodes, shape (G,).
        inside: Nodes that slices read, shape (G,).
    """

    def __init__(self, box_size: int, radius: int) -> None:
        self.box_size, self.radius = box_size, radius
        self.disc = FourierDisc(box_size, radius)
        self.side = 2 * radius + 3
        self._points = self.disc.frequencies[: len(self.disc) // 2] * box_size
        self.shell = self._points.norm(dim=1).round().long()
        axis = torch.arange(self.side) - self.side // 2
        squares = axis.square()
        distance = (squares[:, None, None] + squares[:, None] + squares).flatten().float().sqrt()
        self.node_shell = distance.round().long()
        self.inside = distance <= radius + 1

    @property
    def points(self) -> Tensor:
        """(x, y) in Fourier pixels of one half of the disc, shape (P, 2)."""
        return self._points

    def to(self, device: torch.device) -> SliceGrid:
        """Moves what slices are read by; nothing is copied to where it is.

        Args:
            device: Where to.

        Returns:
            This grid.
        """
        if self._points.device != device:
            self.disc.to(device)
            self._points, self.shell = self._points.to(device), self.shell.to(device)
            self.node_shell, self.inside = self.node_shell.to(device), self.inside.to(device)
        return self

    def at(self, rotation: Tensor, transfer: Tensor | None = None) -> SplinePoints:
        """Works out where slices lie.

        Args:
            rotation: Shape (B, 3, 3), as in `Pose`.
            transfer: What slices are multiplied by, shape (B, P); None is 1.

        Returns:
            The B · P points.
        """
        position = (self._points @ rotation[:, :2]).flatten(0, 1)
        return SplinePoints(position, self.side, None if transfer is None else transfer.flatten())

    def read(self, at: SplinePoints, paired: Tensor, slope_axis: int | None = None) -> Tensor:
        """Reads slices, or their derivative along an axis of the grid.

        Args:
            at: Points of B slices.
            paired: Nodes as `pair_nodes` has them, shape (G, 2 C).
            slope_axis: As `SplinePoints.read` takes it.

        Returns:
            Shape (B, P, 2, C).
        """
        return at.read(paired, slope_axis).unflatten(0, (-1, len(self._points)))

    def add(self, at: SplinePoints, values: Tensor) -> Tensor:
        """Adds slices to the grid, the transpose of `read`.

        Args:
            at: Points of B slices.
            values: Shape (B, P, 2, C).

        Returns:
            Sums for `fold_nodes`, shape (G, 2 C).
        """
        return at.add(values.flatten(0, 1))

    def positions(self) -> Tensor:
        """Distances in pixels of `densities`' voxels from the centre, shape (S, S, S)."""
        axis = torch.arange(self.side, device=self._points.device) - self.side // 2
        axis = axis * (self.box_size / self.side)
        squares = axis.square()
        return (squares[:, None, None] + squares[:, None] + squares).sqrt()

    def densities(self, nodes: Tensor) -> Tensor:
        """Transforms nodes to real space, in which the box has S voxels a side.

        Args:
            nodes: Shape (G, C).

        Returns:
            Shape (C, S, S, S), up to the gain of splines and a constant factor.
        """
        return _hartley(nodes.T.unflatten(1, (self.side,) * 3)) / self.side**3

    def nodes(self, densities: Tensor) -> Tensor:
        """Inverts `densities`.

        Args:
            densities: Shape (C, S, S, S).

        Returns:
            Nodes that slices read, zero beyond, shape (G, C).
        """
        return _hartley(densities).flatten(1).T * self.inside[:, None]

    def resized(self, nodes: Tensor, other: SliceGrid) -> Tensor:
        """Moves nodes to a grid of another radius: more nodes are zero, fewer are left out.

        Args:
            nodes: Of this grid, shape (G, C).
            other: The grid to move to.

        Returns:
            Shape (other's G, C).
        """
        margin = (other.side - self.side) // 2
        cube = F.pad(nodes.T.unflatten(1, (self.side,) * 3), (margin,) * 6)
        return cube.flatten(1).T.contiguous() * other.inside[:, None]

    def points_within(self, radius: int) -> Tensor:
        """Finds the points of a smaller disc among this one's.

        Args:
            radius: Its radius in Fourier pixels.

        Returns:
            Their positions, in the order of that disc's points, shape (Q,).
        """
        squared = self._points.round().long().square().sum(1)
        return torch.nonzero(squared <= radius**2)[:, 0]


def _hartley(values: Tensor) -> Tensor:
    """Centred Hartley transform of cubes with an odd side."""
    axes = (-3, -2, -1)
    transform = torch.fft.fftn(torch.fft.ifftshift(values, dim=axes), dim=axes)
    return torch.fft.fftshift(transform.real - transform.imag, dim=axes)
