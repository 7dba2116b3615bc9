"""What callbacks that only watch have in common: they may fail, and training goes on."""

from __future__ import annotations

import abc
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lightning as L
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy
from lightning.pytorch.utilities.seed import isolate_rng
from matplotlib.figure import Figure

from cryo_disentangle.adapters import AdaptedModel, ModelAdapter
from cryo_disentangle.files.paths import replacing
from cryo_disentangle.metrics.particle_rows import evaluating

__all__ = ["EpochCallback"]


class EpochCallback(Callback, abc.ABC):
    """A callback that looks at the model at the end of epochs and changes nothing.

    It works after an epoch's training and validation, with the module in evaluation mode, without
    gradients and with random numbers of its own. Whatever goes wrong in `failing_softly` is told
    once in a warning. Trial runs (``fast_dev_run``) are left alone.

    Args:
        every_n_epochs: Epochs from one look to the next; the last of a run is always one.
        adapter: How the module and its batches are to be understood.

    Raises:
        ValueError: If ``every_n_epochs`` is not positive.
    """

    def __init__(self, every_n_epochs: int, adapter: ModelAdapter) -> None:
        if every_n_epochs < 1:
            raise ValueError(f"every_n_epochs must be at least 1, found {every_n_epochs}")
        self.every_n_epochs = every_n_epochs
        self._adapter = adapter
        self._told: set[str] = set()
        self._unseen = 0

    @abc.abstractmethod
    def _look(
        self, trainer: L.Trainer, pl_module: L.LightningModule, model: AdaptedModel, epoch: int
    ) -> None:
        """Evaluates the model, on every process, after a number of epochs."""

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Refuses modules and strategies that can't be looked at, before any work is done."""
        if stage != "fit":
            return
        self._adapter.model(pl_module)
        strategy = trainer.strategy
        if isinstance(strategy, DeepSpeedStrategy | FSDPStrategy | ModelParallelStrategy):
            raise TypeError(
                f"{type(self).__name__} infers with whole weights on single processes, and "
                f"{type(strategy).__name__} shards them: train with one device or ddp"
            )

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Evaluates the model where it is due."""
        self._unseen = trainer.current_epoch + 1
        if self._unseen % self.every_n_epochs == 0:
            self._catch_up(trainer, pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Evaluates the last epoch, whatever has ended the run."""
        self._catch_up(trainer, pl_module)

    def _catch_up(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Evaluates the last epoch unless that is done already."""
        epoch, self._unseen = self._unseen, 0
        if not epoch or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        with isolate_rng(), evaluating(pl_module):
            self._look(trainer, pl_module, self._adapter.model(pl_module), epoch)

    @contextmanager
    def failing_softly(self, what: str) -> Iterator[None]:
        """Turns an exception into a warning, the first time.

        Args:
            what: What the run has to do without, for the message.

        Yields:
            Nothing.
        """
        try:
            yield
        except Exception as error:
            if what not in self._told:
                self._told.add(what)
                warnings.warn(
                    f"{type(self).__name__}: no {what}, training continues: "
                    f"{type(error).__name__}: {error}",
                    stacklevel=3,
                )

    @staticmethod
    def show(trainer: L.Trainer, figure: Figure, path: Path, tag: str) -> None:
        """Writes a picture and hands it to the loggers that can show figures (TensorBoard's).

        Args:
            trainer: The Trainer.
            figure: The picture.
            path: PNG file.
            tag: Its name in loggers, the same every epoch.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            figure.savefig(temporary, format="png", dpi=130)
        for logger in trainer.loggers:
            add_figure = getattr(getattr(logger, "experiment", None), "add_figure", None)
            if callable(add_figure):
                add_figure(tag, figure, global_step=trainer.global_step, close=False)
