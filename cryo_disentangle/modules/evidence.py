"""What a model of images shows its encoder."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from cryo_disentangle.imaging.observation import Observation
from cryo_disentangle.types import ParticleBatch

__all__ = ["ImageEvidence", "known_rotation"]


class ImageEvidence:
    """Single particles as an encoder may read them, an `Evidence`.

    Args:
        batch: B single particles.
        observation: Their images' coefficients in the disc that the encoder reads.
        render: Renders slices of that disc, without CTF, from conformations (B, Z) and rotations
            (B, 3, 3).
        reads_pose: Whether ``features`` end with the known rotation.
    """

    def __init__(
        self,
        batch: ParticleBatch,
        observation: Observation,
        render: Callable[[Tensor, Tensor], Tensor],
        *,
        reads_pose: bool = False,
    ) -> None:
        self.batch, self.observation = batch, observation
        self._render, self._reads_pose = render, reads_pose
        self._phase_flipped: Tensor | None = None

    @property
    def coefficients(self) -> Tensor:
        """Hartley coefficients of the centred images, shape (B, M)."""
        return self.observation.coefficients

    @property
    def phase_flipped(self) -> Tensor:
        """Coefficients times the sign of their CTF, shape (B, M)."""
        # Kept without functools.cached_property, whose lock no compiler passes before Python 3.12.
        if self._phase_flipped is None:
            self._phase_flipped = self.observation.phase_flipped()
        return self._phase_flipped

    @property
    def features(self) -> Tensor:
        """Phase-flipped coefficients, and the pose where it is to be read: (B, M) or (B, M + 9)."""
        if not self._reads_pose:
            return self.phase_flipped
        return torch.cat([self.phase_flipped, known_rotation(self.batch).flatten(1)], dim=-1)

    def render(self, conformation: Tensor) -> Tensor:
        """Renders P conformations of each particle as it is seen from its known pose.

        Args:
            conformation: Shape (B, P, Z).

        Returns:
            Hartley coefficients, shape (B, P, M).

        Raises:
            ValueError: If the particles have no poses.
        """
        count, transfer = conformation.shape[1], self.observation.transfer
        rotation = known_rotation(self.batch).repeat_interleave(count, 0)
        slices = self._render(conformation.flatten(0, 1), rotation)
        slices = slices.unflatten(0, conformation.shape[:2])
        return slices if transfer is None else slices * transfer[:, None]


def known_rotation(batch: ParticleBatch) -> Tensor:
    """Takes the rotations of a batch.

    Args:
        batch: B single particles.

    Returns:
        Shape (B, 3, 3).

    Raises:
        ValueError: If it has none.
    """
    if "rotation" not in batch:
        raise ValueError(
            "the particles have no poses and this model needs known ones: give poses "
            "(poses.pkl), or a .star or .cs file with angles"
        )
    return batch["rotation"]
