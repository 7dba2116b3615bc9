"""Scores of a model while it is trained: when, on which particles, and where they go."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.utilities import move_data_to_device
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torchmetrics import Metric

from cryo_disentangle.adapters import AdaptedModel, ModelAdapter
from cryo_disentangle.callbacks.names import snake_case
from cryo_disentangle.callbacks.watching import named_by_image, undisturbed
from cryo_disentangle.held_out.particles import HeldOutParticles, HeldOutSource
from cryo_disentangle.judgement.score_table import MetricTable
from cryo_disentangle.metrics.feeding import FedMetric
from cryo_disentangle.particles.preprocessing import Preprocessing
from cryo_disentangle.precision import exact
from cryo_disentangle.protocols import Score
from cryo_disentangle.types import ParticleBatch, flatten_particles

__all__ = ["ScoreCallback"]

_Function = Callable[..., Any]


class ScoreCallback(Callback):
    """Scores a model by any metric, on held-out particles or on the validation batches.

    A metric's ``update`` names what it asks for (`Score`): ``update(self, z, factors)`` is shown
    posterior means and true factors of all particles at once, ``update(self, model, batch)`` one
    batch after the other. Of a metric ``Name`` that returns one number ``metrics/name`` is logged,
    of one that returns several ``metrics/name/<score>``.

    Scoring is done in evaluation mode, without gradients, under the Trainer's precision, and leaves
    the training and its random numbers as they are. Each process looks at its share of particles
    and gets the scores of all; a particle that a sampler shows twice counts once. Particles are
    known by their index or, where ``as_batch`` makes them of a loop that may number none, by their
    image.

    Scores are logged, known to ``ModelCheckpoint(monitor=...)`` and ``EarlyStopping``, and kept in
    ``<default_root_dir>/<prefix>/<table>.csv`` and ``.json``, a row an evaluation, which a resumed
    run continues. The first validation is scored, then those of each ``every_n_epochs``-th epoch
    after it; at the validations between, the last scores still stand. Held-out particles are scored
    at the end of training epochs where the run has no validation. A ``fast_dev_run`` shows the
    model one batch, scores nothing and writes nothing.

    Attributes:
        table: Name of the files.
        title: What a picture of the scores is called.
        headline: Names of the scores that tell most, as patterns of `fnmatch`.

    Args:
        metric: A metric of torchmetrics, one of `cryo_disentangle.metrics`, or any object with
            ``update`` and ``compute``. It stays as it is; each evaluation takes a copy.
        name: Name of the scores and files; null is the metric's class name in snake case.
        every_n_epochs: Epochs from one evaluation to the next.
        held_out: Simulated particles that the model is not trained on: a folder that
            ``cryo-disentangle simulate`` has written, a `SimulatedParticles`, or a `Simulation`, of
            a `LearnedMolecule`, too; null takes the validation batches.
        particles: How many held-out particles at most.
        batch_size: Held-out particles a batch at most.
        preprocessing: What is done to held-out images; null is what the DataModule of the run does,
            with its normalisation. One without a normalisation gets it from the held-out particles,
            as those of a learned molecule need it.
        prefix: First part of the names of logged scores, and the folder of the files. Callbacks of
            one class need different ones.
        infer: As for `PenaltyCallback`.
        generate: As for `PenaltyCallback`.
        as_batch: As for `PenaltyCallback`.

    Raises:
        ValueError: If a number is out of range, or the prefix is no name; at the start of a run if
            particles lack what the metric asks for, held-out particles don't fit to the
            run's, or nothing tells how to prepare them.
        FileNotFoundError: At the start of a run, if a file of a simulated stack is missing.
        TypeError: If ``update`` doesn't name what it asks for, a dotted name can't be imported, or
            what it names can't be called; at the start of a run, if the module has no ``infer``.
    """

    title: str = ""
    # What latents without any order would score, for pictures; None where that is no one number.
    chance: float | None = None
    headline: tuple[str, ...] = ()

    def __init__(  # noqa: PLR0913 - each is a key of the configuration file
        self,
        metric: Metric | Score,
        name: str | None = None,
        every_n_epochs: int = 1,
        held_out: HeldOutSource | None = None,
        particles: int = 4000,
        batch_size: int = 64,
        preprocessing: Preprocessing | None = None,
        prefix: str = "metrics",
        infer: str | _Function | None = None,
        generate: str | _Function | None = None,
        as_batch: str | _Function | None = None,
    ) -> None:
        if every_n_epochs < 1:
            raise ValueError(f"every_n_epochs must be at least 1, found {every_n_epochs}")
        if re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)*", prefix) is None:
            raise ValueError(f"prefix must be a name such as metrics, found {prefix!r}")
        # Refuses one that can't be fed now rather than at the first validation.
        self._missing = FedMetric(metric).missing
        self.metric = metric
        self.table = snake_case(type(metric).__name__) if name is None else name
        self.title = self.title or self.table.replace("_", " ")
        self.headline = self.headline or (self.table, f"{self.table}/*")
        self.every_n_epochs, self.prefix = every_n_epochs, prefix
        self.held_out = HeldOutParticles.of(held_out, particles, batch_size, preprocessing)
        self._table = MetricTable()
        self._adapter = ModelAdapter(infer, generate, as_batch)
        self._numbered = as_batch is None
        self._model: AdaptedModel | None = None
        self._metric: FedMetric | None = None
        self._seen = False
        self._known: list[str] = []

    def _make_metric(self, trainer: L.Trainer) -> Metric | Score:  # noqa: ARG002
        """The metric of an evaluation, which is copied."""
        return self.metric

    def _score_name(self, name: str) -> str:
        """Under which name, after the prefix, a score of the metric is logged."""
        return f"{self.table}/{name}" if name else self.table

    def _check_model(self, model: AdaptedModel) -> None:
        """Refuses a model that can't be scored."""

    def _check_batch(self, batch: ParticleBatch) -> None:
        """Refuses particles that lack what the metric asks for."""
        missing = self._missing(batch)
        if missing:
            raise ValueError(
                f"{type(self.metric).__name__} needs {', '.join(missing)}: the particles have "
                f"{', '.join(sorted(batch))}; give held_out, a simulated stack with true factors, "
                "or particles labelled with them"
            )

    @property
    def last_scores(self) -> dict[str, float]:
        """The scores of the last evaluation, as they are logged; empty before the first."""
        return {f"{self.prefix}/{name}": v for name, v in self._table.last_scores.items()}

    @property
    def headline_curves(self) -> dict[str, dict[int, float]]:
        """The scores that tell most: values by the number of epochs done, by name."""
        return self._table.curves(self.headline)

    @property
    def state_key(self) -> str:
        """Distinguishes the states of callbacks of one class."""
        if type(self) is ScoreCallback:
            return self._generate_state_key(prefix=self.prefix, name=self.table)
        return self._generate_state_key(prefix=self.prefix)

    def state_dict(self) -> dict[str, Any]:
        """Returns what a checkpoint keeps: the scores so far."""
        return self._table.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from a checkpoint."""
        self._table.load_state_dict(state_dict)

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Checks the model and the held-out particles before any work is done."""
        if stage not in ("fit", "validate"):
            return
        self._model = self._adapter.model(pl_module)
        self._check_model(self._model)
        if self.held_out is not None:
            self.held_out.open(trainer)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: ARG002
        """Refuses a run without anything to score a model on."""
        if self.held_out is None and not _validates(trainer):
            raise ValueError(
                f"{type(self).__name__} looks at validation batches and this run has none: give "
                "held_out, or validation data and a validation_step"
            )

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begins an evaluation if one is due."""
        self._metric = None
        if not trainer.sanity_checking and self._is_due(trainer):
            self._begin(trainer, pl_module)

    def on_validation_batch_start(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        batch: Any,  # noqa: ANN401
        batch_idx: int,  # noqa: ARG002
        dataloader_idx: int = 0,  # noqa: ARG002
    ) -> None:
        """Scores a validation batch, where there are no held-out particles."""
        if self.held_out is not None or not (self._metric or trainer.sanity_checking):
            return
        particles = flatten_particles(self._adapter.batch(batch))
        self._check_batch(particles)
        if self._metric is not None:
            named = particles if self._numbered else named_by_image(particles)
            self._show(trainer, pl_module, named)

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Scores what was seen, or the held-out particles."""
        if self._metric is not None:
            self._finish(trainer, pl_module)
        elif not trainer.sanity_checking:
            self._repeat(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Scores held-out particles where there is no validation."""
        if _validates(trainer):
            return
        if self._is_due(trainer):
            self._begin(trainer, pl_module)
            self._finish(trainer, pl_module)
        else:
            self._repeat(trainer)

    def _is_due(self, trainer: L.Trainer) -> bool:
        """Whether this is the first epoch to score, one as many epochs later, or the same."""
        last, epoch = self._table.last_epoch, trainer.current_epoch
        # Several validations of one epoch are all scored.
        passed = self.every_n_epochs if last is None else epoch - last
        return trainer.state.fn != TrainerFn.FITTING or passed == 0 or passed >= self.every_n_epochs

    def _begin(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Makes an empty metric."""
        with undisturbed(pl_module):
            self._metric = FedMetric(self._make_metric(trainer)).to(pl_module.device)
        if trainer.world_size > 1 and not self._metric.gathers():
            raise ValueError(
                f"{type(self.metric).__name__} looks at batches, and scores of several processes "
                "need a torchmetrics.Metric: inherit from it, or let update ask for rows (z, ...)"
            )
        self._seen = False

    def _show(self, trainer: L.Trainer, pl_module: L.LightningModule, batch: ParticleBatch) -> None:
        """Lets the metric look at the model with a batch."""
        if self._metric is None or self._model is None:
            return
        with undisturbed(pl_module), trainer.precision_plugin.val_step_context():
            self._check_batch(batch)
            self._metric.update(self._model, batch)
        self._seen = True
        self._known = sorted(batch)

    def _finish(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Scores, logs and writes."""
        if self.held_out is not None:
            for batch in self.held_out.batches(trainer):
                converted = trainer.precision_plugin.convert_input(batch)
                self._show(trainer, pl_module, move_data_to_device(converted, pl_module.device))
                if trainer.fast_dev_run:  # type: ignore[attr-defined]
                    break
        metric, self._metric = self._metric, None
        if metric is None or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        # All processes stop or none: the others would wait for one that stopped.
        if not trainer.strategy.reduce_boolean_decision(self._seen):
            raise ValueError(
                f"{type(self).__name__} saw no validation particles on some process: use fewer "
                "processes, or more validation batches"
            )
        with undisturbed(pl_module):
            found = metric.compute()
        if not found:
            raise ValueError(
                f"{type(self.metric).__name__} finds nothing to score in particles that have "
                f"{', '.join(self._known)}: give more of what is known of them, or held_out"
            )
        scores = {self._score_name(name): value for name, value in _numbers(found).items()}
        # The mean over processes, which all found the same, makes them agree on the last digit.
        pl_module.log_dict(
            {f"{self.prefix}/{name}": value for name, value in scores.items()},
            batch_size=1,
            sync_dist=True,
        )
        if trainer.state.fn == TrainerFn.FITTING:
            self._keep(trainer, scores)

    def _keep(self, trainer: L.Trainer, scores: dict[str, float]) -> None:
        """Adds a row to the table and writes it from the first process."""
        self._table.add(trainer.current_epoch, trainer.global_step, scores)
        if trainer.is_global_zero:
            self._table.write(Path(trainer.default_root_dir) / self.prefix / self.table)

    def _repeat(self, trainer: L.Trainer) -> None:
        """Lets the last scores stand, which a resumed run has in its table alone."""
        last = {name: torch.tensor(value) for name, value in self.last_scores.items()}
        trainer.callback_metrics.update(last)


def _numbers(found: dict[str, Tensor]) -> dict[str, float]:
    """Reads scores, all at once, for each reading waits for the device."""
    values = list(found.values())
    each = torch.stack([exact(value.to(values[0].device)) for value in values])
    return dict(zip(found, each.tolist(), strict=True))


def _validates(trainer: L.Trainer) -> bool:
    """Whether the training has validation batches."""
    return trainer.enable_validation and sum(trainer.num_val_batches) > 0
