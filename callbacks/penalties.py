"""Penalties in any training loop: terms added to a loss."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy
from torch import Tensor, nn
from torch.optim import Optimizer

from cryo_disentangle.adapters import AdaptedModel, ModelAdapter
from cryo_disentangle.callbacks.names import snake_case
from cryo_disentangle.losses import ConformationIntervention, PoseIntervention
from cryo_disentangle.losses.scheduled import ScheduledPenalty
from cryo_disentangle.protocols import Penalty
from cryo_disentangle.protocols.terms import ReportsTerms
from cryo_disentangle.types import flatten_particles

__all__ = ["PenaltyCallback"]

_Function = Callable[..., Any]


class PenaltyCallback(Callback):
    """Adds a penalty to the loss of any LightningModule, whose code stays as it is.

    The model infers the batch a second time, the penalty is evaluated under the Trainer's precision
    and added to the loss before its backward pass. That equals ``loss + penalty(model, batch,
    model.infer(batch))`` in ``training_step``: with gradient accumulation, under DDP, in bf16 and
    in fp16, whose loss scale the term gets, too. A `ScheduledPenalty` of weight 0, or not due at a
    step, costs nothing and changes nothing: nothing is inferred, nothing drawn. A batch of a lone
    particle, which an epoch may end with, is left out, since there is nothing to compare it with.
    Layers that keep statistics of batches (batch normalisation) see a batch once more when it is
    inferred again.

    The loss that ``training_step`` logs is without the penalty. ``train/<name>`` is the weighted
    penalty and ``train/<name>/<term>`` what it is made of, both of the last step at which it was
    evaluated.

    A penalty with parameters of its own (a discriminator, learned rates) has them trained with the
    first parameter group of the module's optimiser, and averaged over processes as DDP does with
    the module's. Its state is kept in checkpoints, so that a resumed run goes on exactly.

    Args:
        penalty: The penalty.
        name: Name of the logged values; null is the class name of the penalty in snake case.
        infer: How the module infers, for modules without ``infer(batch)``: a function of (module,
            batch) that returns (mean, log_variance) or (mean, log_variance, pose), or its dotted
            name ``package.module.function``.
        generate: How it renders, for modules without ``generate(conformation, pose, batch)``: a
            function of (module, conformation, pose, batch), or its dotted name.
        as_batch: How the loop's batches become a `ParticleBatch`: a function or its dotted name;
            null for loops whose batches are such.

    Raises:
        TypeError: If the penalty is no module, or a function can't be imported; at the start of
            training if the module lacks what the penalty needs, or the loop allows no exact
            addition (manual optimisation, sharded weights).
    """

    _model: AdaptedModel

    def __init__(
        self,
        penalty: Penalty,
        name: str | None = None,
        infer: str | _Function | None = None,
        generate: str | _Function | None = None,
        as_batch: str | _Function | None = None,
    ) -> None:
        if not isinstance(penalty, nn.Module):
            raise TypeError(
                "a penalty must be a torch.nn.Module with forward(model, batch, inference), found "
                f"{type(penalty).__name__}"
            )
        self.penalty = penalty
        self.name = name or snake_case(type(penalty).__name__)
        self._adapter = ModelAdapter(infer, generate, as_batch)
        self._batch: object = None
        self._told = False
        self._own_parameters: list[nn.Parameter] = []

    @property
    def state_key(self) -> str:
        """Distinguishes the states of several penalties in a checkpoint."""
        return self._generate_state_key(name=self.name)

    def state_dict(self) -> dict[str, Any]:
        """Returns the penalty's parameters, estimates and count of steps for a checkpoint."""
        return {"penalty": self.penalty.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from a checkpoint."""
        self.penalty.load_state_dict(state_dict["penalty"])

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Refuses what can't be exact, before any work is done."""
        if stage != "fit":
            return
        _refuse_inexact(trainer, pl_module)
        self._model = self._adapter.model(pl_module)
        if isinstance(self.penalty, PoseIntervention | ConformationIntervention):
            self._model.renderer()

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Moves the penalty to the module's device and adds its parameters to the optimiser."""
        # Here and no later, for the optimiser's state is restored next; and no earlier, for the
        # optimiser and its schedules are made just before.
        self.penalty.to(pl_module.device)
        trainer.precision_plugin.convert_module(self.penalty)
        learned = [p for p in self.penalty.parameters() if p.requires_grad]
        _join(trainer.optimizers[0], learned)
        modules = set(pl_module.parameters())
        self._own_parameters = [p for p in learned if p not in modules]
        if trainer.world_size > 1:
            for tensor in (*self.penalty.parameters(), *self.penalty.buffers()):
                torch.distributed.broadcast(tensor.detach(), 0)

    def on_train_batch_start(
        self,
        trainer: L.Trainer,  # noqa: ARG002
        pl_module: L.LightningModule,  # noqa: ARG002
        batch: Any,  # noqa: ANN401
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        """Keeps the batch for the penalty."""
        self._batch = batch

    def on_before_backward(
        self, trainer: L.Trainer, pl_module: L.LightningModule, loss: Tensor
    ) -> None:
        """Adds the penalty to the loss."""
        if self._passes_over():
            return
        with trainer.precision_plugin.train_step_context():
            batch = self._adapter.batch(self._batch)
            if batch["index"].numel() == 1:
                self._leave_alone()
                return
            inference = self._model.infer(flatten_particles(batch))
            inference = inference.reshape(*batch["index"].shape)
            term: Tensor = self.penalty(self._model, batch, inference)
        self._log(pl_module, term.detach(), batch["index"].numel())
        # The loss has been divided and scaled by now.
        term = term / trainer.accumulate_grad_batches
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        loss.add_(term if scaler is None else scaler.scale(term))

    def on_after_backward(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: ARG002
        """Averages the gradients of the penalty's own parameters over processes."""
        if trainer.world_size == 1:
            return
        # Averaging again what earlier batches of an accumulation have left changes nothing.
        for parameter in self._own_parameters:
            if parameter.grad is not None:
                torch.distributed.all_reduce(parameter.grad)
                parameter.grad /= trainer.world_size

    def on_train_batch_end(
        self,
        trainer: L.Trainer,  # noqa: ARG002
        pl_module: L.LightningModule,  # noqa: ARG002
        outputs: Any,  # noqa: ANN401, ARG002
        batch: Any,  # noqa: ANN401, ARG002
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        """Lets go of the batch."""
        self._batch = None

    def _passes_over(self) -> bool:
        """Whether the penalty would be 0 whatever is inferred; such a step is counted here."""
        penalty = self.penalty
        if not isinstance(penalty, ScheduledPenalty) or penalty.is_due():
            return False
        penalty.skip()
        return True

    def _leave_alone(self) -> None:
        """Counts a step with a lone particle, and tells of the first."""
        if isinstance(self.penalty, ScheduledPenalty):
            self.penalty.skip()
        if not self._told:
            self._told = True
            warnings.warn(
                f"{self.name} compares particles and leaves out a batch of only one", stacklevel=2
            )

    def _log(self, pl_module: L.LightningModule, penalty: Tensor, count: int) -> None:
        """Logs the weighted penalty and what it is made of."""
        pl_module.log(f"train/{self.name}", penalty, batch_size=count)
        terms = self.penalty.terms if isinstance(self.penalty, ReportsTerms) else {}
        for part, value in terms.items():
            pl_module.log(f"train/{self.name}/{part}", value, batch_size=count)


def _refuse_inexact(trainer: L.Trainer, pl_module: L.LightningModule) -> None:
    """Refuses loops in which a term added to the loss would be wrong."""
    if not pl_module.automatic_optimization:
        raise TypeError(
            f"{type(pl_module).__name__} uses manual optimisation, and a callback cannot know "
            "which of "
            "its losses a penalty belongs to: add penalty(adapt(self, ...), batch, inference) to "
            "one "
            "in training_step"
        )
    strategy = trainer.strategy
    if isinstance(strategy, DeepSpeedStrategy | FSDPStrategy | ModelParallelStrategy):
        raise TypeError(
            f"a penalty infers a second time, and under {type(strategy).__name__} weights are "
            "whole in the first forward pass alone: train with one device or ddp, or add the "
            "penalty in training_step"
        )


def _join(optimizer: Optimizer, parameters: Iterable[nn.Parameter]) -> None:
    """Hands parameters to an optimiser that was made without them.

    They join its first group and are no new one, because learning-rate schedules have counted the
    groups.
    """
    known = {p for group in optimizer.param_groups for p in group["params"]}
    new = [p for p in parameters if p not in known]
    if new and optimizer.state:
        raise TypeError(
            f"{type(optimizer).__name__} prepares each parameter when it is made and can't take "
            "those of a penalty later: give them to it in configure_optimizers"
        )
    optimizer.param_groups[0]["params"].extend(new)
