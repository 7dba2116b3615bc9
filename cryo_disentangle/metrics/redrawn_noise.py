"""How much of a latent space is the noise of images: the same view is imaged twice."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from cryo_disentangle.metrics.functional.pose_conformation import conformation_pose_invariance
from cryo_disentangle.metrics.particle_rows import ParticleRowsMetric, evaluating
from cryo_disentangle.metrics.permutations import (
    GeneratesImages,
    Intervention,
    particle_pose,
)
from cryo_disentangle.protocols.models import LatentImageModel
from cryo_disentangle.types import ParticleBatch, Pose, flatten_particles

__all__ = ["RedrawnNoise"]


class RedrawnNoise(ParticleRowsMetric):
    """Distance that latents move when only the noise of images is redrawn.

    Each particle is rendered from its own pose, twice with different noise, and z is inferred from
    both; the widths of posteriors are not used.

    As input to ``update``:
        model: The model, see `LatentImageModel`.
        batch: Particles, with ``factors`` and ``rotation`` where there is a true generator.

    As output of ``compute``, a dictionary of float64 scalars:
        ``noise_raw``, the mean squared distance of the two; ``noise_normalized``, over 2 tr Cov z:
        the share of the variance of z that is noise: 0 is best, 1 is noise alone.

    Args:
        noise_std: Standard deviation of the noise of the images, in their units.
        generator: The true generator; None is the model's own.
        seed: Of the noise.
        **kwargs: What torchmetrics' Metric takes.

    Raises:
        ValueError: If the noise is negative.
    """

    def __init__(
        self,
        noise_std: float,
        generator: GeneratesImages | None = None,
        *,
        seed: int = 0,
        **kwargs: Any,  # noqa: ANN401 - torchmetrics' own words
    ) -> None:
        super().__init__(("z", "z_again"), **kwargs)
        if not noise_std >= 0:
            raise ValueError(f"noise_std must not be negative, got {noise_std}")
        # In a tuple, so that torch doesn't take a model for a part of the metric.
        self._truth = (generator,)
        self.noise_std, self.seed = noise_std, seed

    def update(self, model: LatentImageModel, batch: ParticleBatch) -> None:
        """Images the particles of a batch twice.

        Args:
            model: The model.
            batch: Particles, or pairs of frames, which count one by one.

        Raises:
            ValueError: If the model infers no poses and the batch has none, or ``factors`` or
                ``rotation`` is missing beside a true generator.
        """
        batch = flatten_particles(batch)
        (generator,) = self._truth
        with evaluating(model), evaluating(generator):
            found = model.infer(batch)
            conformation = found.mean
            pose = particle_pose(found, batch)
            if generator is not None:
                if missing := {"factors", "rotation"} - batch.keys():
                    raise ValueError(
                        f"beside a true generator a batch needs {min(missing)}, found none"
                    )
                conformation = batch["factors"]
                pose = Pose(batch["rotation"], batch.get("translation"), batch.get("precision"))
            intervention = Intervention(
                batch, self.noise_std, self.seed, hide_pose=found.pose is not None
            )
            first, again = (
                model.infer(intervention.show(generator or model, conformation, pose)).mean
                for _ in range(2)
            )
        self.keep(batch["index"], {"z": first, "z_again": again})

    def evaluate(self, rows: dict[str, Tensor]) -> dict[str, Tensor]:
        """Scores rows of at least 2 particles; see `ParticleRowsMetric.evaluate`."""
        found = conformation_pose_invariance(rows["z"], rows["z_again"])
        return {"noise_raw": found.raw, "noise_normalized": found.normalized}
