"""The progress bar of training, which reads the loss where it is logged anyway."""

from __future__ import annotations

import lightning as L
from lightning.pytorch.callbacks import RichProgressBar

__all__ = ["LossBar"]

_LOSS = "train/loss"


class LossBar(RichProgressBar):
    """Lightning's bar with the training loss of every ``log_every_n_steps``-th step.

    Reading a number waits for the device; what is logged with ``prog_bar=True`` is read each step.
    """

    def __init__(self) -> None:
        # Short epochs are many: each would leave a line of its own.
        super().__init__(leave=False)
        self._loss: float | None = None

    def get_metrics(
        self, trainer: L.Trainer, pl_module: L.LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """Adds the training loss.

        Args:
            trainer: The Trainer.
            pl_module: The model.

        Returns:
            Numbers by name.
        """
        found = super().get_metrics(trainer, pl_module)
        first = self._loss is None
        if first or trainer.global_step % max(1, trainer.log_every_n_steps) == 0:  # type: ignore[attr-defined]
            loss = trainer.callback_metrics.get(_LOSS)
            self._loss = None if loss is None else float(loss)
        return found if self._loss is None else {**found, _LOSS: self._loss}
