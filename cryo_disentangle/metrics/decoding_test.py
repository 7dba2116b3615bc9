"""Whether a latent says anything of its particle: decoded, it must explain the particle's image."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cryo_disentangle.metrics.particle_rows import ParticleRowsMetric, evaluating
from cryo_disentangle.metrics.permutations import Intervention, particle_pose
from cryo_disentangle.precision import exact
from cryo_disentangle.protocols.models import LatentImageModel, MixesVolumes
from cryo_disentangle.types import Inference, ParticleBatch, Pose, flatten_particles

__all__ = ["DecodingTest"]


class DecodingTest(ParticleRowsMetric):
    """Whether decoding at its own z explains an image better than at a random other particle's.

    With x an image, z its latents, z' those of another particle and φ its own pose,

        gain = |x - g(z', φ)|² - |x - g(z, φ)|² - 2 penalty

    has mean 0 if z contains no information on the particle. The penalty is what noise alone gains,
    since z is inferred from the image with its noise: of a model that infers from images the
    covariance E ε·g(f(g(z, φ) + ε), φ), with noise ε drawn anew; of latents that were fitted to the
    images directly, σ² for each coordinate.

    Of particles that come as statistics (Λ, b), with c the coefficients of z, the gain is
    2 (b - Λ mean(c))·(c - c'), the part of it that depends on b, the error the
    number of coefficients, which is that of the noise, whitened; ``noise_std`` is not read.

    As input to ``update``:
        model: The model; ``infer`` gives the latents, ``generate`` decodes them, or
            ``coefficients`` does, where particles come as statistics.
        batch: Particles. A batch of one particle is left out.

    As output of ``compute``, a dictionary of float64 scalars:
        ``decoding_gain``, the mean gain over the squared error with the particle's own z;
        ``decoding_penalty``, what was subtracted, over the same; ``decoding_p_value`` of a mean
        gain above 0, by random signs of the particles' gains; and ``decoding_particles``, their
        number.

    Args:
        noise_std: Standard deviation of the noise of the images, in their units.
        fitted: Whether latents were fitted to the images, such as those of a table, and not
            inferred by an encoder.
        permutations: The smallest p-value is 1 / (1 + permutations).
        seed: Of other particles, noise and signs.
        **kwargs: What torchmetrics' Metric takes.

    Raises:
        ValueError: If the noise is negative, or there are no permutations.

    References:
        Efron 2004, The estimation of prediction error, Eq. 2.8, for the covariance penalty; Mallows
        1973 for σ² a coordinate; Phipson and Smyth 2010, Eq. 2.
    """

    def __init__(
        self,
        noise_std: float,
        *,
        fitted: bool = False,
        permutations: int = 999,
        seed: int = 0,
        **kwargs: Any,  # noqa: ANN401 - torchmetrics' own words
    ) -> None:
        super().__init__(("gain", "penalty", "error"), **kwargs)
        if not noise_std >= 0 or permutations < 1:
            raise ValueError(
                "noise_std must not be negative and permutations at least 1, got "
                f"{noise_std} and {permutations}"
            )
        self.noise_std, self.fitted = noise_std, fitted
        self.permutations, self.seed = permutations, seed

    def update(self, model: LatentImageModel, batch: ParticleBatch) -> None:
        """Decodes the latents of a batch, each for its own image and for another's.

        Args:
            model: The model.
            batch: Particles, or pairs of frames, which count one by one.

        Raises:
            ValueError: If the model infers no poses and the batch has none.
            TypeError: If the particles come as statistics and the model has no ``coefficients``.
        """
        batch = flatten_particles(batch)
        rows = self._of_statistics if "information" in batch else self._of_images
        # Rows without particles still tell other processes their shape.
        kept = slice(None) if len(batch["index"]) > 1 else slice(0)
        found = {name: values[kept] for name, values in rows(model, batch).items()}
        self.keep(batch["index"][kept], found)

    def _of_images(self, model: LatentImageModel, batch: ParticleBatch) -> dict[str, Tensor]:
        """Errors of images, each (B,)."""
        with evaluating(model):
            found = model.infer(batch)
            pose = particle_pose(found, batch)
            intervention = Intervention(
                batch, self.noise_std, self.seed, hide_pose=found.pose is not None
            )
            own = model.generate(found.mean, pose, batch)
            other = model.generate(intervention.permute_rows(found.mean, 1), pose, batch)
            error = _squared(batch["images"] - own)
            gain = _squared(batch["images"] - other) - error
            penalty = self._penalty(model, found, pose, intervention, own)
        return {"gain": gain, "penalty": penalty, "error": error}

    def _of_statistics(self, model: LatentImageModel, batch: ParticleBatch) -> dict[str, Tensor]:
        """Errors within the subspace, each (B,)."""
        mixer = getattr(model, "module", model)
        if not isinstance(mixer, MixesVolumes):
            raise TypeError(
                "the particles come as statistics, of which a model with "
                f"coefficients(conformation) expected, found {type(mixer).__name__}"
            )
        with evaluating(model):
            found = model.infer(batch)
            intervention = Intervention(batch, 0.0, self.seed, hide_pose=False)
            own = mixer.coefficients(found.mean)
            other = mixer.coefficients(intervention.permute_rows(found.mean, 1))
            shown = intervention.show(model, found.mean, particle_pose(found, batch))
            again = mixer.coefficients(model.infer(shown).mean)
        precision, information = exact(batch["precision"]), exact(batch["information"])
        own, other, again = exact(own), exact(other), exact(again)

        def beyond(information: Tensor, coefficients: Tensor) -> Tensor:
            return information - (precision @ coefficients[..., None])[..., 0]

        # Of the gain only the part with b: lengths of coefficients depend on the precision alone.
        gain = 2 * (beyond(information, own.mean(0, keepdim=True)) * (own - other)).sum(1)
        penalty = (beyond(exact(shown["information"]), own) * (again - own)).sum(1)
        # Own z may explain b wholly, so errors are counted in those that noise makes.
        error = torch.full_like(gain, own.shape[1])
        return {"gain": gain, "penalty": penalty, "error": error}

    def evaluate(self, rows: dict[str, Tensor]) -> dict[str, Tensor]:
        """Scores at least 2 particles; see `ParticleRowsMetric.evaluate`."""
        rows = {name: values.double() for name, values in rows.items()}
        gain = rows["gain"] - 2 * rows["penalty"]
        if len(gain) < 2:
            raise ValueError(f"at least 2 particles expected, got {len(gain)}")
        generator = torch.Generator().manual_seed(self.seed)
        signs = torch.randint(2, (self.permutations, len(gain)), generator=generator)
        null = (2 * signs - 1).to(gain) @ gain
        as_large = (null >= gain.sum()).sum().to(gain)
        error = rows["error"].mean().clamp(min=torch.finfo(gain.dtype).tiny)
        return {
            "decoding_gain": gain.mean() / error,
            "decoding_penalty": 2 * rows["penalty"].mean() / error,
            "decoding_p_value": (1 + as_large) / (1 + self.permutations),
            "decoding_particles": torch.tensor(float(len(gain)), dtype=gain.dtype),
        }

    def _penalty(
        self,
        model: LatentImageModel,
        found: Inference,
        pose: Pose,
        intervention: Intervention,
        own: Tensor,
    ) -> Tensor:
        """What noise alone gains, of each particle, shape (B,)."""
        if self.fitted:
            gained = found.mean.shape[1] * self.noise_std**2
            return exact(torch.full_like(found.mean[:, 0], gained))
        shown = intervention.show(model, found.mean, pose)
        again = model.generate(model.infer(shown).mean, pose, intervention.batch)
        # The mean of ε·g(z, φ) is 0; without it the estimate scatters less.
        return exact((shown["images"] - own) * (again - own)).flatten(1).sum(1)


def _squared(images: Tensor) -> Tensor:
    """Squared norms of images, shape (B,)."""
    return exact(images).square().flatten(1).sum(1)
