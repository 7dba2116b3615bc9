"""Whether times or temperatures make latent coordinates meaningful, while a model is trained."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import lightning as L
import torch

from cryo_disentangle.adapters import AdaptedModel, ModelAdapter
from cryo_disentangle.callbacks.epoch_callback import EpochCallback
from cryo_disentangle.callbacks.run_particles import held_out_samples
from cryo_disentangle.judgement.identifiability import judge_identifiability
from cryo_disentangle.judgement.inferred import infer_particles

__all__ = ["IdentifiabilityCheck"]


class IdentifiabilityCheck(EpochCallback):
    """Checks during training whether single coordinates of the latents are identifiable.

    For particles at several temperatures, and for pairs of frames; with others it does nothing.
    Logs ``identifiability/temperature/identifiable`` (1 or 0), ``.../largest_angle`` within which
    an axis is known, in degrees, ``.../smallest_separation``, of the two axes that the temperatures
    tell apart least, ``.../rank`` of ``.../required_rank``, ``.../condition_number`` where it is
    finite; and ``identifiability/slowness/identifiable``, ``.../largest_angle``,
    ``.../smallest_kurtosis``, ``.../largest_exponent`` of the steps' distributions (2 is normal,
    less is sparse) and ``.../largest_dependence`` of two directions. `TemperatureAxes` and
    `TimeAxes` say what is identifiable, `temperature_identifiability` and
    `slowness_identifiability` what the other numbers are; `RunReport` says it in words at the end
    of the run.

    The first process looks at its share of held-out particles, and what fails never ends the
    training.

    Args:
        every_n_epochs: Epochs from one look to the next; the last epoch has one.
        particles: How many held-out particles, or frames of pairs, to look at, at most.
        infer: As for `PenaltyCallback`.
        as_batch: As for `PenaltyCallback`.

    Raises:
        ValueError: If ``every_n_epochs`` is not positive or ``particles`` smaller than 100.
        TypeError: If a function can't be imported, or the module has no ``infer``.
    """

    def __init__(
        self,
        every_n_epochs: int = 1,
        particles: int = 4000,
        infer: str | Callable[..., Any] | None = None,
        as_batch: str | Callable[..., Any] | None = None,
    ) -> None:
        super().__init__(every_n_epochs, ModelAdapter(infer, as_batch=as_batch))
        if particles < 100:
            raise ValueError(f"identifiability needs at least 100 particles, found {particles}")
        self.particles = particles

    def _look(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,  # noqa: ARG002
        model: AdaptedModel,
        epoch: int,  # noqa: ARG002
    ) -> None:
        """Logs the numbers from the first process."""
        if not trainer.is_global_zero:
            return
        with self.failing_softly("judgement of identifiability"):
            samples = iter(held_out_samples(trainer, self._adapter, self.particles))
            first = next(samples, None)
            # Others are not inferred for nothing.
            if first is None or not ("temperature" in first or first["index"].ndim == 2):
                return
            particles = infer_particles(model.infer, itertools.chain([first], samples))
            scores = {
                f"identifiability/{name}/{key}": value
                for name, judgement in judge_identifiability(particles).items()
                for key, value in judgement.scores.items()
            }
            # The last look may come when modules can't log any more.
            trainer.callback_metrics.update(
                {name: torch.tensor(value) for name, value in scores.items()}
            )
            for logger in trainer.loggers if scores else []:
                logger.log_metrics(scores, step=trainer.global_step)
