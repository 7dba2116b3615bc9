"""Interventions on a batch: particles permute poses and conformations and are imaged again."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from cryo_disentangle.imaging.hartley import symmetrize
from cryo_disentangle.imaging.noise import drawing_from
from cryo_disentangle.types import Inference, ParticleBatch, Pose, observed

__all__ = ["GeneratesImages", "InfersLatents", "Intervention", "TrueGenerator", "particle_pose"]


class GeneratesImages(Protocol):
    """A generator g: a model, or the truth behind a simulation."""

    def generate(self, conformation: Tensor, pose: Pose, batch: ParticleBatch) -> Tensor:
        """Renders noise-free images that can stand in the place of ``batch["images"]``.

        Args:
            conformation: Latents or true factors, shape (B, Z).
            pose: Where each is seen from.
            batch: The particles whose CTF is applied.

        Returns:
            Images, of the shape of ``batch["images"]``.
        """
        ...


class InfersLatents(Protocol):
    """An inference f: a model, or an oracle that searches for conformation and pose."""

    def infer(self, batch: ParticleBatch) -> Inference:
        """Infers the posterior of conformation and, perhaps, pose from ``batch["images"]``.

        Args:
            batch: B particles.

        Returns:
            The posterior, shape (B, Z).
        """
        ...


@dataclass(frozen=True)
class TrueGenerator:
    """Makes a true generator g* of a function, such as the renderer of a simulation.

    Args:
        render: Renders true factors (B, F) from true poses with the CTF of a batch, noise-free and
            preprocessed as ``batch["images"]`` are.
    """

    render: Callable[[Tensor, Pose, ParticleBatch], Tensor]

    def generate(self, conformation: Tensor, pose: Pose, batch: ParticleBatch) -> Tensor:
        """Renders images.

        Args:
            conformation: True factors, shape (B, F).
            pose: Where the B particles are seen from.
            batch: Its CTF is applied.

        Returns:
            Images in the place of ``batch["images"]``.
        """
        return self.render(conformation, pose, batch)


class Intervention:
    """Permutes the particles of a batch along one random cycle through its particles.

    Args:
        batch: Single particles.
        noise_std: Standard deviation of white noise added to rendered images; None for none.
        seed: Together with the batch's ``index``, seed of cycle and noise.
        hide_pose: Whether what is shown to an inference comes without its pose.

    Raises:
        ValueError: If noise is to be added to statistics, which are generated with it.
    """

    def __init__(
        self, batch: ParticleBatch, noise_std: float | None, seed: int, *, hide_pose: bool
    ) -> None:
        self.batch = batch
        self._noise_std, self._hide_pose = noise_std, hide_pose
        key = np.random.SeedSequence([seed, *batch["index"].tolist()])
        if noise_std and "information" in batch:
            raise ValueError(
                "statistics are generated with the noise of the data: leave noise_std out, found "
                f"{noise_std}"
            )
        device = batch["index"].device
        self._generator = torch.Generator(device)
        self._generator.manual_seed(int(key.generate_state(1, np.uint64)[0]) >> 1)
        count = len(batch["index"])
        self._cycle = torch.randperm(count, generator=self._generator, device=device)

    def permute_rows(self, values: Tensor, steps: int) -> Tensor:
        """Permutes rows by a number of steps along the cycle.

        Args:
            values: Shape (B, ...).
            steps: Not a multiple of B, or nothing is permuted.

        Returns:
            Shape (B, ...).
        """
        permuted = torch.empty_like(values)
        permuted[self._cycle] = values[self._cycle.roll(steps)]
        return permuted

    def permute_pose(self, pose: Pose, steps: int) -> Pose:
        """Permutes poses.

        Args:
            pose: Of the B particles.
            steps: As for `permute_rows`.

        Returns:
            Poses, the translation and the precision going with their rotation.
        """
        return pose.map(lambda part: self.permute_rows(part, steps))

    def show(self, generator: GeneratesImages, conformation: Tensor, pose: Pose) -> ParticleBatch:
        """Images conformations from poses, with noise.

        Args:
            generator: What renders.
            conformation: Shape (B, ...).
            pose: Of the B images.

        Returns:
            The batch with these images in place of its own. Their poses replace the batch's, or
            are absent where they are to be inferred.
        """
        # Statistics are generated with their noise, which must be this intervention's.
        with drawing_from(self._generator) if "information" in self.batch else nullcontext():
            images = generator.generate(conformation, pose, self.batch)
        if self._noise_std:
            images = images + self._noise(images)
        shown = observed(self.batch, images, pose)
        if pose.translation is None or self._hide_pose:
            shown.pop("translation", None)
        if self._hide_pose:
            shown.pop("rotation", None)
        return shown

    def _noise(self, images: Tensor) -> Tensor:
        """White noise, whose transform is white; the edge of a symmetrised one repeats."""
        side = images.shape[-1]
        even = side - side % 2
        noise = images.new_empty(*images.shape[:-2], even, even)
        noise.normal_(std=self._noise_std or 0.0, generator=self._generator)
        return symmetrize(noise) if side % 2 else noise


def particle_pose(inference: Inference, batch: ParticleBatch) -> Pose:
    """Takes the inferred poses of particles or, where there are none, the given ones.

    Args:
        inference: What a model inferred of B particles.
        batch: The particles.

    Returns:
        Their poses.

    Raises:
        ValueError: If the model infers no pose and the batch has none.
    """
    if inference.pose is not None:
        return inference.pose
    if "rotation" not in batch:
        raise ValueError(
            "the particles have no poses and the model infers none: give particles poses"
        )
    return Pose(batch["rotation"], batch.get("translation"), batch.get("precision"))
