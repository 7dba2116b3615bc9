"""What the metrics of models share: they look at batches and keep a few numbers a particle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from cryo_disentangle.metrics.all_processes import gather_samples
from cryo_disentangle.metrics.intervals import Interval, half_sample_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = ["ParticleRowsMetric", "evaluating"]


@contextmanager
def evaluating(model: object) -> Iterator[None]:
    """Runs a model without gradients and, where it is a module, in evaluation mode.

    Args:
        model: Any model; each of its modules gets its own mode back.

    Yields:
        Nothing.
    """
    modes = [(m, m.training) for m in model.modules()] if isinstance(model, nn.Module) else []
    if isinstance(model, nn.Module):
        model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training


class ParticleRowsMetric(Metric):
    """A metric that keeps named rows of numbers, one a particle, and scores them at the end.

    Rows of all processes are brought into the order of ``index``, and a particle that is there
    twice, as a distributed sampler pads, counts once: neither batches nor processes change what is
    scored.

    Args:
        names: Of the rows, besides ``index``; those that no batch fills are left out.
        **kwargs: What torchmetrics' Metric takes.
    """

    is_differentiable = False
    higher_is_better = None
    full_state_update = False

    index: list[Tensor]

    def __init__(self, names: Sequence[str], **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(**{"dist_sync_fn": gather_samples, **kwargs})
        self._names = tuple(names)
        for name in ("index", *names):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def keep(self, index: Tensor, rows: Mapping[str, Tensor | None]) -> None:
        """Stores a batch.

        Args:
            index: Which particles, shape (B,).
            rows: Numbers of each, shape (B, ...); None for what is not known.
        """
        self.index.append(index.detach())
        for name, values in rows.items():
            if values is not None:
                getattr(self, name).append(values.detach())

    def rows(self) -> dict[str, Tensor]:
        """Gathers what was stored.

        Returns:
            Rows by name, shape (N, ...), in the order of ``index``, each particle once, on the CPU:
            scores wait for dozens of numbers, and not all devices have float64.

        Raises:
            ValueError: If nothing is stored, or a row is known of some particles only.
        """
        if not len(self.index) or not len(dim_zero_cat(self.index)):
            raise ValueError(
                f"{type(self).__name__} has nothing to score: call update with particles first"
            )
        index = dim_zero_cat(self.index).cpu()
        order = index.argsort(stable=True)
        index = index[order]
        first = torch.ones_like(index, dtype=torch.bool)
        first[1:] = index[1:] != index[:-1]
        order = order[first]
        found = {}
        for name in self._names:
            if not len(getattr(self, name)):
                continue
            values = dim_zero_cat(getattr(self, name)).cpu()
            if len(values) != len(first):
                raise ValueError(
                    f"{name} must be known of all particles or none, got it of {len(values)} of "
                    f"{len(first)}"
                )
            found[name] = values[order]
        return found

    def evaluate(self, rows: dict[str, Tensor]) -> dict[str, Tensor]:
        """Scores particles, whatever has been stored.

        Args:
            rows: Numbers of the particles by name, shape (N, ...).

        Returns:
            Scores by name, float64 scalars.

        Raises:
            ValueError: If there are too few particles, or a number is not finite.
        """
        raise NotImplementedError(f"{type(self).__name__} has no scores of rows")

    def compute(self) -> dict[str, Tensor]:
        """Scores all particles.

        Returns:
            Scores by name, float64 scalars.

        Raises:
            ValueError: If nothing is stored, or the metric refuses what is.
        """
        return self.evaluate(self.rows())

    def intervals(
        self, *, level: float = 0.95, resamples: int = 100, seed: int = 0
    ) -> dict[str, Interval]:
        """Finds the intervals of all scores from half of the particles; see `bootstrap_interval`.

        Takes about ``resamples`` / 2 times as long as ``compute``, and like it needs all processes.

        Args:
            level: Probability that an interval holds.
            resamples: Number of halves of the particles.
            seed: Of the halves.

        Returns:
            Scores with their intervals by name; ends are not clipped to a score's range.

        Raises:
            ValueError: If level or resamples is out of range, or there are too few particles for
                halves of them to be scored.
        """
        with self.sync_context(dist_sync_fn=self.dist_sync_fn):
            rows = self.rows()
        return self.intervals_of(rows, level=level, resamples=resamples, seed=seed)

    def intervals_of(
        self,
        rows: dict[str, Tensor],
        *,
        level: float = 0.95,
        resamples: int = 100,
        seed: int = 0,
    ) -> dict[str, Interval]:
        """Finds the intervals of scores of particles, whatever has been stored.

        Args:
            rows: Numbers of the particles by name, shape (N, ...).
            level: Probability that an interval holds.
            resamples: Number of halves of the particles.
            seed: Of the halves.

        Returns:
            Scores with their intervals by name.

        Raises:
            ValueError: As `intervals`.
        """
        names: list[str] = []

        def score(chosen: Tensor) -> Tensor:
            found = self.evaluate({name: values[chosen] for name, values in rows.items()})
            names[:] = found
            return torch.stack(list(found.values()))

        count = len(next(iter(rows.values())))
        found = half_sample_interval(score, count, level=level, resamples=resamples, seed=seed)
        return {
            name: Interval(*ends)
            for name, *ends in zip(names, found.value, found.low, found.high, strict=True)
        }

    def plot(
        self,
        val: dict[str, Tensor] | Sequence[dict[str, Tensor]] | None = None,
        ax: Axes | None = None,
    ) -> tuple[Figure, Axes | NDArray[Any]]:
        """Draws the scores of one or of several computations.

        Args:
            val: Results of ``compute``; None takes the present one.
            ax: Where to draw; None makes a new figure.

        Returns:
            The figure and its axes.
        """
        return self._plot(val, ax)
