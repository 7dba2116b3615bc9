"""What a finished run's conformations are about, in numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt
import torch
from rich.progress import Progress
from torch import Tensor

from cryo_disentangle.adapters import AdaptedModel
from cryo_disentangle.evaluation.readings import fit_independent
from cryo_disentangle.evaluation.runs import FinishedRun
from cryo_disentangle.evaluation.streaming import AllRows, Particles
from cryo_disentangle.judgement.identifiability import slowness_scores, temperature_scores
from cryo_disentangle.metrics import (
    Interval,
    PoseConformationMetrics,
    PoseLeak,
    RotationTest,
    TrueGenerator,
    disentanglement_metrics,
)
from cryo_disentangle.metrics.interventions import GeneratesImages
from cryo_disentangle.metrics.particle_rows import ParticleRowsMetric
from cryo_disentangle.networks import LinearReadout, negentropy
from cryo_disentangle.particles import next_frames
from cryo_disentangle.priors import (
    kl_standard_normal,
    slowness_identifiability,
    temperature_identifiability,
)
from cryo_disentangle.types import ParticleBatch, Pose

__all__ = ["Measurement", "Score"]

_IN_USE = 0.5
_ICA_ROWS = 20_000
_NO_IMAGES_READ = (
    "conformations are not inferred from images but kept in a table, so a rendered or turned image "
    "has none"
)


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


class Measurement:
    """Everything that can be measured of a finished run; `run` does it.

    Args:
        run: The run.
        model: Its model; None where conformations are stored.
        particles: Its particles.
        rows: What is inferred of all of them.
        chosen: Rows of the particles that are turned and trade poses, and that probes are fitted
            to, shape (S,).
        truth: The generator that simulated particles were made by, or None.
        resamples: Halves of the particles that intervals are made of; 0 for no intervals.

    Attributes:
        scores: By group and name. Groups are pose_leak, rotation, interventions,
            true_interventions, conformations, disentanglement and identifiability.
        coordinates: Of each coordinate of z, by name.
        components: Of each principal and each independent component, by name.
        verdicts: What labels say about identifiability, in words.
        missing: Why something could not be measured, by what.
    """

    def __init__(
        self,
        run: FinishedRun,
        model: AdaptedModel | None,
        particles: Particles,
        rows: AllRows,
        chosen: npt.NDArray[np.int64],
        truth: TrueGenerator | None = None,
        resamples: int = 40,
    ) -> None:
        self._run, self._model, self._particles = run, model, particles
        self._rows, self._chosen, self._truth, self._resamples = rows, chosen, truth, resamples
        self.scores: dict[str, dict[str, Score]] = {}
        self.coordinates: dict[str, list[float]] = {}
        self.components: dict[str, list[float]] = {}
        self.verdicts: dict[str, str] = {}
        self.missing: dict[str, str] = {}

    def measure(self, progress: Progress) -> None:
        """Measures; what can't be had is told in `missing`.

        Args:
            progress: Where to tell how far it is.
        """
        metrics = self._show_chosen(progress)
        task = progress.add_task("Scoring", total=len(metrics) + 2)
        for name, metric in metrics.items():
            with self._attempt(name):
                self.scores[name] = self._scored(metric)
            progress.update(task, advance=1)
        self._describe_coordinates()
        self._read_components()
        progress.update(task, advance=1)
        self._compare_with_factors()
        self._judge()
        progress.update(task, advance=1)

    @contextmanager
    def _attempt(self, what: str) -> Iterator[None]:
        """Turns the refusal of a metric into its reason."""
        try:
            yield
        except (ValueError, TypeError, FileNotFoundError) as error:
            self.missing[what] = str(error)

    def _show_chosen(self, progress: Progress) -> dict[str, ParticleRowsMetric]:
        """Lets metrics of the model look at the chosen particles."""
        metrics: dict[str, ParticleRowsMetric] = {
            "pose_leak": PoseLeak(),
            "rotation": RotationTest(),
        }
        task = progress.add_task("Turning images, trading poses", total=len(self._chosen))
        if self._model is None or not self._run.reads_images:
            del metrics["rotation"]
            self.missing |= dict.fromkeys(("rotation", "interventions"), _NO_IMAGES_READ)
        at = 0
        for batch in self._particles.batches(self._chosen):
            if at == 0 and self._model is not None and self._run.reads_images:
                metrics |= self._interventions(batch)
            count = len(batch["index"])
            places = self._chosen[at : at + count]
            for name in list(metrics):
                with self._attempt(name):
                    self._update(metrics[name], batch, places)
                if name in self.missing:
                    del metrics[name]
            at += count
            progress.update(task, advance=count)
        return metrics

    def _update(
        self, metric: ParticleRowsMetric, batch: ParticleBatch, places: npt.NDArray[np.int64]
    ) -> None:
        """Shows a metric a batch."""
        if not isinstance(metric, PoseLeak):
            metric.update(self._model, batch)
            return
        known = cast("dict[str, Tensor]", batch).copy()
        if self._rows.rotation is not None:
            known["rotation"] = self._rows.rotation[places]
        if not {"rotation", "translation", "ctf", "time", "temperature"} & known.keys():
            raise ValueError("the particles have neither poses nor anything else that could leak")
        on_host = {name: value.cpu() for name, value in known.items()}
        metric.update(self._rows.mean[places], cast("ParticleBatch", on_host))

    def _interventions(self, batch: ParticleBatch) -> dict[str, ParticleRowsMetric]:
        """Metrics of traded poses, with noise at the level of the data."""
        found: dict[str, ParticleRowsMetric] = {}
        model = cast("AdaptedModel", self._model)
        with self._attempt("interventions"):
            noise = _noise_std(model, model, None, batch)
            found["interventions"] = PoseConformationMetrics(noise_std=noise)
        if self._truth is not None and "factors" in batch:
            with self._attempt("true_interventions"):
                noise = _noise_std(model, self._truth, batch["factors"], batch)
                found["true_interventions"] = PoseConformationMetrics(self._truth, noise_std=noise)
        return {name: metric.to(batch["images"].device) for name, metric in found.items()}

    def _scored(self, metric: ParticleRowsMetric) -> dict[str, Score]:
        """All scores of a metric, with intervals where these are asked for."""
        if isinstance(metric, PoseConformationMetrics):
            self.missing |= metric.unavailable
        if not self._resamples:
            return {name: Score(float(value)) for name, value in metric.compute().items()}
        found = _with_intervals(metric.intervals(resamples=self._resamples))
        if not isinstance(metric, PoseLeak):
            return found
        # What z knows of something is never less than nothing.
        return {name: score.at_least_zero() for name, score in found.items()}

    def _describe_coordinates(self) -> None:
        """How much each coordinate is used."""
        mean, log_variance = self._rows.mean.double(), self._rows.log_variance
        self.coordinates["std"] = mean.std(0).tolist()
        self.scores["conformations"] = {"dimension": Score(float(mean.shape[1]))}
        if log_variance is None:
            self.missing["posterior_collapse"] = "the run keeps no posterior variances"
            return
        width = log_variance.double().exp().mean(0)
        # Of coordinates with a unit normal prior this is the mean variance lost by the posterior.
        share = mean.var(0) / (mean.var(0) + width)
        kl = kl_standard_normal(self._rows.mean[..., None], log_variance[..., None]).mean(0)
        self.coordinates |= {
            "kl_nats": kl.tolist(),
            "posterior_std": width.sqrt().tolist(),
            "share_known": share.tolist(),
        }
        self.scores["conformations"] |= {
            "coordinates_in_use": Score(float((share > _IN_USE).sum())),
            "kl_nats": Score(float(kl.sum())),
        }

    def _read_components(self) -> None:
        """Principal and independent components of z."""
        mean = self._rows.mean
        with self._attempt("components"):
            principal = LinearReadout.pca(mean)
            variance = principal(mean).double().var(0)
            if not float(variance.sum()) > 0:
                raise ValueError("the conformations of all particles are the same")
            self.components |= {
                "pca_variance_share": (variance / variance.sum()).tolist(),
                "pca_negentropy": principal.negentropy.tolist(),
                "coordinate_negentropy": negentropy(mean.double()).tolist(),
            }
            independent = fit_independent(mean[self._particles.sample(_ICA_ROWS)])
            self.components["ica_negentropy"] = negentropy(independent(mean)).tolist()

    def _compare_with_factors(self) -> None:
        """The suite of scores against true factors."""
        factors = self._rows.labels.get("factors")
        if factors is None:
            self.missing["disentanglement"] = "the particles' true factors are not known"
            return
        with self._attempt("disentanglement"):
            codes = self._rows.mean[self._chosen], factors[self._chosen]
            if not self._resamples:
                found = disentanglement_metrics(*codes)
                plain = {name: Score(float(value)) for name, value in found.items()}
                self.scores["disentanglement"] = plain
                return
            self.scores["disentanglement"] = _with_intervals(
                disentanglement_metrics(*codes, with_interval=True, resamples=self._resamples)
            )

    def _judge(self) -> None:
        """Whether temperature or time tell the coordinates apart."""
        labels, mean = self._rows.labels, self._rows.mean
        if "temperature" in labels:
            with self._attempt("temperature_identifiability"):
                found = temperature_identifiability(mean, labels["temperature"])
                self._verdict("temperature", found.verdict, temperature_scores(found))
        if {"time", "trajectory"} <= labels.keys():
            with self._attempt("slowness_identifiability"):
                time, trajectory = (labels[name].numpy() for name in ("time", "trajectory"))
                following = torch.from_numpy(next_frames(time, trajectory, str(self._run.folder)))
                first = (following >= 0).nonzero()[:, 0]
                later = following[first]
                interval = labels["time"][later] - labels["time"][first]
                steps = slowness_identifiability(mean[first], mean[later], interval)
                self._verdict("time", steps.verdict, slowness_scores(steps))

    def _verdict(self, label: str, words: str, scores: Mapping[str, float]) -> None:
        """Keeps what a label says about identifiability."""
        self.verdicts[label] = words
        group = self.scores.setdefault("identifiability", {})
        group.update({f"{label}_{name}": Score(value) for name, value in scores.items()})


def _with_intervals(found: Mapping[str, Interval]) -> dict[str, Score]:
    """Intervals as plain numbers."""
    return {name: Score(*(float(end) for end in ends)) for name, ends in found.items()}


@torch.no_grad()
def _noise_std(
    model: AdaptedModel,
    generator: GeneratesImages,
    conformation: Tensor | None,
    batch: ParticleBatch,
) -> float:
    """Root mean square of what images have beyond the rendered ones."""
    found = model.infer(batch)
    pose = found.pose
    if pose is None or conformation is not None:
        if "rotation" not in batch:
            raise ValueError("the particles have no poses and the model infers none")
        pose = Pose(batch["rotation"], batch.get("translation"))
    rendered = generator.generate(found.mean if conformation is None else conformation, pose, batch)
    return float((batch["images"] - rendered).double().square().mean().sqrt())
