"""Training that goes on where cryoDRGN ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn

from cryo_disentangle.encoders import RenderedPosterior
from cryo_disentangle.imaging import FourierDisc
from cryo_disentangle.interop import CryoDRGNRun
from cryo_disentangle.interop.adam import continue_adam
from cryo_disentangle.losses.schedules import Schedule
from cryo_disentangle.modules.heterogeneous import HeterogeneousReconstruction
from cryo_disentangle.protocols import ConformationPrior, Penalty
from cryo_disentangle.protocols.models import ImageNetworks

__all__ = ["CryoDRGNReconstruction"]

# cryoDRGN's default.
_DEFAULT_RATE = 1e-4


class CryoDRGNReconstruction(HeterogeneousReconstruction):
    """The model of a finished ``cryodrgn train_vae``, to be trained further.

    Encoder and decoder are the run's, with its weights. Without penalties training continues as
    cryoDRGN's would; penalties can remove the pose from its z. Its data are `CryoDRGNParticles`.

    Another encoder may take the place of the run's: with a `RenderedPosterior`, whose prior is then
    as wide as the latents that the run has stored, the decoder alone is trained further. The run's
    encoder is kept unchanged for export to cryoDRGN, which needs one.

    The folder is read whenever the model is made, so it must stay where it is.

    Args:
        checkpoint: Folder of the run.
        epoch: Epoch to start from, by cryoDRGN's count; null is the last.
        box_size: Image side D in pixels of the data set; null is the run's.
        encoder: Makes an encoder to take the place of the run's, as for
            `HeterogeneousReconstruction`; null keeps the run's.
        encoder_radius: Radius in Fourier pixels of what that other encoder reads; null is D / 2.
        prior: Prior of the conformation; null is the standard normal.
        penalties: As for `HeterogeneousReconstruction`.
        kl_weight: Weight of the KL divergence, a number or a schedule; null is 1 / Z, cryoDRGN's
            default.
        optimizer: Makes the optimiser from the parameters; null is an Adam of the run's last
            learning rate. An Adam takes over the moments of the run's where they fit.
        lr_scheduler: As for `HeterogeneousReconstruction`.
        lr_interval: As for `HeterogeneousReconstruction`.
        pixel_size: Å per pixel, for written volumes; the data set's.
        intensity_scale: Unit of the normalised images in those of the stack; null is the run's.
        seed: Seed of the draws from the posterior.

    Raises:
        FileNotFoundError: If the run, or the epoch in it, is missing.
        ValueError: If the run is damaged or not supported, has no encoder, has stored no latents
            that a prior could be matched to, or is of another box
            size than the data set.
    """

    def __init__(  # noqa: PLR0913 - each is a key of the configuration file
        self,
        checkpoint: str | Path,
        epoch: int | None = None,
        box_size: int | None = None,
        encoder: Callable[[int, int], nn.Module] | None = None,
        encoder_radius: int | None = None,
        prior: ConformationPrior | None = None,
        penalties: Mapping[str, Penalty] | None = None,
        kl_weight: float | Schedule | None = None,
        optimizer: OptimizerCallable | None = None,
        lr_scheduler: LRSchedulerCallable | None = None,
        lr_interval: Literal["step", "epoch"] = "epoch",
        pixel_size: float = 1.0,
        intensity_scale: float | None = None,
        seed: int = 0,
    ) -> None:
        run = CryoDRGNRun.open(checkpoint, epoch)
        kept, radius = _encoder(run, box_size)
        super().__init__(
            run.box_size,
            run.conformation_dim,
            encoder or (lambda _coefficients, _dim: kept),
            lambda _box_size, _dim: run.decoder,
            prior=prior,
            penalties=penalties,
            kl_weight=kl_weight,
            optimizer=optimizer or _adam(run.learning_rate),
            lr_scheduler=lr_scheduler,
            lr_interval=lr_interval,
            encoder_radius=radius if encoder is None else encoder_radius,
            pixel_size=pixel_size,
            intensity_scale=run.intensity_scale if intensity_scale is None else intensity_scale,
            seed=seed,
        )
        self.kept_encoder: nn.Module | None = None
        if encoder is not None:
            self.kept_encoder = kept.requires_grad_(False)
            self.kept_encoder_disc = FourierDisc(run.box_size, radius)
        if isinstance(self.encoder, RenderedPosterior):
            _match_prior(self.encoder, run)
        self.start_epoch = run.epoch
        self._optimizer_state = run.optimizer_state

    def configure_optimizers(self) -> Any:  # noqa: ANN401 - Lightning's union of a dozen types
        """Makes the optimiser, which takes over the run's moments, and the schedule.

        Returns:
            What Lightning takes.
        """
        made = super().configure_optimizers()
        optimizer = made["optimizer"] if isinstance(made, dict) else made
        if self._optimizer_state is not None:
            own = self.image_networks()
            networks = [own.encoder, cast(nn.Module, own.decoder)]
            continue_adam(optimizer, self._optimizer_state, networks)
        return made

    def image_networks(self) -> ImageNetworks:
        """Returns the networks of the run, whatever has taken its encoder's place."""
        own = super().image_networks()
        if self.kept_encoder is None:
            return own
        return own._replace(encoder=self.kept_encoder, disc=self.kept_encoder_disc)


def _encoder(run: CryoDRGNRun, box_size: int | None) -> tuple[nn.Module, int]:
    """The run's encoder and the radius of what it reads, for particles of a box size."""
    if run.encoder is None or run.networks.encoder is None:
        raise ValueError(
            f"{run.config.path}: a run of {run.config.program} has no encoder that could be "
            "trained further, only those of train_vae have"
        )
    if box_size not in (None, run.box_size):
        raise ValueError(
            f"{run.config.path}: the run is of box size {run.box_size}, the particles have box "
            f"size {box_size}"
        )
    return run.encoder, run.networks.encoder.radius


def _match_prior(encoder: RenderedPosterior, run: CryoDRGNRun) -> None:
    """Makes the prior as wide as the latents that the run has stored."""
    mean, log_variance = (
        None if part is None else torch.from_numpy(np.asarray(part, np.float32))
        for part in run.latents()
    )
    encoder.match_prior(cast(Tensor, mean), log_variance)


def _adam(rate: float | None) -> OptimizerCallable:
    """Makes cryoDRGN's optimiser."""
    used = _DEFAULT_RATE if rate is None else rate
    return lambda parameters: torch.optim.Adam(parameters, lr=used)
