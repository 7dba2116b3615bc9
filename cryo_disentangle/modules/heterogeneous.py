"""Heterogeneous reconstruction with known poses: cryoDRGN's model as a LightningModule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, cast

import lightning as L
import numpy as np
import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torchmetrics import MeanMetric

from cryo_disentangle.decoders import ImplicitDecoder
from cryo_disentangle.encoders import MLPEncoder
from cryo_disentangle.imaging import FourierDisc, contrast_transfer, shift_hartley
from cryo_disentangle.losses import Schedule
from cryo_disentangle.priors import StandardNormal
from cryo_disentangle.protocols import ConformationPrior, Penalty, VolumeDecoder
from cryo_disentangle.types import Inference, ParticleBatch, Pose

__all__ = ["HeterogeneousReconstruction"]


class _Observation(NamedTuple):
    """What is compared with a rendered slice: centred coefficients and their CTF, (B, M) each."""

    coefficients: Tensor
    transfer: Tensor | None


class HeterogeneousReconstruction(L.LightningModule):
    """Variational autoencoder of particle images whose poses are known.

    The encoder reads a centred, phase-flipped image and gives the posterior of its conformation;
    the decoder renders the slice of that conformation's volume from the known direction; the CTF
    is applied and the difference to the image squared:

        loss = mean |CTF · slice - image|² + kl_weight · KL / M + Σ penalties,

    the mean over the M Fourier coefficients inside the circle of radius D / 2 and over the batch.
    Randomness in a training step is a function of seed, process, epoch and batch alone, so that a
    run that is killed and resumed ends with the weights of one that was not.

    Args:
        box_size: Image side D in pixels, even; the data set's, filled in by the command line.
        conformation_dim: Number Z of conformation coordinates.
        encoder: Makes the encoder from (number of coefficients, Z).
        decoder: Makes the decoder from (D, Z).
        prior: Prior of the conformation; null is the standard normal.
        penalties: Terms added to the loss, logged under their names.
        kl_weight: Weight of the KL divergence, a number or a schedule; null is 1 / Z, cryoDRGN's.
        optimizer: Makes the optimiser from the parameters.
        lr_scheduler: Makes the learning-rate schedule from the optimiser; null is a constant rate.
        lr_interval: Whether the learning rate changes every ``step`` or every ``epoch``.
        encoder_radius: Radius in Fourier pixels of what the encoder reads; null is D / 2, -1 all.
        pixel_size: Å per pixel, for written volumes; the data set's.
        intensity_scale: Unit of the normalised images in those of the stack; the data set's.
        seed: Seed of the draws from the posterior.

    Raises:
        ValueError: If the box size is odd or ``conformation_dim`` is not positive.
        TypeError: If the decoder can't render.

    References:
        Zhong et al. 2021, cryoDRGN; Kingma and Welling 2014, Eq. 10.
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
        penalties: Mapping[str, Penalty] | None = None,
        kl_weight: float | Schedule | None = None,
        optimizer: OptimizerCallable = lambda p: torch.optim.Adam(p, lr=1e-4),
        lr_scheduler: LRSchedulerCallable | None = None,
        lr_interval: Literal["step", "epoch"] = "epoch",
        encoder_radius: int | None = None,
        pixel_size: float = 1.0,
        intensity_scale: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if conformation_dim < 1:
            raise ValueError(f"conformation_dim must be at least 1, found {conformation_dim}")
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
        self.encoder = encoder(len(self.encoder_disc), conformation_dim)
        self.decoder = cast(VolumeDecoder, decoder(box_size, conformation_dim))
        if not callable(getattr(self.decoder, "render", None)):
            raise TypeError(
                "a decoder needs render(conformation, rotation, disc) and volume(conformation), "
                f"found {type(self.decoder).__name__}"
            )
        self.prior = StandardNormal() if prior is None else prior
        self.penalties = nn.ModuleDict(dict(penalties or {}))  # type: ignore[arg-type]
        self._kl_weight = 1 / conformation_dim if kl_weight is None else kl_weight
        self._make_optimizer, self._make_scheduler = optimizer, lr_scheduler
        self._lr_interval = lr_interval
        self.validation = nn.ModuleDict(
            {name: MeanMetric() for name in ("loss", "reconstruction", "kl", *self.penalties)}
        )

    def infer(self, batch: ParticleBatch) -> Inference:
        """Infers the posterior of the conformation from images and their known poses.

        Args:
            batch: ``images`` as Hartley transforms (B, L, L); ``translation`` and ``ctf`` are used
                where present.

        Returns:
            Posterior of B conformations; its pose is None, since the batch's is taken.

        Raises:
            ValueError: If the images are of another size than the model's.
        """
        return self._encode(self._observe(batch, self.encoder_disc))

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
        slices = self.decoder.render(conformation, pose.rotation, disc)
        if "ctf" in batch:
            slices = slices * contrast_transfer(disc.frequencies, batch["ctf"], self.box_size)
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
        count = len(batch["images"])
        for name, value in terms.items():
            self.log(f"train/{name}", value, prog_bar=name == "loss", batch_size=count)
        return terms["loss"]

    def validation_step(self, batch: ParticleBatch, batch_idx: int) -> None:  # noqa: ARG002
        """Evaluates the loss at the posterior means and logs its terms over all particles.

        Args:
            batch: Particles with known rotations.
            batch_idx: Number of the batch.
        """
        count = len(batch["images"])
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
            ``index`` (B,), and posterior ``mean`` and ``log_variance`` (B, Z).
        """
        inference = self.infer(batch)
        return {
            "index": batch["index"],
            "mean": inference.mean,
            "log_variance": inference.log_variance,
        }

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:  # noqa: ANN401, ARG002
        """Seeds this step's random draws, differently on every process.

        Args:
            batch: Not read.
            batch_idx: Number of the batch in this epoch.
        """
        key = [self.seed, self.global_rank, self.current_epoch, batch_idx]
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1))

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

        Args:
            checkpoint: What was saved.

        Raises:
            ValueError: If the checkpoint is of a model for another box size.
        """
        if checkpoint["box_size"] != self.box_size:
            raise ValueError(
                f"the checkpoint is of a model for box size {checkpoint['box_size']}, the "
                f"particles have box size {self.box_size}"
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

    def _kl_weight_now(self) -> float:
        if isinstance(self._kl_weight, int | float):
            return self._kl_weight
        return self._kl_weight.value(self.global_step)

    def _terms(self, batch: ParticleBatch, *, sample: bool) -> dict[str, Tensor]:
        """The loss and what it is made of."""
        if "rotation" not in batch:
            raise ValueError(
                "the particles have no poses and this model needs known ones: give poses "
                "(poses.pkl), or a .star or .cs file with angles"
            )
        observation = self._observe(batch, self.disc)
        if self.encoder_disc is self.disc:
            inference = self._encode(observation)
        else:
            inference = self.infer(batch)
        conformation = inference.sample() if sample else inference.mean
        slices = self.decoder.render(conformation, batch["rotation"], self.disc)
        if observation.transfer is not None:
            slices = slices * observation.transfer
        reconstruction = nn.functional.mse_loss(slices, observation.coefficients)
        kl = self.prior.kl(inference, batch).mean()
        terms = {"reconstruction": reconstruction, "kl": kl}
        loss = reconstruction + self._kl_weight_now() / len(self.disc) * kl
        for name, penalty in self.penalties.items():
            terms[name] = penalty(self, batch, inference)
            loss = loss + terms[name]
        return {"loss": loss, **terms}

    def _observe(self, batch: ParticleBatch, disc: FourierDisc) -> _Observation:
        images = batch["images"]
        side = self.box_size + 1
        if images.shape[-2:] != (side, side):
            raise ValueError(
                f"the model has box size {self.box_size} and expects Hartley transforms of side "
                f"{side}, found images of shape {tuple(images.shape)}"
            )
        coefficients = disc.select(images)
        if "translation" in batch:
            coefficients = shift_hartley(coefficients, disc.frequencies, batch["translation"])
        transfer = None
        if "ctf" in batch:
            transfer = contrast_transfer(disc.frequencies, batch["ctf"], self.box_size)
        return _Observation(coefficients, transfer)

    def _encode(self, observation: _Observation) -> Inference:
        coefficients, transfer = observation
        if transfer is not None:
            coefficients = coefficients * transfer.sign()
        mean, log_variance = self.encoder(coefficients)
        return Inference(mean, log_variance)
