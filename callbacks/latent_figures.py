"""Pictures of the latent space while it is learned."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback
from matplotlib.figure import Figure
from torch import Tensor

from cryo_disentangle.adapters import AdaptedModel, ModelAdapter
from cryo_disentangle.callbacks.epoch_callback import EpochCallback
from cryo_disentangle.callbacks.run_particles import held_out_batches, true_factors
from cryo_disentangle.callbacks.score_callback import ScoreCallback
from cryo_disentangle.drawing.inferred import (
    draw_by_factor,
    draw_by_pose,
    draw_matching,
    draw_rotated_images,
)
from cryo_disentangle.drawing.latent_space import draw_metrics
from cryo_disentangle.judgement.inferred import infer_particles
from cryo_disentangle.types import ParticleBatch

__all__ = ["LatentFigures"]

_ROTATED = 256


class LatentFigures(EpochCallback):
    """Draws the latent space of held-out particles into ``<run>/figures`` every few epochs.

    ``epoch_NNN_latents.png`` shows conformations, coloured by true factors, and
    ``epoch_NNN_poses.png`` by where the particles are seen from, which should show no order.
    ``epoch_NNN_factors.png`` is the correlation of latent coordinates with true factors and their
    best one-to-one matching, ``epoch_NNN_drift.png`` how far conformations move when 256 of the
    images are rotated in their plane, which changes nothing about the molecule, and
    ``epoch_NNN_metrics.png`` has the logged metrics so far; of the scores of a `ScoreCallback`,
    whose files have all, those that tell most. A picture of what is not known is left out.
    TensorBoard gets the pictures, too.

    NNN is the number of epochs done. The first process draws; a picture that fails is told once in
    a warning and never ends the training.

    Args:
        every_n_epochs: Epochs from one set of pictures to the next; the last epoch has one.
        truth: ``truth.npz`` of a simulated stack, for its true factors; null takes those that come
            with the batches, if any.
        particles: How many held-out particles to look at, at most.
        infer: As for `PenaltyCallback`.
        as_batch: As for `PenaltyCallback`.

    Raises:
        ValueError: If a number is out of range, or ``truth`` has no factors.
        FileNotFoundError: If there is no such file.
        TypeError: If a function can't be imported, or the module has no ``infer``.
    """

    def __init__(
        self,
        every_n_epochs: int = 1,
        truth: str | Path | None = None,
        particles: int = 2000,
        infer: str | Callable[..., Any] | None = None,
        as_batch: str | Callable[..., Any] | None = None,
    ) -> None:
        super().__init__(every_n_epochs, ModelAdapter(infer, as_batch=as_batch))
        if particles < 10:
            raise ValueError(f"figures need at least 10 particles, found {particles}")
        self.truth, self.particles = truth, particles
        self._factors: Tensor | None = None
        self._curves: dict[str, dict[int, float]] = {}
        self._validated = False

    def state_dict(self) -> dict[str, Any]:
        """Returns the metrics logged so far, by name and epoch."""
        return {"curves": self._curves}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on with the metrics of a resumed run."""
        self._curves = {name: dict(curve) for name, curve in state_dict["curves"].items()}

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Checks module and truth before the run rather than in it."""
        super().setup(trainer, pl_module, stage)
        if stage == "fit" and self.truth is not None:
            self._factors = true_factors(trainer, self.truth)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: ARG002
        """Keeps the metrics, before a checkpoint is made of the state."""
        if not trainer.sanity_checking:
            self._validated = True
            self._keep_metrics(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Keeps the metrics of training, too, and draws."""
        self._keep_metrics(trainer)
        self._validated = False
        super().on_train_epoch_end(trainer, pl_module)

    def _look(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,  # noqa: ARG002
        model: AdaptedModel,
        epoch: int,
    ) -> None:
        """Draws all pictures from the first process."""
        if not trainer.is_global_zero:
            return
        drawings: dict[str, Callable[[], Figure | None]] = {
            "metrics": lambda: draw_metrics(self._curves, _scores(trainer), _chance(trainer))
        }
        with self.failing_softly("look at held-out particles"):
            held_out = held_out_batches(trainer, self._adapter, self.particles)
            rotated, batches = _some(held_out, _ROTATED)
            rows = infer_particles(model.infer, batches)
            if self._factors is not None and rows.index is not None:
                rows = rows.with_labels(factors=self._factors[rows.index])
            drawings["latents"] = lambda: draw_by_factor(rows)
            drawings["poses"] = lambda: draw_by_pose(rows)
            drawings["factors"] = lambda: draw_matching(rows)
            drawings["drift"] = lambda: draw_rotated_images(model, rotated, rows)
        for name, draw in drawings.items():
            with self.failing_softly(f"picture of {name}"):
                figure = draw()
                if figure is not None:
                    file = f"figures/epoch_{epoch:03d}_{name}.png"
                    path = Path(trainer.default_root_dir, file)
                    self.show(trainer, figure, path, f"figures/{name}")

    def _keep_metrics(self, trainer: L.Trainer) -> None:
        """Keeps what is logged, under the number of epochs done."""
        epoch, logged = trainer.current_epoch + 1, trainer.callback_metrics
        # Callbacks that score keep their own; and NAME stands for NAME_step and NAME_epoch.
        elsewhere = {name for callback in _scoring(trainer) for name in callback.last_scores}
        elsewhere |= {f"{name}{end}" for name in logged for end in ("_step", "_epoch")}
        for name in logged.keys() - elsewhere:
            curve, number = self._curves.get(name, {}), float(logged[name])
            # Without a validation in this epoch its metrics are still those of an earlier one.
            if self._validated or not curve or curve[max(curve)] != number:
                self._curves[name] = curve | {epoch: number}


def _scoring(trainer: L.Trainer) -> list[ScoreCallback]:
    """The callbacks that score the model."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return [callback for callback in callbacks if isinstance(callback, ScoreCallback)]


def _scores(trainer: L.Trainer) -> dict[str, dict[str, dict[int, float]]]:
    """What callbacks have scored, by title."""
    return {_title(callback): callback.headline_curves for callback in _scoring(trainer)}


def _chance(trainer: L.Trainer) -> dict[str, float]:
    """What chance scores, by title."""
    return {_title(c): c.chance for c in _scoring(trainer) if c.chance is not None}


def _title(callback: ScoreCallback) -> str:
    """Title of a panel; the prefix distinguishes two callbacks of one class."""
    prefix = "" if callback.prefix == "metrics" else f"{callback.prefix}: "
    return prefix + callback.title


def _some(
    batches: Iterable[ParticleBatch], count: int
) -> tuple[list[ParticleBatch], Iterable[ParticleBatch]]:
    """The first batches with ``count`` particles, and all batches."""
    iterator = iter(batches)
    first: list[ParticleBatch] = []
    while sum(len(batch["index"]) for batch in first) < count:
        batch = next(iterator, None)
        if batch is None:
            break
        first.append(batch)
    return first, itertools.chain(first, iterator)
