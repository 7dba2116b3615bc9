"""What is measured of latents: numbers with intervals, and why others could not be had."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor

from cryo_disentangle.metrics.intervals import Interval
from cryo_disentangle.metrics.particle_rows import ParticleRowsMetric

__all__ = ["Measurement", "Score"]


class Score(NamedTuple):
    """A number, with its interval where one was asked for.

    Attributes:
        value: The score.
        low: Lower end of the interval, or None.
        high: Upper end, or None.
    """

    value: float
    low: float | None = None
    high: float | None = None

    def at_least_zero(self) -> Score:
        """Clips the interval's ends."""
        if self.low is None or self.high is None:
            return self
        return Score(self.value, max(self.low, 0.0), max(self.high, 0.0))


@dataclass
class Measurement:
    """Everything that was measured of latents; `measure_particles` and `measure_images` fill it.

    Attributes:
        resamples: Halves of the particles that intervals are made of; 0 for no intervals.
        scores: By group and name. Groups are pose_leak, spread_leak, rotation, interventions,
            true_interventions, redrawn_noise, true_redrawn_noise, decoding, conformations, truth,
            disentanglement and identifiability; of simulated particles oracle and subspace_oracle,
            the best that any method can reach, and oracle_share and subspace_oracle_share.
        coordinates: Of each coordinate of z, by name.
        components: Of each principal and each independent component, by name.
        verdicts: What labels say about identifiability, in words.
        missing: Why something could not be measured, by what.
    """

    resamples: int = 0
    scores: dict[str, dict[str, Score]] = field(default_factory=dict)
    coordinates: dict[str, list[float]] = field(default_factory=dict)
    components: dict[str, list[float]] = field(default_factory=dict)
    verdicts: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def attempt(self, what: str) -> Iterator[None]:
        """Turns the refusal of a metric into its reason.

        Args:
            what: What is then missing.

        Yields:
            Nothing.
        """
        try:
            yield
        except (ValueError, TypeError, FileNotFoundError) as error:
            self.missing[what] = str(error)

    def keep(self, group: str, found: Mapping[str, Tensor] | Mapping[str, Interval]) -> None:
        """Keeps scores under their group.

        Args:
            group: The group.
            found: Scores, or intervals, by name.
        """
        kept = self.scores.setdefault(group, {})
        for name, score in found.items():
            ends = score if isinstance(score, Interval) else (score,)
            kept[name] = Score(*(float(end) for end in ends))

    def keep_metric(self, group: str, metric: ParticleRowsMetric, *, intervals: bool) -> None:
        """Keeps the scores of a metric, with intervals where these are asked for.

        Reports are made by one process while others wait or have ended, so nothing is gathered.

        Args:
            group: The group.
            metric: With its rows, of this process.
            intervals: Whether the metric's scores have intervals.
        """
        rows = metric.rows()
        if intervals and self.resamples:
            self.keep(group, metric.intervals_of(rows, resamples=self.resamples))
        else:
            self.keep(group, metric.evaluate(rows))
