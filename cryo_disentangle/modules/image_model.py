"""The model of particle images as plain torch, for any training loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from cryo_disentangle.decoders import ImplicitDecoder
from cryo_disentangle.encoders import MLPEncoder
from cryo_disentangle.imaging import FourierDisc, contrast_transfer, shift_hartley
from cryo_disentangle.imaging.ctf import ctf_terms
from cryo_disentangle.imaging.observation import Observation
from cryo_disentangle.losses.schedules import Schedule, weight_at
from cryo_disentangle.modules.checks import check_encoder, checked_decoder
from cryo_disentangle.modules.evidence import ImageEvidence, known_rotation
from cryo_disentangle.modules.objective import add_penalties
from cryo_disentangle.modules.settings import ModelSettings
from cryo_disentangle.priors import StandardNormal
from cryo_disentangle.protocols import (
    ConformationEncoder,
    ConformationPrior,
    Penalty,
    VolumeDecoder,
)
from cryo_disentangle.protocols.inference import EncoderSetting, NeedsSetting
from cryo_disentangle.protocols.models import ImageNetworks
from cryo_disentangle.types import Inference, ParticleBatch, Pose, flatten_particles

__all__ = ["HeterogeneousModel"]

_Function = TypeVar("_Function", bound=Callable[..., Any])


class HeterogeneousModel(nn.Module):
    """Variational autoencoder of particle images, a plain `torch.nn.Module`.

    `HeterogeneousReconstruction` is the same model as a LightningModule and describes what it
    computes; their state dicts are the same. In a loop of one's own:

        for step, batch in enumerate(batches):
            model.begin_step(step)
            loss = model.loss_terms(batch, step=step, sample=True)["loss"]

    Args:
        box_size: Image side D in pixels, even.
        conformation_dim: Number Z of conformation coordinates.
        encoder: Makes the encoder, a `ConformationEncoder` or a network, from (number of
            coefficients, Z).
        decoder: Makes the decoder from (D, Z).
        prior: Prior of the conformation; None is the standard normal.
        pose_head: Makes the network that proposes rotations from the number of coefficients; None
            takes the batch's poses.
        penalties: Terms added to the loss, by name.
        kl_weight: Weight of the KL divergence, a number or a schedule; None is 1 / Z.
        settings: Numbers and switches; None are the defaults.

    Raises:
        ValueError: If a number is out of range, or parts are incompatible.
        TypeError: If the decoder can't render.
    """

    decoder: VolumeDecoder
    prior: ConformationPrior

    def __init__(  # noqa: PLR0913 - its parts, and what is counted is in the settings
        self,
        box_size: int,
        conformation_dim: int = 8,
        encoder: Callable[[int, int], nn.Module] = MLPEncoder,
        decoder: Callable[[int, int], nn.Module] = ImplicitDecoder,
        prior: ConformationPrior | None = None,
        pose_head: Callable[[int], nn.Module] | None = None,
        penalties: Mapping[str, Penalty] | None = None,
        kl_weight: float | Schedule | None = None,
        settings: ModelSettings | None = None,
    ) -> None:
        super().__init__()
        settings = ModelSettings() if settings is None else settings
        if conformation_dim < 1:
            raise ValueError(f"conformation_dim must be at least 1, found {conformation_dim}")
        settings.check()
        if settings.encoder_reads_pose and pose_head is not None:
            raise ValueError("an encoder can't read the pose (encoder_reads_pose) that it infers")
        self.box_size, self.conformation_dim = box_size, conformation_dim
        self._take(settings)
        reads, read = settings.encoder_reads_pose, len(self.encoder_disc)
        self.encoder = encoder(read + 9 if reads else read, conformation_dim)
        check_encoder(self.encoder)
        if isinstance(self.encoder, NeedsSetting):
            self.encoder.bind(EncoderSetting(settings.n_particles, reads, pose_head is not None))
        self.pose_head = None if pose_head is None else pose_head(read)
        self.decoder = checked_decoder(decoder(box_size, conformation_dim), settings.pixel_size)
        self.prior = StandardNormal() if prior is None else prior
        self.penalties = nn.ModuleDict(dict(penalties or {}))  # type: ignore[arg-type]
        self._kl_weight = 1 / conformation_dim if kl_weight is None else kl_weight
        weight_at(self._kl_weight, 0)  # refuses a wrong one before the run

    def _take(self, settings: ModelSettings) -> None:
        """Takes the settings and lays out the discs."""
        self.conformation_warmup, self._warming_up = settings.conformation_warmup, False
        self.encoder_reads_pose = settings.encoder_reads_pose
        self.coefficient_share = settings.coefficient_share
        self.compiled = settings.compile
        self.pixel_size, self.intensity_scale = settings.pixel_size, settings.intensity_scale
        radius = settings.encoder_radius
        self.disc = FourierDisc(self.box_size)
        self.encoder_disc = self.disc if radius is None else FourierDisc(self.box_size, radius)
        # Nothing is rendered beyond D / 2, and for an encoder that reads less nothing it ignores.
        self.rendered_disc = self.disc if radius == -1 else self.encoder_disc

    def infer(self, batch: ParticleBatch) -> Inference:
        """Infers the posterior of the conformation, and the pose where the model has a pose head.

        Args:
            batch: Single particles: ``images`` as Hartley transforms (B, L, L); ``translation`` and
                ``ctf`` are used where present.

        Returns:
            Posterior of B conformations, 0 during the warm-up; its pose is None where the batch's
            is taken.

        Raises:
            ValueError: If the images are of another size than the model's.
        """
        return self._fused(HeterogeneousModel._infer)(self, batch)

    def _infer(self, batch: ParticleBatch) -> Inference:
        return self._encode(batch, Observation.of(batch, self.encoder_disc, self.box_size))

    def generate(self, conformation: Tensor, pose: Pose, batch: ParticleBatch) -> Tensor:
        """Renders noise-free images as the data set would deliver them.

        Only the coefficients that the encoder reads are rendered, the others are zero.

        Args:
            conformation: Shape (B, Z).
            pose: Where the B particles are seen from; a translation moves the content by its
                opposite, so that moving by the translation centres it.
            batch: Its ``ctf`` is applied where present.

        Returns:
            Hartley transforms, shape (B, L, L).
        """
        return self._fused(HeterogeneousModel._generate)(self, conformation, pose, batch)

    def _generate(self, conformation: Tensor, pose: Pose, batch: ParticleBatch) -> Tensor:
        disc = self.rendered_disc
        slices = self.decoder.render(conformation, pose.rotation, disc)
        if "ctf" in batch:
            terms = ctf_terms(batch)
            slices = slices * contrast_transfer(
                disc.frequencies, batch["ctf"], self.box_size, **terms
            )
        if pose.translation is not None:
            slices = shift_hartley(slices, disc.frequencies, -pose.translation)
        return disc.scatter(slices)

    def volume(self, conformation: Tensor, box_size: int | None = None) -> Tensor:
        """Evaluates the density of one conformation in the stack's intensity units.

        Args:
            conformation: Shape (Z,).
            box_size: Side d of the grid, even and at most D; None is D. Its voxels measure
                ``pixel_size * D / d``.

        Returns:
            Shape (d, d, d), axes z, y, x; the sum along z is the centred image at rotation 1.
        """
        return self.decoder.volume(conformation, box_size) * self.intensity_scale

    def begin_step(self, step: int | None) -> None:
        """Holds the conformation at 0 in the steps of the warm-up.

        Args:
            step: Optimiser step; None ends a warm-up that training was stopped in.
        """
        self._warming_up = step is not None and step < self.conformation_warmup

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
            sample: Whether conformations are drawn from the posteriors, and coefficients from the
                disc, as in training; an evaluation takes posterior means and all coefficients.
            generator: Source of these draws on the batch's device; None is torch's global one.
                Penalties draw from their own.

        Returns:
            Scalars by name: ``loss``, ``reconstruction``, ``kl`` and the penalties.

        Raises:
            ValueError: If poses are missing, or the images are of another size.
        """
        compute = HeterogeneousModel._evidence
        # No compiler takes a generator.
        compute = self._fused(compute) if generator is None else compute
        inference, reconstruction, kl = compute(self, batch, sample, generator)
        loss = reconstruction + weight_at(self._kl_weight, step) / len(self.disc) * kl
        terms = {"loss": loss, "reconstruction": reconstruction, "kl": kl}
        return add_penalties(terms, self.penalties, self, batch, inference, training=sample)

    def _evidence(
        self, batch: ParticleBatch, sample: bool, generator: torch.Generator | None
    ) -> tuple[Inference, Tensor, Tensor]:
        """Posterior of the batch's leading shape, squared error and KL divergence."""
        particles = flatten_particles(batch)
        observation = Observation.of(particles, self.disc, self.box_size)
        if self.encoder_disc is self.disc:
            inference = self._encode(particles, observation)
        else:
            inference = self._infer(particles)
        conformation = inference.sample(generator) if sample else inference.mean
        pose = inference.pose
        rotation = known_rotation(particles) if pose is None else pose.rotation
        disc = self.disc
        if sample and self.coefficient_share < 1:
            disc, positions = disc.random_subset(self.coefficient_share, generator)
            observation = observation.at(positions)
        slices = self.decoder.render(self._switched(conformation), rotation, disc)
        reconstruction = nn.functional.mse_loss(
            observation.transferred(slices), observation.coefficients
        )
        inference = inference.reshape(*batch["index"].shape)
        return inference, reconstruction, self.prior.kl(inference, batch).mean()

    def image_networks(self) -> ImageNetworks:
        """Returns the networks that other programs may know how to use."""
        setting = EncoderSetting(None, self.encoder_reads_pose, self.pose_head is not None)
        return ImageNetworks(self.encoder, self.encoder_disc, self.decoder, setting)

    def _fused(self, function: _Function) -> _Function:
        """A function of the model as training calls it: compiled, where that is asked for."""
        wanted = self.compiled and self.training and not torch.compiler.is_compiling()
        return _compiled(function) if wanted else function

    def _switched(self, conformation: Tensor) -> Tensor:
        """Holds the conformation at 0 in the warm-up."""
        # A product keeps all parameters in the graph, as DDP needs.
        return conformation * 0.0 if self._warming_up else conformation

    def _encode(self, batch: ParticleBatch, observation: Observation) -> Inference:
        """Infers from coefficients of the encoder's disc."""
        evidence = ImageEvidence(
            batch,
            observation,
            lambda conformation, rotation: self.decoder.render(
                conformation, rotation, self.encoder_disc
            ),
            reads_pose=self.encoder_reads_pose,
        )
        if isinstance(self.encoder, ConformationEncoder):
            found = self.encoder.posterior(evidence)
        else:
            found = Inference(*self.encoder(evidence.features))
        found = found._replace(mean=self._switched(found.mean))
        if self.pose_head is None:
            return found
        proposed = self.pose_head(evidence.phase_flipped)
        rotation = self._best(proposed, found.mean, observation)
        return found._replace(pose=Pose(rotation, batch.get("translation")))

    def _best(self, proposed: Tensor, conformation: Tensor, observation: Observation) -> Tensor:
        """Of each particle's proposed rotations (B, H, 3, 3) the one that renders it best."""
        count = proposed.shape[1]
        if count == 1:
            return proposed[:, 0]
        with torch.no_grad():
            seen = observation.repeated(count)
            slices = self.decoder.render(
                conformation.repeat_interleave(count, 0), proposed.flatten(0, 1), self.encoder_disc
            )
            error = (seen.transferred(slices) - seen.coefficients).square().mean(-1)
            chosen = error.unflatten(0, (-1, count)).argmin(1)
        return proposed[torch.arange(len(chosen), device=chosen.device), chosen]


@lru_cache(maxsize=3)
def _compiled(function: _Function) -> _Function:
    """The same, compiled; outside the module, whose copies and checkpoints then stay plain.

    Shapes are static, or the last batch of an epoch, which is smaller, would make them symbols for
    all batches after it.
    """
    return cast(_Function, torch.compile(function, dynamic=False))
