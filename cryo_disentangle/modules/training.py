"""How a model of latents is trained by Lightning, whatever its observations are."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple, cast

import lightning as L
import numpy as np
import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from cryo_disentangle.modules.particle_mean import ParticleMean
from cryo_disentangle.protocols.terms import ReportsTerms
from cryo_disentangle.types import Inference, ParticleBatch

__all__ = ["LatentTraining", "TrainingSettings"]


class TrainingSettings(NamedTuple):
    """Settings of training; each is a key of the configuration file.

    Attributes:
        optimizer: Makes the optimiser from the trained parameters.
        lr_scheduler: Makes the learning-rate schedule from the optimiser; None is a constant rate.
        lr_interval: Whether the learning rate changes every ``step`` or every ``epoch``.
        seed: Seed of the draws of training steps.
    """

    optimizer: OptimizerCallable
    lr_scheduler: LRSchedulerCallable | None = None
    lr_interval: Literal["step", "epoch"] = "epoch"
    seed: int = 0


class LatentTraining(L.LightningModule):
    """The training of a model that has ``infer`` and ``loss_terms``.

    A base to stand behind the model's own class, ``class Trained(Model, LatentTraining)``: so the
    parts of the model keep their names in state dicts and configurations, a checkpoint fits the
    plain model, and callbacks find a `LatentImageModel` in the module they are handed. Its
    ``__init__`` takes nothing, for the model's calls it as that of `torch.nn.Module`; call
    `train_with` when the parts are made.

    Randomness in a training step is a function of seed, process, epoch and batch alone, so that an
    interrupted and resumed run ends with the same weights as an uninterrupted one.
    """

    penalties: nn.ModuleDict

    @abstractmethod
    def infer(self, batch: ParticleBatch) -> Inference:
        """Infers posteriors.

        Args:
            batch: B single particles.

        Returns:
            The posterior of each.
        """

    @abstractmethod
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
            step: Optimiser step, for schedules.
            sample: Whether it is a training step, which draws from posteriors, or an evaluation.
            generator: Source of the draws; None is torch's global one.

        Returns:
            Scalars by name, ``loss`` with the graph; no more names than `train_with` was given.
        """

    def begin_step(self, step: int | None) -> None:
        """Prepares the model for a training step; a model without a warm-up needs nothing.

        Args:
            step: Optimiser step; None at the end of training.
        """

    def train_with(self, settings: TrainingSettings, terms: Iterable[str]) -> None:
        """Takes what training needs, when the model's parts are made.

        Args:
            settings: Optimiser, schedule and seed.
            terms: Names of the loss terms, ``loss`` among them.
        """
        self._training = settings
        self.validation = nn.ModuleDict({name: ParticleMean() for name in terms})

    @property
    def lr(self) -> float:
        """Learning rate of the optimiser in use, which Lightning's `LearningRateFinder` sets."""
        optimizers = [] if self._trainer is None else self._trainer.optimizers
        return float(optimizers[0].param_groups[0]["lr"]) if optimizers else math.nan

    @lr.setter
    def lr(self, rate: float) -> None:
        for optimizer in self.trainer.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
                # What a schedule multiplies.
                if "initial_lr" in group:
                    group["initial_lr"] = rate
        for config in self.trainer.lr_scheduler_configs:
            scheduler = config.scheduler
            if isinstance(scheduler, LRScheduler):
                scheduler.base_lrs = [rate for _ in scheduler.base_lrs]

    def training_step(self, batch: ParticleBatch, batch_idx: int) -> Tensor:  # noqa: ARG002
        """Evaluates the loss of a batch and logs its terms.

        Args:
            batch: Particles, or pairs of frames.
            batch_idx: Number of the batch in this epoch.

        Returns:
            The loss, a scalar.
        """
        terms = self.loss_terms(batch, step=self.global_step, sample=True)
        count = batch["index"].numel()
        for name, value in terms.items():
            # Not for Lightning's progress bar, which would wait for the device at every step.
            self.log(f"train/{name}", value, batch_size=count)
        for name, value in _parts(self.penalties).items():
            self.log(f"train/{name}", value, batch_size=count)
        return terms["loss"]

    def validation_step(self, batch: ParticleBatch, batch_idx: int) -> None:  # noqa: ARG002
        """Evaluates the loss at the posterior means and logs its terms over all particles.

        Args:
            batch: Particles, or pairs of frames.
            batch_idx: Number of the batch.
        """
        count = batch["index"].numel()
        terms = self.loss_terms(batch, step=self.global_step, sample=False)
        for name, value in terms.items():
            metric = cast(ParticleMean, self.validation[name])
            metric.update(value, count)
            self.log(f"val/{name}", metric, prog_bar=name == "loss", batch_size=count)

    def test_step(self, batch: ParticleBatch, batch_idx: int) -> None:
        """The same as `validation_step`.

        Args:
            batch: Particles, or pairs of frames.
            batch_idx: Number of the batch.
        """
        self.validation_step(batch, batch_idx)

    def predict_step(self, batch: ParticleBatch, batch_idx: int) -> dict[str, Tensor]:  # noqa: ARG002
        """Infers conformations.

        Args:
            batch: Single particles.
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
            rotation, translation = inference.pose.rotation, inference.pose.translation
            outputs["rotation"] = rotation
            outputs["translation"] = (
                rotation.new_zeros(len(rotation), 2) if translation is None else translation
            )
        return outputs

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:  # noqa: ANN401, ARG002
        """Seeds this step's random draws, differently on every process.

        Args:
            batch: Not read.
            batch_idx: Number of the batch in this epoch.
        """
        key = [self._training.seed, self.global_rank, self.current_epoch, batch_idx]
        (seed,) = np.random.SeedSequence(key).generate_state(1, np.uint64)
        # Shifted as Python's integer, for older NumPy makes a float of uint64 and int.
        torch.manual_seed(int(seed) >> 1)
        self.begin_step(self.global_step)

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
        """Prepares the model for the first step, or the one that training goes on with."""
        self.begin_step(self.global_step)

    def on_fit_end(self) -> None:
        """Prepares the model for use, wherever training was stopped."""
        self.begin_step(None)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Compares the weights with the model's, for torch would list them all.

        Args:
            checkpoint: What was saved.

        Raises:
            ValueError: If the checkpoint is of a model of other networks.
        """
        for name, value in self.state_dict().items():
            saved = checkpoint["state_dict"].get(name)
            if isinstance(value, Tensor) and (saved is None or saved.shape != value.shape):
                found = "none" if saved is None else f"shape {tuple(saved.shape)}"
                raise self.refused(
                    f"of a model with other networks: for {name} of shape {tuple(value.shape)} it "
                    f"has {found}; give the config.yaml of its run"
                )

    def refused(self, why: str) -> ValueError:
        """Makes the error of a checkpoint that is not this model's.

        Args:
            why: What it is instead.

        Returns:
            The error; it names the checkpoint where a Trainer loads it.
        """
        trainer = self._trainer
        path = None if trainer is None else trainer.ckpt_path
        return ValueError(f"{'' if path is None else f'{path}: '}the checkpoint is {why}")

    def configure_optimizers(self) -> Any:  # noqa: ANN401 - Lightning's union of a dozen types
        """Makes the optimiser and the learning-rate schedule.

        Returns:
            What Lightning takes.
        """
        settings = self._training
        optimizer = settings.optimizer([p for p in self.parameters() if p.requires_grad])
        if settings.lr_scheduler is None:
            return optimizer
        scheduler = {
            "scheduler": settings.lr_scheduler(optimizer),
            "interval": settings.lr_interval,
        }
        return {"optimizer": optimizer, "lr_scheduler": scheduler}


def _parts(penalties: nn.ModuleDict) -> dict[str, Tensor]:
    """What the penalties' last evaluations found, as ``penalty/term``."""
    return {
        f"{name}/{part}": value
        for name, penalty in penalties.items()
        if isinstance(penalty, ReportsTerms)
        for part, value in penalty.terms.items()
    }
