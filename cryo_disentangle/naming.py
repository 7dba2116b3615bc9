"""Latents of any program along axes that mean something."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cryo_disentangle.axes import (
    EvidenceAxes,
    IndependentAxes,
    PrincipalAxes,
)
from cryo_disentangle.axes.bent import bent_by_temperature, bent_by_time
from cryo_disentangle.axes.labelled import KnownLatents, axes_by_temperature, axes_by_time
from cryo_disentangle.axes.linear import LinearAxes
from cryo_disentangle.embeddings.embedding import Embedding
from cryo_disentangle.files.paths import replacing
from cryo_disentangle.particles.labels import ParticleLabels
from cryo_disentangle.particles.pairs import next_frames

__all__ = ["name_axes"]

# Of the picture; more are black.
_MOST_DRAWN = 20_000

Array = npt.NDArray[Any]


def name_axes(
    embedding: Embedding,
    labels: ParticleLabels,
    out: Path,
    way: str | None = None,
    *,
    errors: bool = False,
    half: Array | None = None,
) -> LinearAxes:
    """Finds axes and writes them, latents along them, a picture and the words.

    Args:
        embedding: The latents.
        labels: Of the same particles, in the same order.
        out: Folder to be written: ``axes.npz``, ``latents.npz``, ``axes.png`` and ``axes.txt``.
        way: What finds the axes: ``time``, ``evidence``, ``temperature``, ``independent`` or
            ``principal``; None is what the labels are of.
        errors: Whether covariances are of errors rather than of posteriors.
        half: Half set of each particle, 0 or 1, shape (N,); None where there are none.

    Returns:
        The axes.

    Raises:
        ValueError: If labels lack what the way needs, or noise explains all of the latents.
        OSError: If the folder can't be written to.
    """
    way = way or _way(labels)
    known = KnownLatents(embedding.latents, embedding.covariance, half, errors)
    axes = _fitted(way, known, labels, embedding.source)
    _write(out, way, embedding, axes)
    return axes


def _way(labels: ParticleLabels) -> str:
    """What the labels are of."""
    in_time = labels.time is not None and labels.trajectory is not None
    if in_time and labels.temperature is not None:
        raise ValueError("labels have times and temperatures: choose by --by time or temperature")
    if in_time:
        return "time"
    return "independent" if labels.temperature is None else "temperature"


def _fitted(way: str, known: KnownLatents, labels: ParticleLabels, source: Path) -> LinearAxes:
    """Fits the axes."""
    if way == "independent":
        return IndependentAxes(errors=known.errors).fit(known.latents, known.covariance)
    if way == "principal":
        return PrincipalAxes(errors=known.errors).fit(known.latents, known.covariance)
    if way == "temperature":
        if labels.temperature is None:
            raise ValueError("--by temperature needs --labels with an array temperature")
        heated = axes_by_temperature(known, labels.temperature)
        return bent_by_temperature(heated, known, labels.temperature)
    if labels.time is None or labels.trajectory is None:
        raise ValueError(f"--by {way} needs --labels with arrays time and trajectory")
    following = next_frames(labels.time, labels.trajectory, "--labels")
    earlier = np.flatnonzero(following >= 0)
    frames = np.stack([earlier, following[earlier]], 1)
    interval = np.diff(labels.time[frames], axis=1)[:, 0]
    if way == "time":
        return bent_by_time(axes_by_time(known, frames, interval), known, frames, interval)
    return bent_by_time(_by_evidence(known, frames, interval, source), known, frames, interval)


def _by_evidence(known: KnownLatents, frames: Array, interval: Array, source: Path) -> EvidenceAxes:
    """Fits axes by time under the likelihood that the posteriors stand for."""
    if known.covariance is None or known.errors:
        raise ValueError(
            f"--by evidence needs posterior covariances of the latents, and {source} has none"
        )
    (one, other), spread = frames.T, np.asarray(known.covariance)
    z = np.asarray(known.latents)
    # The unit of time is free, that of the steps is found.
    interval = interval / np.median(interval)
    return EvidenceAxes().fit(z[one], z[other], (spread[one], spread[other]), interval=interval)


def _write(out: Path, way: str, embedding: Embedding, axes: LinearAxes) -> None:
    """Writes axes, latents along them, a picture and the words."""
    out.mkdir(parents=True, exist_ok=True)
    public = {name: value for name, value in vars(axes).items() if name[0] != "_"}
    arrays = {name.rstrip("_"): np.asarray(value) for name, value in public.items()}
    arrays = {name: value for name, value in arrays.items() if value.ndim < 3}
    latents: dict[str, Array] = {"latents": axes.transform(embedding.latents)}
    if embedding.covariance is not None:
        latents["covariance"] = axes.transform_covariance(embedding.covariance, embedding.latents)
    if embedding.rows is not None:
        latents["row"] = embedding.rows
    tables = {"axes.npz": arrays | {"by": np.asarray(way)}, "latents.npz": latents}
    for name, table in tables.items():
        with replacing(out / name) as temporary, temporary.open("wb") as file:
            np.savez(file, **table)  # type: ignore[arg-type]
    with replacing(out / "axes.txt") as temporary:
        temporary.write_text(f"{axes.verdict_}\n", encoding="utf-8")
    figure = _picture(embedding.latents, axes)
    with replacing(out / "axes.png") as temporary:
        figure.savefig(temporary, format="png", dpi=130)


def _picture(latents: Array, axes: LinearAxes) -> Figure:
    """Latents with the axes, and latents along the axes."""
    drawn = latents[:: max(1, len(latents) // _MOST_DRAWN)]
    figure = Figure(figsize=(6.2, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    before, after = figure.subplots(1, 2)
    along = axes.transform(drawn)
    if latents.shape[1] == 1:
        before.hist(drawn[:, 0], bins=60)
        after.hist(along[:, 0], bins=60)
    else:
        before.plot(drawn[:, 0], drawn[:, 1], ".", markersize=2, alpha=0.3)
        for number, direction in enumerate(np.eye(len(axes.offset_))[:2], start=1):
            path = axes.inverse_transform(np.linspace(0, 2, 21)[:, None] * direction)[:, :2]
            before.plot(*path.T, color="black", linewidth=1)
            before.annotate("", path[-1], path[-2], arrowprops={"arrowstyle": "->"})
            before.annotate(f"axis {number}", path[-1])
        before.set_aspect("equal", "datalim")
        after.plot(along[:, 0], along[:, 1], ".", markersize=2, alpha=0.3)
        after.set_aspect("equal", "datalim")
        before.set_ylabel("z2")
        after.set_ylabel(f"axis 2 (± {axes.angle_[1]:.0f}°)")
    before.set_xlabel("z1")
    after.set_xlabel(f"axis 1 (± {axes.angle_[0]:.0f}°)")
    figure.suptitle("determined" if axes.determined_ else "not determined")
    return figure
