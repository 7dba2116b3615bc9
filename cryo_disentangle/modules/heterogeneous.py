"""Heterogeneous reconstruction, with known or inferred poses, as a LightningModule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import nn

from cryo_disentangle.decoders import ImplicitDecoder
from cryo_disentangle.encoders import MLPEncoder
from cryo_disentangle.losses.schedules import Schedule
from cryo_disentangle.modules.image_model import HeterogeneousModel
from cryo_disentangle.modules.settings import ModelSettings
from cryo_disentangle.modules.training import LatentTraining, TrainingSettings
from cryo_disentangle.protocols import ConformationPrior, Penalty

__all__ = ["HeterogeneousReconstruction"]


class HeterogeneousReconstruction(HeterogeneousModel, LatentTraining):
    """Variational autoencoder of particle images.

    The encoder reads a centred, phase-flipped image and gives the posterior of its conformation;
    the decoder renders the slice of that conformation's volume from the particle's direction; the
    CTF is applied and the difference to the image squared:

        loss = mean |CTF · slice - image|² + kl_weight · KL / M + Σ penalties,

    the mean over the M Fourier coefficients inside the circle of radius D / 2 and over the batch.
    Directions are the batch's, or, with a pose head, inferred from the image: the head may propose
    several, of which the one that renders the image best is taken and alone gets a gradient (Levy
    et al. 2022, cryoAI). With batches of pairs of frames the prior sees the pairs and everything
    else single particles. Randomness in a training step is a function of seed, process, epoch and
    batch alone, so that an interrupted and resumed run ends with the same weights as an
    uninterrupted one.

    Args:
        box_size: Image side D in pixels, even; the data set's, filled in by the command line.
        conformation_dim: Number Z of conformation coordinates.
        encoder: Makes the encoder from (number of coefficients, Z): a network of coefficients, or a
            `ConformationEncoder` such as `LatentTable`, which looks up each particle's row in the
            stack, and `RenderedPosterior`, which renders from each particle's known pose.
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
        compile: Whether ``torch.compile`` fuses what a training step computes: encoder, decoder,
            CTF and loss, and the images of interventions. The first steps then take minutes, and
            random draws differ from those without.
        n_particles: Number of particles of the stack, for an encoder with a row for each; the data
            set's.
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
        compile: bool = False,
        n_particles: int | None = None,
        pixel_size: float = 1.0,
        intensity_scale: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__(
            box_size,
            conformation_dim,
            encoder,
            decoder,
            prior,
            pose_head,
            penalties,
            kl_weight,
            ModelSettings(
                conformation_warmup,
                encoder_reads_pose,
                encoder_radius,
                coefficient_share,
                compile,
                n_particles,
                pixel_size,
                intensity_scale,
            ),
        )
        self.train_with(
            TrainingSettings(optimizer, lr_scheduler, lr_interval, seed),
            ("loss", "reconstruction", "kl", *self.penalties),
        )

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
            ValueError: If the checkpoint is of another kind of model, or of one for another box
                size or of other networks.
        """
        if "box_size" not in checkpoint or "volume_units" not in checkpoint:
            raise self.refused(
                f"of another kind of model than {type(self).__name__}: it has no box_size and "
                "volume_units; give the config.yaml of its run"
            )
        if checkpoint["box_size"] != self.box_size:
            raise self.refused(
                f"of a model for box size {checkpoint['box_size']}, the particles have box size "
                f"{self.box_size}"
            )
        super().on_load_checkpoint(checkpoint)
        units = checkpoint["volume_units"]
        self.pixel_size, self.intensity_scale = units["pixel_size"], units["intensity_scale"]
