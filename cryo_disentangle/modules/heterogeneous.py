"""Heterogeneous reconstruction, with known or inferred poses, as a LightningModule."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache, partial
from typing import Any, Literal, cast

import lightning as L
import numpy as np
import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torchmetrics import MeanMetric

from cryo_disentangle.decoders import ImplicitDecoder
from cryo_disentangle.encoders import MLPEncoder
from cryo_disentangle.imaging import FourierDisc, contrast_transfer, ctf_terms, shift_hartley
from cryo_disentangle.imaging.observation import Observation
from cryo_disentangle.losses import Schedule, weight_at
from cryo_disentangle.priors import StandardNormal
from cryo_disentangle.protocols import ConformationPrior, Penalty, VolumeDecoder
from cryo_disentangle.types import Inference, ParticleBatch, Pose, flatten_particles

__all__ = ["HeterogeneousReconstruction"]


class HeterogeneousReconstruction(L.LightningModule):
    """Variational autoencoder of particle images.

    The encoder reads a centred, phase-flipped image and gives the posterior of its conformation;
    the decoder renders the slice of that conformation's volume from the particle's direction; the
    CTF is applied and the difference to the image squared:

        loss = mean |CTF · slice - image|² + kl_weight · KL / M + Σ penalties,

    the mean over the M Fourier coefficients inside the circle of radius D / 2 and over the batch.
    Directions are the batch's, or, with a pose head, inferred from the image: the head may propose
    several, of which the one that renders the image best is taken and alone gets a gradient
    (Levy et al. 2022, cryoAI). Batches of pairs of frames give their prior the pairs; all else
    sees single particles.
    Randomness in a training step is a function of seed, process, epoch and batch alone, so that a
    run that is killed and resumed ends with the weights of one that was not.

    Args:
        box_size: Image side D in pixels, even; the data set's, filled in by the command line.
        conformation_dim: Number Z of conformation coordinates.
        encoder: Makes the encoder from (number of coefficients, Z). One that has ``reads_index``
            set, a `LatentTable`, is made from (number of particles, Z) and gets each particle's row
            in the stack instead of its image. One that has ``renders`` set, a `RenderedPosterior`,
            gets the decoder's slices from each particle's pose besides its image.
        decoder: Makes the decoder from (D, Z).
        prior: Prior of the conformation; null is the standard normal.
        pose_head: Makes the network that proposes rotations (B, H, 3, 3) from the number of
            coefficients; null takes the batch's poses. Translations are always the batch's.
        conformation_warmup: Number of first steps in which the conformation is held at 0, a
            homogeneous reconstruction first, as ab-initio programs begin.
        encoder_reads_pose: Whether the encoder also reads the nine entries of the known rotation;
            its factory then gets the number of coefficients plus nine.
        penalties: Terms added to the loss, logged under their names. They compare particles, so a
            batch of only one goes without; under DDP it is refused where one has parameters.
        kl_weight: Weight of the KL divergence, a number or a schedule; null is 1 / Z, cryoDRGN's.
        optimizer: Makes the optimiser from the parameters.
        lr_scheduler: Makes the learning-rate schedule from the optimiser; null is a constant rate.
        lr_interval: Whether the learning rate changes every ``step`` or every ``epoch``.
        encoder_radius: Radius in Fourier pixels of what the encoder reads; null is D / 2, -1 all.
        coefficient_share: Share of the M coefficients that a training step renders and compares, a
            random subset that is another at each step: an unbiased estimate of the loss and its
            gradient, for as much less arithmetic in decoders that render coefficients one by one.
            The encoder reads, and validation compares, all of them.
        compile_decoder: Whether ``torch.compile`` fuses what the decoder renders; the first steps
            then take a minute.
        n_particles: Number of particles of the stack, for an encoder that reads their rows; the
            data set's.
        pixel_size: Å per pixel, for written volumes; the data set's.
        intensity_scale: Unit of the normalised images in those of the stack; the data set's.
        seed: Seed of the draws from the posterior.

    Raises:
        ValueError: If the box size is odd, ``conformation_dim`` is not positive, the warm-up or the
            weight of the divergence is negative, ``coefficient_share`` is not within 0 and 1, an
            encoder is to read or render from a pose that is to be inferred, or one reads rows and
            their number is not known or it is to read poses too, or the decoder is made for another
            pixel size; in training, if the precision is too low for poses and CTFs.
        TypeError: If the decoder can't render.

    References:
        Zhong et al. 2021, cryoDRGN; Kingma and Welling 2014, Eq. 10; Levy et al. 2022, cryoAI.
    """

    decoder: VolumeDecoder
    prior: ConformationPrior

    def __init__(  # noqa: PLR0913 - each is a key of the configuration file
        self,
        box_size: int,
        conformation_dim: int = 8,
        encoder: Callable[[int, int], nn.Module] = MLPEncoder,
        decoder: Callable[[int, int], nn.Module] = ImplicitDecoder,
        prior: ConformationPrior | None = None,
        pose_head: Callable[[int], nn.Module] | None = None,
        conformation_warmup: int = 0,
        encoder_reads_pose: bool = False,
        penalties: Mapping[str, Penalty] | None = None,
        kl_weight: float | Schedule | None = None,
        optimizer: OptimizerCallable = lambda p: torch.optim.Adam(p, lr=1e-4),
        lr_scheduler: LRSchedulerCallable | None = None,
        lr_interval: Literal["step", "epoch"] = "epoch",
        encoder_radius: int | None = None,
        coefficient_share: float = 1.0,
        compile_decoder: bool = False,
        n_particles: int | None = None,
        pixel_size: float = 1.0,
        intensity_scale: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if conformation_dim < 1:
            raise ValueError(f"conformation_dim must be at least 1, found {conformation_dim}")
        if conformation_warmup < 0:
            raise ValueError(
                f"conformation_warmup must not be negative, found {conformation_warmup}"
            )
        if encoder_reads_pose and pose_head is not None:
            raise ValueError("an encoder can't read the pose (encoder_reads_pose) that it infers")
        if not 0 < coefficient_share <= 1:
            raise ValueError(
                f"coefficient_share must be above 0 and at most 1, found {coefficient_share}"
            )
        self.coefficient_share, self.compile_decoder = coefficient_share, compile_decoder
        self.box_size = box_size
        self.conformation_dim = conformation_dim
        self.pixel_size = pixel_size
        self.intensity_scale = intensity_scale
        self.seed = seed
        self.disc = FourierDisc(box_size)
        self.encoder_disc = (
            self.disc if encoder_radius is None else FourierDisc(box_size, encoder_radius)
        )
        # Nothing is rendered beyond D / 2, and for an encoder that reads less nothing it ignores.
        self.rendered_disc = self.disc if encoder_radius == -1 else self.encoder_disc
        self.conformation_warmup, self._warming_up = conformation_warmup, False
        self.encoder_reads_pose = encoder_reads_pose
        read = len(self.encoder_disc)
        self.encoder = encoder(read + 9 if encoder_reads_pose else read, conformation_dim)
        self._reads_index = bool(getattr(self.encoder, "reads_index", False))
        self._encoder_renders = bool(getattr(self.encoder, "renders", False))
        if self._encoder_renders and (pose_head is not None or encoder_reads_pose):
            raise ValueError(
                f"{type(self.encoder).__name__} renders from known poses: it goes with no pose "
                "head, and there is nothing to set encoder_reads_pose for"
            )
        if self._reads_index:
            # What a factory makes tells alone what it reads, so it is asked again.
            rows = _rows_of_table(self.encoder, n_particles, encoder_reads_pose)
            self.encoder = encoder(rows, conformation_dim)
        self.pose_head = None if pose_head is None else pose_head(read)
        self.decoder = cast(VolumeDecoder, decoder(box_size, conformation_dim))
        if not callable(getattr(self.decoder, "render", None)):
            raise TypeError(
                "a decoder needs render(conformation, rotation, disc) and volume(conformation), "
                f"found {type(self.decoder).__name__}"
            )
        # Atoms have a size in Å, so that such a decoder has a pixel size of its own.
        placed = getattr(self.decoder, "pixel_size", pixel_size)
        if not math.isclose(placed, pixel_size, rel_tol=1e-3):
            raise ValueError(
                f"the decoder is made for {placed:g} Å per pixel, the particles have {pixel_size:g}"
            )
        self.prior = StandardNormal() if prior is None else prior
        self.penalties = nn.ModuleDict(dict(penalties or {}))  # type: ignore[arg-type]
        self._kl_weight = 1 / conformation_dim if kl_weight is None else kl_weight
        weight_at(self._kl_weight, 0)  # refuses a wrong one before the run
        self._make_optimizer, self._make_scheduler = optimizer, lr_scheduler
        self._lr_interval = lr_interval
        self.validation = nn.ModuleDict(
            {name: MeanMetric() for name in ("loss", "reconstruction", "kl", *self.penalties)}
        )

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
        disc = self.rendered_disc
        slices = self._render(conformation, pose.rotation, disc)
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

    def training_step(self, batch: ParticleBatch, batch_idx: int) -> Tensor:  # noqa: ARG002
        """Evaluates the loss of a batch and logs its terms.

        Args:
            batch: Particles with known rotations.
            batch_idx: Number of the batch in this epoch.

        Returns:
            The loss, a scalar.
        """
        terms = self._terms(batch, sample=True)
        count = batch["index"].numel()
        for name, value in terms.items():
            self.log(f"train/{name}", value, prog_bar=name == "loss", batch_size=count)
        for name, penalty in self.penalties.items():
            for part, value in getattr(penalty, "terms", {}).items():
                self.log(f"train/{name}/{part}", value, batch_size=count)
        return terms["loss"]

    def validation_step(self, batch: ParticleBatch, batch_idx: int) -> None:  # noqa: ARG002
        """Evaluates the loss at the posterior means and logs its terms over all particles.

        Args:
            batch: Particles with known rotations.
            batch_idx: Number of the batch.
        """
        count = batch["index"].numel()
        for name, value in self._terms(batch, sample=False).items():
            metric = cast(MeanMetric, self.validation[name])
            metric.update(value, weight=count)
            self.log(f"val/{name}", metric, prog_bar=name == "loss", batch_size=count)

    def test_step(self, batch: ParticleBatch, batch_idx: int) -> None:
        """The same as `validation_step`.

        Args:
            batch: Particles with known rotations.
            batch_idx: Number of the batch.
        """
        self.validation_step(batch, batch_idx)

    def predict_step(self, batch: ParticleBatch, batch_idx: int) -> dict[str, Tensor]:  # noqa: ARG002
        """Infers conformations.

        Args:
            batch: Particles.
            batch_idx: Number of the batch.

        Returns:
            ``index`` (B,), posterior ``mean`` and ``log_variance`` (B, Z), and where the model
            infers poses ``rotation`` (B, 3, 3) and ``translation`` (B, 2).
        """
        inference = self.infer(batch)
        outputs = {
            "index": batch["index"],
            "mean": inference.mean,
            "log_variance": inference.log_variance,
        }
        if inference.pose is not None:
            rotation, translation = inference.pose[:2]
            outputs["rotation"] = rotation
            outputs["translation"] = (
                rotation.new_zeros(len(rotation), 2) if translation is None else translation
            )
        return outputs

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:  # noqa: ANN401, ARG002
        """Seeds this step's random draws, differently on every process, and ends the warm-up.

        Args:
            batch: Not read.
            batch_idx: Number of the batch in this epoch.
        """
        key = [self.seed, self.global_rank, self.current_epoch, batch_idx]
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1))
        self._warming_up = self.global_step < self.conformation_warmup

    def setup(self, stage: str) -> None:  # noqa: ARG002
        """Refuses half precision throughout.

        Args:
            stage: Not read.

        Raises:
            ValueError: If the Trainer's precision is ``16-true`` or ``bf16-true``.
        """
        precision = self.trainer.precision
        if precision in ("16-true", "bf16-true"):
            raise ValueError(
                f"precision {precision} would round poses and CTFs to three digits: use "
                f"{str(precision).replace('true', 'mixed')}, which keeps them whole"
            )

    def on_fit_start(self) -> None:
        """Begins or goes on with the warm-up."""
        self._warming_up = self.global_step < self.conformation_warmup

    def on_fit_end(self) -> None:
        """Lets a model that was stopped in its warm-up be evaluated with its conformations."""
        self._warming_up = False

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps the box size and the units of written volumes.

        Args:
            checkpoint: What is saved.
        """
        checkpoint["box_size"] = self.box_size
        checkpoint["volume_units"] = {
            "pixel_size": float(self.pixel_size),
            "intensity_scale": float(self.intensity_scale),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes the units of written volumes from training, whatever stack is at hand now.

        Weights are compared with the model's here, for torch would list them all.

        Args:
            checkpoint: What was saved.

        Raises:
            ValueError: If the checkpoint is of a model for another box size or of other networks.
        """
        if checkpoint["box_size"] != self.box_size:
            raise ValueError(
                f"the checkpoint is of a model for box size {checkpoint['box_size']}, the "
                f"particles have box size {self.box_size}"
            )
        for name, value in self.state_dict().items():
            saved = checkpoint["state_dict"].get(name)
            if isinstance(value, Tensor) and (saved is None or saved.shape != value.shape):
                found = "none" if saved is None else f"shape {tuple(saved.shape)}"
                raise ValueError(
                    f"the checkpoint is of a model with other networks: for {name} of shape "
                    f"{tuple(value.shape)} it has {found}; give the config.yaml of its run"
                )
        units = checkpoint["volume_units"]
        self.pixel_size, self.intensity_scale = units["pixel_size"], units["intensity_scale"]

    def configure_optimizers(self) -> Any:  # noqa: ANN401 - Lightning's union of a dozen types
        """Makes the optimiser and the learning-rate schedule.

        Returns:
            What Lightning takes.
        """
        optimizer = self._make_optimizer([p for p in self.parameters() if p.requires_grad])
        if self._make_scheduler is None:
            return optimizer
        scheduler = {"scheduler": self._make_scheduler(optimizer), "interval": self._lr_interval}
        return {"optimizer": optimizer, "lr_scheduler": scheduler}

    def _terms(self, batch: ParticleBatch, *, sample: bool) -> dict[str, Tensor]:
        """The loss and what it is made of."""
        particles = flatten_particles(batch)
        observation = Observation.of(particles, self.disc, self.box_size)
        if self.encoder_disc is self.disc:
            inference = self._encode(particles, observation)
        else:
            inference = self.infer(particles)
        conformation = inference.sample() if sample else inference.mean
        pose = inference.pose
        rotation = _known_rotation(particles) if pose is None else pose.rotation
        disc = self.disc
        if sample and self.coefficient_share < 1:
            disc, positions = disc.random_subset(self.coefficient_share)
            observation = observation.at(positions)
        slices = self._render(self._switched(conformation), rotation, disc)
        reconstruction = nn.functional.mse_loss(
            observation.transferred(slices), observation.coefficients
        )
        inference = inference.reshape(*batch["index"].shape)
        kl = self.prior.kl(inference, batch).mean()
        terms = {"reconstruction": reconstruction, "kl": kl}
        loss = reconstruction + weight_at(self._kl_weight, self.global_step) / len(self.disc) * kl
        # What a stack's last batch may be: a lone particle has no other to be compared with.
        if len(particles["index"]) > 1:
            for name, penalty in self.penalties.items():
                terms[name] = penalty(self, batch, inference)
                loss = loss + terms[name]
        elif sample:
            _refuse_unused(self.penalties)
        return {"loss": loss, **terms}

    def _render(self, conformation: Tensor, rotation: Tensor, disc: FourierDisc) -> Tensor:
        """The decoder's slices (B, M)."""
        render = _compiled_render() if self.compile_decoder else _render
        return render(self.decoder, conformation, rotation, disc)

    def _switched(self, conformation: Tensor) -> Tensor:
        """Holds the conformation at 0 in the warm-up."""
        # A product keeps all parameters in the graph, as DDP needs.
        return conformation * 0.0 if self._warming_up else conformation

    def _encode(self, batch: ParticleBatch, observation: Observation) -> Inference:
        if self._encoder_renders:
            mean, log_variance = self.encoder(
                observation.coefficients,
                partial(self._rendered, _known_rotation(batch), observation),
            )
            return Inference(self._switched(mean), log_variance)
        flipped = observation.phase_flipped
        read = batch["index"] if self._reads_index else flipped
        if self.encoder_reads_pose:
            read = torch.cat([flipped, _known_rotation(batch).flatten(1)], dim=-1)
        mean, log_variance = self.encoder(read)
        mean = self._switched(mean)
        if self.pose_head is None:
            return Inference(mean, log_variance)
        rotation = self._best(self.pose_head(flipped), mean, observation)
        return Inference(mean, log_variance, Pose(rotation, batch.get("translation")))

    def _rendered(self, rotation: Tensor, observation: Observation, points: Tensor) -> Tensor:
        """Renders P conformations (B, P, Z) of each particle as it is seen, shape (B, P, M)."""
        turned = rotation.repeat_interleave(points.shape[1], 0)
        slices = self._render(points.flatten(0, 1), turned, self.encoder_disc)
        slices = slices.unflatten(0, points.shape[:2])
        transfer = observation.transfer
        return slices if transfer is None else slices * transfer[:, None]

    def _best(self, proposed: Tensor, conformation: Tensor, observation: Observation) -> Tensor:
        """Of each particle's proposed rotations (B, H, 3, 3) the one that renders it best."""
        count = proposed.shape[1]
        if count == 1:
            return proposed[:, 0]
        with torch.no_grad():
            seen = observation.repeated(count)
            slices = self._render(
                conformation.repeat_interleave(count, 0), proposed.flatten(0, 1), self.encoder_disc
            )
            error = (seen.transferred(slices) - seen.coefficients).square().mean(-1)
            chosen = error.unflatten(0, (-1, count)).argmin(1)
        return proposed[torch.arange(len(chosen), device=chosen.device), chosen]


def _render(
    decoder: VolumeDecoder, conformation: Tensor, rotation: Tensor, disc: FourierDisc
) -> Tensor:
    """Calls the decoder."""
    return decoder.render(conformation, rotation, disc)


@lru_cache(maxsize=1)
def _compiled_render() -> Callable[[VolumeDecoder, Tensor, Tensor, FourierDisc], Tensor]:
    """The same, compiled; outside the module, whose copies and checkpoints then stay plain."""
    return torch.compile(_render)


def _refuse_unused(penalties: nn.ModuleDict) -> None:
    """Refuses to leave out penalties whose parameters other processes wait for."""
    learned = [name for name, penalty in penalties.items() if any(_trained(penalty))]
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    if learned and distributed and torch.distributed.get_world_size() > 1:
        raise ValueError(
            f"a batch of one particle leaves out penalties, for they compare particles, but with "
            f"several processes the parameters of {', '.join(learned)} need a gradient at each "
            "step: give a batch_size of at least 2"
        )


def _trained(module: nn.Module) -> Iterator[bool]:
    """Whether each parameter is trained."""
    return (parameter.requires_grad for parameter in module.parameters())


def _rows_of_table(encoder: nn.Module, n_particles: int | None, reads_pose: bool) -> int:
    """Number of particles that an encoder which reads rows is made for."""
    name = type(encoder).__name__
    if reads_pose:
        raise ValueError(f"{name} reads rows of the stack and no poses: unset encoder_reads_pose")
    if n_particles is None:
        raise ValueError(
            f"{name} has a row for each particle of a stack and needs n_particles, which the "
            "command line takes from ParticleData; other data may have new particles each epoch"
        )
    return n_particles


def _known_rotation(batch: ParticleBatch) -> Tensor:
    """The batch's rotations."""
    if "rotation" not in batch:
        raise ValueError(
            "the particles have no poses and this model needs known ones: give poses "
            "(poses.pkl), or a .star or .cs file with angles"
        )
    return batch["rotation"]
