"""NaN and infinities, caught before they reach the weights, and whose they are."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from typing import Any, NamedTuple, NoReturn

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.optim import Optimizer

from cryo_disentangle.particles import ParticleData

__all__ = ["NonFiniteGuard"]

_NAMED = 16


class _Batch(NamedTuple):
    """What is known of a batch without waiting for the device.

    Attributes:
        step: Steps of the optimiser before it.
        rows: Row of each particle in the stack, shape (B,).
        keys: Names of the K tensors that were looked at.
        finite: Whether they are finite, shape (K, B).
    """

    step: int
    rows: Tensor
    keys: tuple[str, ...]
    finite: Tensor


class NonFiniteGuard(Callback):
    """Keeps NaN and infinities of particles and gradients out of the weights, and names them.

    A gradient that is not finite is set to 0 before the optimiser sees it, so that weights and
    checkpoints stay finite whatever comes; under DDP it is the processes' mean, and all do the
    same. By default the run then stops with an error that names the particles: those with an image,
    pose, CTF or label that is not finite, else all of the batch.

    With ``skip`` it goes on: a particle that is not finite is replaced by another of its batch, and
    a step whose gradient is not finite still has gradient 0, in which an optimiser with momentum
    drifts on a little. Both are counted as ``train/skipped_particles`` and ``train/skipped_steps``,
    over all processes and resumed runs, and told in a warning. Images of a `ParticleData` that are
    constant or not finite in the file are skipped alike, which without ``skip`` the reader refuses.
    Held-out particles that are not finite are replaced in the same way and told, not counted.

    All is decided on the device, which the host does not wait for but every ``every_n_steps``
    batches, when it learns what happened; on a single CPU, where there is nothing to wait for,
    after each. Under fp16 gradients are left to the loss scaler, which skips such steps itself.
    Batches that are no mappings with an ``index`` are not looked at, their gradients are.

    Args:
        skip: Whether to go on without what is not finite.
        every_n_steps: Batches from one look of the host to the next.
        patience: With ``skip``, how many steps in a row may be skipped before the run stops.

    Raises:
        ValueError: If a number is not positive; in training as told above.
    """

    def __init__(self, skip: bool = False, every_n_steps: int = 50, patience: int = 20) -> None:
        for name, value in {"every_n_steps": every_n_steps, "patience": patience}.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, found {value}")
        self.skip, self.every_n_steps, self.patience = skip, every_n_steps, patience
        self._batches: list[_Batch] = []
        self._held_out: list[_Batch] = []
        self._gradients: list[tuple[int, Tensor]] = []
        self._skipped_particles, self._skipped_steps, self._in_a_row = 0, 0, 0

    def state_dict(self) -> dict[str, Any]:
        """Returns the counts."""
        return {"particles": self._skipped_particles, "steps": self._skipped_steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on counting in a resumed run."""
        self._skipped_particles = state_dict["particles"]
        self._skipped_steps = state_dict["steps"]

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:  # noqa: ARG002
        """Lets bad images in files through to here, where they are to be skipped."""
        data: object = trainer.datamodule  # type: ignore[attr-defined]
        if self.skip and stage == "fit" and isinstance(data, ParticleData):
            data.tolerate_bad_images()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: ARG002
        """Begins anew."""
        self._batches, self._gradients, self._in_a_row = [], [], 0

    def on_train_batch_start(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,  # noqa: ARG002
        batch: Any,  # noqa: ANN401
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        """Checks the particles."""
        self._batches += self._examined(trainer, batch)

    def on_validation_batch_start(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,  # noqa: ARG002
        batch: Any,  # noqa: ANN401
        batch_idx: int,  # noqa: ARG002
        dataloader_idx: int = 0,  # noqa: ARG002
    ) -> None:
        """Checks held-out particles that may be skipped."""
        if self.skip:
            self._held_out += self._examined(trainer, batch)

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: ARG002
        """Warns of the held-out particles that were replaced."""
        bad, self._held_out = _bad_particles(self._held_out), []
        if self.skip and trainer.strategy.reduce_boolean_decision(bool(bad), all=False):
            number = _row_in_file(trainer)
            found = _gathered(trainer, bad)
            _warn([f"held-out particle {number(row)} ({keys})" for _, row, keys in found])

    def _examined(self, trainer: L.Trainer, batch: object) -> list[_Batch]:
        """Checks a batch of particles, and replaces bad ones if they are to be skipped."""
        if not isinstance(batch, Mapping) or "index" not in batch:
            return []
        index = batch["index"]
        tensors = {
            key: value
            for key, value in batch.items()
            if isinstance(value, Tensor)
            and value.is_floating_point()
            and value.shape[:1] == index.shape[:1]
        }
        if not tensors:
            return []
        finite = torch.stack([_finite_rows(value) for value in tensors.values()])
        if self.skip and isinstance(batch, MutableMapping):
            _replace(batch, finite.all(0), len(index))
        return [_Batch(trainer.global_step, index, tuple(tensors), finite)]

    def on_before_optimizer_step(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,  # noqa: ARG002
        optimizer: Optimizer,
    ) -> None:
        """Checks the gradient, and sets one that is not finite to 0."""
        if getattr(trainer.precision_plugin, "scaler", None) is not None:
            return
        gradients = [
            p.grad
            for group in optimizer.param_groups
            for p in group["params"]
            if p.grad is not None
        ]
        if not gradients:
            return
        finite = torch.stack([gradient.sum().float() for gradient in gradients]).isfinite().all()
        for gradient in gradients:
            gradient.masked_fill_(~finite, 0)
        self._gradients.append((trainer.global_step, finite))

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,  # noqa: ANN401, ARG002
        batch: Any,  # noqa: ANN401, ARG002
        batch_idx: int,
    ) -> None:
        """Reads the flags of the device, every so many batches and at the end of an epoch."""
        alone = trainer.world_size == 1 and pl_module.device.type == "cpu"
        period = 1 if alone else self.every_n_steps
        due = (batch_idx + 1) % period == 0 or trainer.is_last_batch
        if due:
            self._look(trainer)
        # Numbers of the host are copied to the device to be logged, and stand until the next look.
        if self.skip and (due or batch_idx == 0):
            for name, count in self.state_dict().items():
                pl_module.log(f"train/skipped_{name}", float(count), batch_size=1)

    def _look(self, trainer: L.Trainer) -> None:
        """Waits for the device and acts on what it says."""
        batches = self._batches
        # Particles whose gradients are still being accumulated may have to be named with them.
        self._batches = [
            batch._replace(finite=torch.ones_like(batch.finite))
            for batch in batches
            if batch.step == trainer.global_step
        ]
        gradients, self._gradients = self._gradients, []
        flags = [batch.finite.all() for batch in batches] + [finite for _, finite in gradients]
        fine = not flags or bool(torch.stack(flags).all())
        # All processes must agree to talk to each other about it.
        if not trainer.strategy.reduce_boolean_decision(not fine, all=False):
            self._in_a_row = 0
            return
        number = _row_in_file(trainer)
        bad = _gathered(trainer, _bad_particles(batches))
        particles = [(step, number(row), keys) for step, row, keys in bad]
        steps = [step for step, finite in gradients if not finite]
        if not self.skip:
            rows = _gathered(trainer, _rows_at(batches, steps[:1]))
            _stop(particles, steps, list(map(number, rows)))
        self._skipped_particles += len(particles)
        self._skipped_steps += len(steps)
        _warn(_described(particles, steps))
        for _, finite in gradients:
            self._in_a_row = 0 if finite else self._in_a_row + 1
            if self._in_a_row >= self.patience:
                rows = _gathered(trainer, _rows_at(batches, steps[-1:]))
                where = f" in each of {self.patience} steps up to there"
                _stop([], [steps[-1]], list(map(number, rows)), where)


def _described(particles: list[tuple[int, int, str]], steps: list[int]) -> list[str]:
    """What was skipped, in words."""
    what = [f"particle {row} ({keys}, step {step})" for step, row, keys in particles]
    return what + [f"step {step} (its gradient)" for step in steps]


def _finite_rows(value: Tensor) -> Tensor:
    """Whether each particle's values are finite, (B, ...) -> (B,), without waiting."""
    # A sum is finite unless an addend is not, as long as its type is wide enough for many.
    kind = torch.promote_types(value.dtype, torch.float32)
    return value.reshape(len(value), -1).sum(1, dtype=kind).isfinite()


def _replace(batch: MutableMapping[str, Any], good: Tensor, count: int) -> None:
    """Puts the first good particle in the place of each bad one, without waiting."""
    rows = torch.arange(count, device=good.device)
    source = torch.where(good, rows, good.int().argmax())
    for key, value in batch.items():
        if isinstance(value, Tensor) and value.shape[:1] == (count,):
            batch[key] = value[source]


def _bad_particles(batches: Iterable[_Batch]) -> list[tuple[int, int, str]]:
    """Step, row and names of what is not finite, of each bad particle."""
    found = []
    for batch in batches:
        for position in (~batch.finite.all(0)).nonzero().flatten().tolist():
            named = zip(batch.keys, batch.finite[:, position].tolist(), strict=True)
            keys = ", ".join(key for key, fine in named if not fine)
            rows = batch.rows[position].flatten().tolist()
            found += [(batch.step, row, keys) for row in rows]
    return found


def _rows_at(batches: Iterable[_Batch], steps: Iterable[int]) -> list[int]:
    """Rows of all particles of some steps."""
    chosen = set(steps)
    return [row for b in batches if b.step in chosen for row in b.rows.flatten().tolist()]


def _row_in_file(trainer: L.Trainer) -> Callable[[int], int]:
    """Numbers particles by their rows in the particle file, where there is one."""
    data: object = trainer.datamodule  # type: ignore[attr-defined]
    if not isinstance(data, ParticleData):
        return int
    rows = data.stack.rows
    return lambda position: int(rows[position])


def _gathered(trainer: L.Trainer, mine: list[Any]) -> list[Any]:
    """What all processes have found, in order."""
    if trainer.world_size == 1:
        return mine
    parts: list[list[Any]] = [[]] * trainer.world_size
    torch.distributed.all_gather_object(parts, mine)
    return sorted(item for part in parts for item in part)


def _listed(items: Iterable[object]) -> str:
    """The first of many in words."""
    words = [str(item) for item in items]
    more = f" and {len(words) - _NAMED} more" if len(words) > _NAMED else ""
    return ", ".join(words[:_NAMED]) + more


def _warn(what: Iterable[str]) -> None:
    """Warns of what was left out."""
    warnings.warn(f"left out, for values that are not finite: {_listed(what)}", stacklevel=3)


def _stop(
    particles: list[tuple[int, int, str]], steps: list[int], rows: list[int], often: str = ""
) -> NoReturn:
    """Ends the run with one sentence."""
    if particles:
        what = _listed(f"particle {row} ({keys})" for _, row, keys in particles)
        raise ValueError(
            f"values that are not finite at step {particles[0][0]}, counting from 0: {what}; "
            "particles are numbered by their rows in the particle file, from 0: leave them out "
            "(indices)"
        )
    of = f" (particles {_listed(rows)})" if rows else ""
    raise ValueError(
        f"the gradient was not finite at step {steps[0]}, counting from 0{of}{often}, though the "
        "particles are: weights are as before, try a lower learning rate or clip gradients"
    )
