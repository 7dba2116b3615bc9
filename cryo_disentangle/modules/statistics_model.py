"""A model of particles' statistics in a subspace of volumes, as a plain module."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from cryo_disentangle.decoders import BasisDecoder
from cryo_disentangle.encoders import StatisticsEncoder
from cryo_disentangle.losses.schedules import Schedule, weight_at
from cryo_disentangle.modules.objective import add_penalties
from cryo_disentangle.priors import StandardNormal
from cryo_disentangle.protocols import ConformationPrior, Penalty
from cryo_disentangle.statistics.posterior import draw_information
from cryo_disentangle.types import (
    Inference,
    ParticleBatch,
    Pose,
    flatten_particles,
    known_precision,
)

__all__ = ["StatisticsModel"]

_EVALUATION = 20


class StatisticsModel(nn.Module):
    """Variational autoencoder of statistics (Λ_i, b_i): coefficients c = φ(z) of K volumes.

        loss = E_q [½ φ(z)ᵀ Λ φ(z) - bᵀ φ(z)] + kl_weight · KL + Σ penalties,

    in nats a particle: up to the weight the negative evidence lower bound of the images, relative
    to the mean volume. The volumes are the decoder's and are held; φ, its mixture, is trained.

    Args:
        decoder: Explicit volumes with a mixture φ.
        conformation_dim: Number Z of conformation coordinates.
        encoder: Makes the encoder from (K, Z): a network of information vectors and precisions that
            returns an `Inference`.
        prior: Prior of the conformation; None is the standard normal.
        penalties: Terms added to the loss, as for images.
        kl_weight: Weight of the KL divergence, a number or a schedule; 1 is the likelihood's bound.
        pixel_size: Å per pixel, for written volumes.
        intensity_scale: Unit of the normalised images in those of the stack.

    Raises:
        ValueError: If ``conformation_dim`` is not positive or the divergence's weight negative.
    """

    prior: ConformationPrior

    def __init__(
        self,
        decoder: BasisDecoder,
        conformation_dim: int,
        encoder: Callable[[int, int], nn.Module] = StatisticsEncoder,
        prior: ConformationPrior | None = None,
        penalties: Mapping[str, Penalty] | None = None,
        kl_weight: float | Schedule = 1.0,
        pixel_size: float = 1.0,
        intensity_scale: float = 1.0,
    ) -> None:
        super().__init__()
        if conformation_dim < 1:
            raise ValueError(f"conformation_dim must be at least 1, found {conformation_dim}")
        self.conformation_dim = conformation_dim
        self.box_size = decoder.box_size
        self.pixel_size, self.intensity_scale = pixel_size, intensity_scale
        self.encoder = encoder(decoder.rank, conformation_dim)
        self.decoder = decoder
        self.decoder.coefficients.requires_grad_(False)
        self.prior = StandardNormal() if prior is None else prior
        self.penalties = nn.ModuleDict(dict(penalties or {}))  # type: ignore[arg-type]
        self._kl_weight = kl_weight
        weight_at(kl_weight, 0)  # refuses a wrong one before the run

    def infer(self, batch: ParticleBatch) -> Inference:
        """Infers the posterior of the conformation.

        Args:
            batch: Single particles: ``information`` (B, K) and ``precision`` (B, K, K).

        Returns:
            Posterior of B conformations, with a full covariance; its pose is None.

        Raises:
            ValueError: If the particles have images and no statistics, or statistics of another
                number of coefficients.
        """
        if "information" not in batch:
            raise ValueError(
                "this model reads statistics and the particles have none: give StatisticsData, or "
                "assemble a model of images first"
            )
        found: Inference = self.encoder(batch["information"], batch["precision"])
        return found

    def generate(self, conformation: Tensor, pose: Pose, batch: ParticleBatch) -> Tensor:
        """Draws information vectors of conformations, seen as other particles were imaged.

        b' = Λ φ(z) + Λ^½ ε has exactly the law of statistics of images taken so; ε is drawn from
        torch's global generator.

        Args:
            conformation: Shape (B, Z).
            pose: How each is imaged: its precision Λ, (B, K, K).
            batch: Not read.

        Returns:
            Shape (B, K).

        Raises:
            ValueError: If the poses have no precision.
        """
        del batch  # its CTF is part of the precision
        precision = known_precision(pose)
        with torch.autocast(precision.device.type, enabled=False):
            return draw_information(self.decoder.mixture(conformation.float()), precision.float())

    def coefficients(self, conformation: Tensor) -> Tensor:
        """Evaluates φ(z), what the subspace's volumes are mixed with.

        Args:
            conformation: Shape (B, Z).

        Returns:
            Shape (B, K).
        """
        return self.decoder.mixture(conformation)

    def volume(self, conformation: Tensor, box_size: int | None = None) -> Tensor:
        """Evaluates the density of one conformation in the stack's intensity units.

        Args:
            conformation: Shape (Z,).
            box_size: Side d of the grid, even and at most D; None is D.

        Returns:
            Shape (d, d, d), axes z, y, x.
        """
        return self.decoder.volume(conformation, box_size) * self.intensity_scale

    def loss_terms(
        self,
        batch: ParticleBatch,
        *,
        step: int,
        sample: bool,
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """Evaluates the loss and what it is made of.

        Args:
            batch: Particles, or pairs of frames.
            step: Optimiser step, for the schedule of the KL divergence's weight.
            sample: Whether it is a training step; an evaluation draws the same way every time.
            generator: Source of the draws on the batch's device; None is torch's global one in
                training. Penalties draw from their own.

        Returns:
            Scalars by name, in nats a particle: ``loss``, ``reconstruction`` (the negative
            log-likelihood relative to the mean volume), ``kl`` and the penalties.
        """
        particles = flatten_particles(batch)
        inference = self.infer(particles)
        if not sample and generator is None:
            generator = torch.Generator(inference.mean.device).manual_seed(_EVALUATION)
        conformation = inference.sample(generator)
        reconstruction = self._misfit(conformation, particles).mean()
        inference = inference.reshape(*batch["index"].shape)
        kl = self.prior.kl(inference, batch).mean()
        loss = reconstruction + weight_at(self._kl_weight, step) * kl
        terms = {"loss": loss, "reconstruction": reconstruction, "kl": kl}
        return add_penalties(terms, self.penalties, self, batch, inference, training=sample)

    def _misfit(self, conformation: Tensor, batch: ParticleBatch) -> Tensor:
        """½ φᵀ Λ φ - bᵀ φ, shape (B,)."""
        with torch.autocast(conformation.device.type, enabled=False):
            mixed = self.decoder.mixture(conformation.float())
            pulled = (batch["precision"].float() @ mixed[..., None])[..., 0]
            return ((0.5 * pulled - batch["information"].float()) * mixed).sum(-1)
