"""A user's training with a penalty, by a callback and written by hand; for one process and two."""

from __future__ import annotations

import os
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins import MixedPrecision
from torch import Tensor, nn

from cryo_disentangle.callbacks import (
    PenaltyCallback,
    PoseInterventionPenalty,
    SlownessPenalty,
    adapt,
)
from cryo_disentangle.losses import FactorVAE, PoseIntervention, UniformPoses
from cryo_disentangle.types import flatten_particles
from tests.callbacks import foreign

ADAPTER: dict[str, Any] = {
    "infer": foreign.infer,
    "generate": foreign.generate,
    "as_batch": foreign.as_batch,
}
# Where three batches accumulate, the last two are left over.
STEPS, BATCH = 20, 8


class Scheduled(foreign.ConvolutionalVAE):
    """A user's model with a learning-rate schedule."""

    def configure_optimizers(self) -> Any:
        optimizer = super().configure_optimizers()
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.9**step)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }


class Written(Scheduled):
    """The same with a penalty written into the training step."""

    def __init__(self, penalty: nn.Module, as_batch: Any) -> None:
        super().__init__()
        self.penalty, self.as_batch = penalty, as_batch

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        particles: Any = self.as_batch(batch)
        model = adapt(self, foreign.infer, foreign.generate)
        inference = model.infer(flatten_particles(particles)).reshape(*particles["index"].shape)
        return loss + self.penalty(model, particles, inference)


def pose_intervention() -> PoseIntervention:
    """Heavy, so that its absence would show."""
    return PoseIntervention(2.0, UniformPoses(), noise_std=0.1)


def factor_vae() -> FactorVAE:
    """A penalty with parameters of its own, which differ from process to process at first."""
    torch.manual_seed(int(os.environ.get("RANK", "0")))
    return FactorVAE(2, 2.0, width=8, layers=1)


def slowness() -> Any:
    """A penalty of pairs, which learns its rates."""
    return SlownessPenalty(2.0, learnable=True, conformation_dim=2).penalty


def as_pairs(batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    """Neighbours in a batch as frames of one particle."""
    return {key: value.unflatten(0, (-1, 2)) for key, value in foreign.as_batch(batch).items()}


PENALTIES: dict[str, Any] = {
    "pose_intervention": pose_intervention,
    "factor_vae": factor_vae,
    "slowness": slowness,
}
AS_BATCH = dict.fromkeys(PENALTIES, foreign.as_batch) | {"slowness": as_pairs}


def half_precision() -> MixedPrecision:
    """fp16 with its loss scale, which the Trainer's own words give to GPUs alone."""
    return MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=512.0))


def make_trainer(*callbacks: Callback, **options: Any) -> L.Trainer:
    """A quiet Trainer."""
    quiet: dict[str, Any] = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    few: dict[str, Any] = {"accelerator": "cpu", "devices": 1, "max_epochs": 1}
    return L.Trainer(callbacks=list(callbacks), **(quiet | few | options))


def train(
    module: L.LightningModule, *callbacks: Callback, count: int = STEPS * BATCH, **options: Any
) -> L.Trainer:
    """Trains a module for 20 steps a process from the same state of the global generator."""
    trainer = make_trainer(*callbacks, **options)
    torch.manual_seed(2)
    trainer.fit(module, foreign.loader(count, BATCH))
    return trainer


def by_callback(name: str, **options: Any) -> dict[str, Tensor]:
    """Weights of a training with a penalty by a callback, the penalty's among them."""
    penalty = PENALTIES[name]()
    torch.manual_seed(0)
    module = Scheduled()
    adapter = ADAPTER | {"as_batch": AS_BATCH[name]}
    train(module, PenaltyCallback(penalty, **adapter), **options)
    own = {f"penalty.{key}": value for key, value in penalty.state_dict().items()}
    return tensors(module.state_dict() | own)


def by_hand(name: str, **options: Any) -> dict[str, Tensor]:
    """Weights of the same training with the penalty in the training step."""
    penalty = PENALTIES[name]()
    torch.manual_seed(0)
    module = Written(penalty, AS_BATCH[name])
    train(module, **options)
    return tensors(module.state_dict())


def without(*callbacks: Callback, **options: Any) -> dict[str, Tensor]:
    """Weights of a training without a penalty, and what the global generator gives next."""
    torch.manual_seed(0)
    module = Scheduled()
    train(module, *callbacks, **options)
    return tensors(module.state_dict()) | {"next random number": torch.rand(1)}


def weightless() -> PoseInterventionPenalty:
    """The callback of weight 0."""
    return PoseInterventionPenalty(0.0, **ADAPTER)


def tensors(state: dict[str, Any]) -> dict[str, Tensor]:
    """The tensors of a state dict."""
    return {key: value for key, value in state.items() if isinstance(value, Tensor)}


def difference(first: dict[str, Tensor], second: dict[str, Tensor]) -> float:
    """Largest difference of weights."""
    assert first.keys() == second.keys()
    return max(float((first[key] - second[key]).abs().max()) for key in first)
