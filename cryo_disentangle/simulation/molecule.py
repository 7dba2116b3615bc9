"""What the microscope asks of a molecule, and molecules made of Gaussians."""

from __future__ import annotations

import abc
import math
from typing import Protocol

import torch
from torch import Tensor

from cryo_disentangle.imaging.gaussians import gaussian_volume, project_gaussians
from cryo_disentangle.structures.hinges import Hinge, screw_displacement

__all__ = ["GaussianMolecule", "Hinge", "Molecule", "move_hinges"]

# Profiles of this many numbers stay in the cache of a core: larger steps measured half as fast.
_NUMBERS_PER_STEP = 2**19
_STEPS_PER_PLACING = 16


class Molecule(Protocol):
    """A density that depends on a few numbers, and can be seen from any direction."""

    @property
    def dim(self) -> int:
        """Number of conformational coordinates K."""
        ...

    def check(self, conformation: Tensor, box_size: int, pixel_size: float) -> None:
        """Refuses conformations or a grid that it cannot be shown in.

        Args:
            conformation: Shape (B, K).
            box_size: Image side D in pixels.
            pixel_size: Å per pixel.

        Raises:
            ValueError: If it cannot.
        """
        ...

    def project(
        self,
        conformation: Tensor,
        rotation: Tensor,
        translation: Tensor,
        box_size: int,
        pixel_size: float,
    ) -> Tensor:
        """Projects conformations to images before the CTF.

        Args:
            conformation: Shape (B, K).
            rotation: As in `Pose`, shape (B, 3, 3).
            translation: As in `Pose`, (x, y) in pixels, shape (B, 2).
            box_size: Image side D in pixels.
            pixel_size: Å per pixel.

        Returns:
            Images, shape (B, D, D).
        """
        ...


class GaussianMolecule(abc.ABC):
    """A molecule made of isotropic Gaussians that move with the conformation."""

    @property
    @abc.abstractmethod
    def dim(self) -> int:
        """Number of conformational coordinates K."""

    @property
    @abc.abstractmethod
    def weights(self) -> Tensor:
        """Integrated density of each Gaussian, shape (N,)."""

    @property
    @abc.abstractmethod
    def sigma(self) -> float | Tensor:
        """Standard deviation in Å, a number or shape (N,)."""

    @abc.abstractmethod
    def centres(self, conformation: Tensor) -> Tensor:
        """Places the Gaussians.

        Args:
            conformation: Shape (B, K).

        Returns:
            Model coordinates (x, y, z) in Å, shape (B, N, 3); differentiable.
        """

    def radius(self, conformation: Tensor) -> float:
        """Measures how far the density reaches from the origin.

        Args:
            conformation: Shape (B, K).

        Returns:
            Radius in Å of the sphere that holds every Gaussian up to three standard deviations.
        """
        largest = 0.0
        for part in conformation.split(256):
            largest = max(largest, float(self.centres(part).norm(dim=-1).max()))
        return largest + 3 * float(torch.as_tensor(self.sigma).max())

    def check(self, conformation: Tensor, box_size: int, pixel_size: float) -> None:
        """Refuses a box that the molecule does not fit into in one of the conformations.

        Args:
            conformation: Shape (B, K).
            box_size: Image side D in pixels.
            pixel_size: Å per pixel.

        Raises:
            ValueError: If it reaches beyond the box; names the box that is needed.
        """
        radius = self.radius(conformation)
        needed = 2 * math.ceil(radius / pixel_size)
        if needed > box_size:
            raise ValueError(
                f"the molecule needs a box of {needed} pixels at {pixel_size:g} Å per pixel "
                f"(it reaches {radius:.1f} Å from its origin), found box_size {box_size}"
            )

    def project(
        self,
        conformation: Tensor,
        rotation: Tensor,
        translation: Tensor,
        box_size: int,
        pixel_size: float,
    ) -> Tensor:
        """Projects the molecule, as `project_gaussians` does.

        Args:
            conformation: Shape (B, K).
            rotation: As in `Pose`, shape (B, 3, 3).
            translation: (x, y) in pixels, as in `Pose`, shape (B, 2).
            box_size: Image side D in pixels.
            pixel_size: Å per pixel.

        Returns:
            Images before the CTF, shape (B, D, D).
        """
        weights = self.weights.to(conformation)
        step = max(1, _NUMBERS_PER_STEP // (len(weights) * box_size))
        # Placing the Gaussians is many small operations, which pay for more images at a time.
        block = _STEPS_PER_PLACING * step
        blocks = zip(*(v.split(block) for v in (conformation, rotation, translation)), strict=True)
        images = [
            project_gaussians(c, weights, self.sigma, r, box_size, pixel_size, t)
            for conformations, rotations, translations in blocks
            for c, r, t in zip(
                self.centres(conformations).split(step),
                rotations.split(step),
                translations.split(step),
                strict=True,
            )
        ]
        return torch.cat(images)

    def volume(self, conformation: Tensor, box_size: int, pixel_size: float) -> Tensor:
        """Samples the true density on a grid, as `gaussian_volume` does.

        Args:
            conformation: Shape (B, K).
            box_size: Side D in voxels.
            pixel_size: Å per voxel.

        Returns:
            Volumes, shape (B, D, D, D), axes z, y, x.
        """
        weights = self.weights.to(conformation)
        volumes = [
            gaussian_volume(self.centres(z), weights, self.sigma, box_size, pixel_size)
            for z in conformation.split(1)
        ]
        return torch.cat(volumes)


def move_hinges(
    reference: Tensor, conformation: Tensor, hinges: tuple[Hinge, ...], weights: Tensor
) -> Tensor:
    """Turns the parts of a molecule about their hinges.

    Args:
        reference: Coordinates (x, y, z) in Å at conformation 0, shape (N, 3).
        conformation: One coordinate for each hinge, shape (B, K).
        hinges: K hinges.
        weights: How far each point follows each hinge, 0 to 1, shape (K, N). A point that follows
            several hinges gets the sum of their displacements.

    Returns:
        Coordinates, shape (B, N, 3).
    """
    reference = reference.to(conformation)
    displacement = reference.new_zeros(len(conformation), *reference.shape)
    for coordinate, hinge, weight in zip(conformation.T, hinges, weights, strict=True):
        moving = torch.nonzero(weight)[:, 0].to(conformation.device)
        axis, point = (conformation.new_tensor(v) for v in (hinge.axis, hinge.point))
        arm = reference[moving] - point
        turn = coordinate[:, None] * weight.to(conformation)[moving]
        angle = math.radians(hinge.angle_deg) * turn
        moved = screw_displacement(arm, axis, angle, hinge.shift * turn)
        displacement = displacement.index_add(1, moving, moved)
    return reference + displacement
