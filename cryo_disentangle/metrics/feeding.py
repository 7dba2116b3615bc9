"""Any metric, fed with what its ``update`` asks for by the names of its arguments."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from cryo_disentangle.metrics.base import CodesMetric
from cryo_disentangle.metrics.particle_rows import ParticleRowsMetric
from cryo_disentangle.protocols import Score
from cryo_disentangle.protocols.models import LatentImageModel
from cryo_disentangle.types import ParticleBatch

__all__ = ["FedMetric"]

# What a metric that looks at batches asks for; all else are rows, one a particle.
_OF_BATCHES = {"model", "batch", "inference"}
_INFERRED = ("z", "log_variance")


class _Rows(ParticleRowsMetric):
    """Rows of all processes, whose score is themselves."""

    def update(self, index: Tensor, rows: dict[str, Tensor]) -> None:
        """Stores a batch."""
        self.keep(index, rows)

    def compute(self) -> dict[str, Tensor]:
        """Gathers rows in an order that depends on their number alone."""
        rows = self.rows()
        # Which rows are held out depends on this: latents differ in the last digits with the number
        # of processes, and stacks may be in the order of time.
        count = len(next(iter(rows.values())))
        order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
        return {name: values[order.to(values.device)] for name, values in rows.items()}


class FedMetric:
    """A fresh copy of a metric, on its way to scores.

    A metric whose ``update`` takes ``model``, ``batch`` or ``inference`` is shown one batch after
    the other. Of all others rows are kept, one a particle: posterior means ``z``, their
    ``log_variance`` and what the particles' batch has by the argument's name (``factors``,
    ``rotation``, ``time`` and so on). They are shown at once in the end, each particle once and in
    an order that depends on their number alone, whatever the batches and processes.

    Args:
        metric: The metric, which stays as it is. A MetricCollection gets what its members ask for.

    Raises:
        TypeError: If ``update`` takes a number of arguments that is not fixed.
    """

    def __init__(self, metric: Metric | MetricCollection | Score) -> None:
        self.metric: Any = copy.deepcopy(metric)
        members = self._members()
        self.asked = {name: None for member in members.values() for name in _asked(member)}
        self._optional = {name for member in members.values() for name in _optional(member)}
        self._rows: _Rows | None = None
        if not _OF_BATCHES & self.asked.keys():
            self._rows = _Rows(tuple(self.asked))

    def to(self, device: torch.device) -> FedMetric:
        """Moves what is kept.

        Args:
            device: Where to.

        Returns:
            This object.
        """
        for part in (self.metric, self._rows):
            if isinstance(part, torch.nn.Module):
                part.to(device)
        return self

    def missing(self, batch: ParticleBatch) -> list[str]:
        """Lists what the metric asks for and particles don't have.

        Args:
            batch: B single particles.

        Returns:
            Names of arguments.
        """
        known = {*_OF_BATCHES, *_INFERRED, *batch}
        return [name for name in self.asked if name not in known | self._optional]

    def gathers(self) -> bool:
        """Returns whether scores are of the particles of all processes."""
        return self._rows is not None or isinstance(self.metric, Metric | MetricCollection)

    def update(self, model: LatentImageModel, batch: ParticleBatch) -> None:
        """Shows the metric single particles.

        Args:
            model: The model.
            batch: B particles.
        """
        if self._rows is None and "inference" not in self.asked and not self._needs_rows():
            known: dict[str, Any] = {**batch, "model": model, "batch": batch}
        else:
            found = model.infer(batch)
            inferred = {"z": found.mean, "log_variance": found.log_variance, "inference": found}
            known = {**batch, **inferred, "model": model, "batch": batch}
        given = {name: known[name] for name in self.asked if name in known}
        if self._rows is None:
            self.metric.update(**given)
        else:
            self._rows.update(batch["index"], given)

    def compute(self) -> dict[str, Tensor]:
        """Scores all particles.

        Returns:
            Scores by name; that of a metric of a single one has the empty name.

        Raises:
            TypeError: If the metric returns something else than numbers.
            ValueError: If nothing is stored, or the metric refuses what is.
        """
        if self._rows is None:
            return _scores(self.metric.compute(), self.metric)
        rows = self._rows.compute()
        found: dict[str, Tensor] = {}
        for name, member in self._members().items():
            for inner, value in _scores(_of_rows(member, rows), member).items():
                found["_".join(part for part in (name, inner) if part)] = value
        return found

    def _members(self) -> dict[str, Any]:
        """The metrics of a collection, or the metric alone."""
        if isinstance(self.metric, MetricCollection):
            return dict(self.metric.items(keep_base=True))
        return {"": self.metric}

    def _needs_rows(self) -> bool:
        return bool(self.asked.keys() & set(_INFERRED))


def _of_rows(metric: Any, rows: dict[str, Tensor]) -> object:  # noqa: ANN401 - any metric
    """What a metric finds of rows of all processes."""
    asked = {name: rows[name] for name in _asked(metric) if name in rows}
    if isinstance(metric, CodesMetric):
        return metric.evaluate(**asked)
    if isinstance(metric, Metric):
        metric.sync_on_compute = False
    metric.update(**asked)
    return metric.compute()


def _parameters(metric: Any) -> list[inspect.Parameter]:  # noqa: ANN401 - any metric
    found = list(inspect.signature(metric.update).parameters.values())
    loose = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    if not found or any(parameter.kind in loose for parameter in found):
        raise TypeError(
            f"{type(metric).__name__}.update must name what it asks for: any of model, batch, "
            "inference, z, log_variance, and what particles have, such as factors or rotation"
        )
    return found


def _asked(metric: Any) -> list[str]:  # noqa: ANN401 - any metric
    return [parameter.name for parameter in _parameters(metric)]


def _optional(metric: Any) -> list[str]:  # noqa: ANN401 - any metric
    return [p.name for p in _parameters(metric) if p.default is not inspect.Parameter.empty]


def _scores(found: object, metric: object) -> dict[str, Tensor]:
    """Numbers by name."""
    named = dict(found) if isinstance(found, Mapping) else {"": found}
    try:
        return {str(name): torch.as_tensor(value).reshape(()) for name, value in named.items()}
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(
            f"{type(metric).__name__}.compute must return a number or numbers by name, found "
            f"{type(found).__name__}: {error}"
        ) from error
