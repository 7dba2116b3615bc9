"""Pictures of an evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.progress import Progress
from scipy.stats import norm

from cryo_disentangle.adapters import AdaptedModel
from cryo_disentangle.drawing.inferred import (
    draw_by_factor,
    draw_by_pose,
    draw_matching,
    draw_reconstructions,
    draw_rotated_images,
)
from cryo_disentangle.drawing.style import BLUE, GOOD, GREEN, ORANGE, WIDTH, readable
from cryo_disentangle.evaluation.history import draw_history
from cryo_disentangle.evaluation.runs import FinishedRun
from cryo_disentangle.evaluation.states import States, state_drawings
from cryo_disentangle.evaluation.streaming import Particles
from cryo_disentangle.evaluation.volumes import PrincipalVolumes
from cryo_disentangle.judgement.components import fit_independent
from cryo_disentangle.judgement.inferred import InferredParticles
from cryo_disentangle.judgement.particle_scores import evenly
from cryo_disentangle.judgement.scores import Measurement, Score
from cryo_disentangle.metrics import DisentanglementMetrics
from cryo_disentangle.networks import LinearReadout
from cryo_disentangle.protocols.volumes import SizedInAngstrom

__all__ = ["CAPTIONS", "Picture", "draw_all", "draw_each", "embedding_drawings"]

Drawings: TypeAlias = Mapping[str, Callable[[], Figure | None]]

_IMAGES, _DRAWN, _TURNED, _TURNED_BY_RENDERING = 6, 2000, 256, 64
_COMPONENTS = 3
# Up to here the verdict is "conformation".
_GOOD_LEAK = 0.05

FloatArray = npt.NDArray[np.floating]


class Picture(NamedTuple):
    """A picture, whose title and caption are in `CAPTIONS`.

    Attributes:
        name: Of its file, without suffix.
        figure: The picture.
    """

    name: str
    figure: Figure


# Title and what to look for, in the order of a report.
CAPTIONS = {
    "leaks": (
        "What z should not encode",
        "Share of z that is predicted by the viewing direction, the defocus or the shift. In "
        "a good latent space all bars are near 0.",
    ),
    "poses": (
        "z, coloured by the viewing direction",
        "If z encodes conformation alone, the colours are mixed everywhere.",
    ),
    "turning": (
        "What happens to z when an image is rotated",
        "A rotated image shows the same molecule. The black line should not rise above the dotted "
        "one.",
    ),
    "factors": ("z, coloured by the true factors", "Each colour should follow one axis."),
    "matching": (
        "Which coordinate follows which factor",
        "One bright square in each row and column is best.",
    ),
    "scores": (
        "All scores against the true factors",
        "1 is best. Orange marks are the scores of shuffled latents: a bar that ends there is at "
        "the level of chance.",
    ),
    "coordinates": (
        "Information in each coordinate",
        "A coordinate whose bar is near 0 carries no information on the particles: it has "
        "collapsed.",
    ),
    "states": (
        "States: clusters of z (k-means)",
        "Numbers mark the particle whose volume is shown; the largest state is 0. Labels and "
        "counts are in the folder states. k-means also divides a continuum: clusters need not "
        "be states.",
    ),
    "umap": (
        "The same states in a UMAP",
        "UMAP preserves neighbours; its distances and densities mean little.",
    ),
    "state_volumes": (
        "Volumes of the states",
        "Below each row is the difference from the mean: more density is red, less is blue.",
    ),
    "state_views": (
        "Viewing directions and defocus of the states",
        "1 where a state has the share of a direction that all particles have. A state with "
        "few viewing directions is a view rather than a conformation.",
    ),
    "components": (
        "Principal and independent components of z",
        "A dashed curve is the normal distribution. What differs from it, in several peaks or a "
        "long tail, is where to look for states.",
    ),
    "reconstructions": (
        "Particles and their reconstructions",
        "Rows: centred particle images, the model's images without noise, the residual. Below: the "
        "correlation of particle and model.",
    ),
    "volumes": (
        "The molecule along the first principal axes of z",
        "Each row goes from one end of an axis to the other. Below each row is the "
        "difference from its middle. If the molecule rotates as a whole, z encodes pose.",
    ),
    "history": (
        "The loss during training",
        "If it still falls at the end, train longer. If it rises for held-out particles, the "
        "model fits noise.",
    ),
}


def draw_all(
    run: FinishedRun,
    particles: Particles,
    rows: InferredParticles,
    measured: Measurement,
    volumes: PrincipalVolumes | None,
    states: States | None,
    progress: Progress,
) -> Iterator[Picture]:
    """Draws everything that the run allows.

    Args:
        run: The run.
        particles: Its particles.
        rows: What is inferred of all of them.
        measured: What was measured; gets the reason of each picture that fails.
        volumes: Volumes along principal axes; None where the model has none.
        states: Clusters of z, or None.
        progress: Receives the progress.

    Yields:
        Pictures, in any order.
    """
    some = rows.take(evenly(len(rows), _DRAWN))
    model = run.model()
    drawings: Drawings = {
        **embedding_drawings(rows, measured, states),
        "turning": lambda: _draw_turning(run, particles, some) if run.reads_images else None,
        "factors": lambda: draw_by_factor(some),
        "matching": lambda: draw_matching(some),
        "scores": lambda: _draw_scores(measured.scores.get("disentanglement"), some),
        "reconstructions": lambda: _draw_images(run, model, particles),
        "volumes": lambda: None if volumes is None else volumes.draw(),
        "history": lambda: draw_history(run.folder),
    }
    for name, figure in draw_each(drawings, measured, progress):
        yield Picture(name, figure)


def embedding_drawings(
    rows: InferredParticles, measured: Measurement, states: States | None
) -> Drawings:
    """Pictures that need latents alone.

    Args:
        rows: What is inferred of all particles.
        measured: What was measured.
        states: Clusters of z, or None.

    Returns:
        Functions that draw them, by name.
    """
    some = rows.take(evenly(len(rows), _DRAWN))
    return {
        "leaks": lambda: _draw_leaks(measured.scores.get("pose_leak", {})),
        "poses": lambda: draw_by_pose(some),
        "coordinates": lambda: _draw_coordinates(measured.coordinates),
        "components": lambda: _draw_components(some),
        **state_drawings(states, rows),
    }


def draw_each(
    drawings: Drawings, measured: Measurement, progress: Progress
) -> Iterator[tuple[str, Figure]]:
    """Draws pictures, one after the other.

    Args:
        drawings: Functions that draw them, by name.
        measured: Gets the reason of each picture that fails.
        progress: Receives the progress.

    Yields:
        Names and pictures.
    """
    task = progress.add_task("Drawing", total=len(drawings))
    for name, draw in drawings.items():
        try:
            with torch.no_grad():
                figure = draw()
        except (ValueError, TypeError) as error:
            measured.missing[f"picture of {name}"] = str(error)
            figure = None
        progress.update(task, advance=1)
        if figure is not None:
            yield name, figure


@readable
def _draw_leaks(scores: Mapping[str, Score]) -> Figure | None:
    """Bars of what z knows of pose and other nuisances, with intervals."""
    end = "_leak_nonlinear_r2"
    names = [name.removesuffix(end) for name in scores if name.endswith(end)]
    if not names:
        return None
    figure = Figure(figsize=(WIDTH, 1.6 + 0.62 * len(names)), layout="constrained")
    axes = figure.subplots()
    axes.axvspan(0, _GOOD_LEAK, color=GOOD, lw=0, label="good")
    kinds = (("linear", BLUE), ("nonlinear", ORANGE))
    for place, (kind, colour) in enumerate(kinds):
        found = [scores[f"{name}_leak_{kind}_r2"] for name in names]
        values = np.array([score.value for score in found])
        ends = np.array([_ends(score) for score in found]).T
        heights = np.arange(len(names)) + 0.38 * place - 0.19
        axes.barh(heights, values, 0.36, color=colour, label=f"{kind} probe")
        axes.errorbar(values, heights, xerr=ends, fmt="none", ecolor="black", lw=1, capsize=2)
    labels = {"pose": "viewing direction", "shift": "shift in the box"}
    axes.set_yticks(range(len(names)), [labels.get(name, name) for name in names])
    axes.invert_yaxis()
    axes.set(xlim=(0, 1), xlabel="R² of z (0: none of it, 1: all of it)")
    figure.legend(frameon=False, loc="outside lower center", ncols=3)
    axes.grid(axis="x", alpha=0.3)
    return figure


def _draw_scores(scores: Mapping[str, Score] | None, rows: InferredParticles) -> Figure | None:
    """Bars of the scores against true factors, with chance."""
    if scores is None or rows.factors is None:
        return None
    suite = DisentanglementMetrics()
    suite.update(rows.mean, rows.factors)
    figure, _ = suite.plot({name: torch.tensor(score.value) for name, score in scores.items()})
    return figure


def _ends(score: Score) -> tuple[float, float]:
    """Distances of an interval's ends from the value, as bars take them."""
    if score.low is None or score.high is None:
        return 0.0, 0.0
    return max(score.value - max(score.low, 0.0), 0.0), max(min(score.high, 1.0) - score.value, 0.0)


@readable
def _draw_coordinates(coordinates: Mapping[str, Sequence[float]]) -> Figure | None:
    """Bars of the divergence and of the known share of each coordinate."""
    if "kl_nats" not in coordinates:
        return None
    count = len(coordinates["kl_nats"])
    figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    right.axhspan(0.5, 1, color=GOOD, lw=0)
    names = [f"z{k + 1}" for k in range(count)]
    left.bar(names, coordinates["kl_nats"], color=BLUE)
    left.set(ylabel="KL from the prior (nats)")
    right.bar(names, coordinates["share_known"], color=GREEN)
    right.axhline(0.5, color="black", lw=0.8, ls="--")
    right.set(ylabel="share that images determine", ylim=(0, 1))
    for axes in (left, right):
        axes.grid(axis="y", alpha=0.3)
    return figure


@readable
def _draw_components(rows: InferredParticles) -> Figure:
    """Histograms of the first principal and independent components."""
    latents = rows.mean
    principal, independent = LinearReadout.pca(latents), fit_independent(latents)
    count = min(latents.shape[1], _COMPONENTS)
    figure = Figure(figsize=(WIDTH, 4.4), layout="constrained")
    grid = figure.subplots(2, count, squeeze=False)
    shares = principal(latents).double().var(0)
    shares = shares / shares.sum()
    for row, (name, reading) in enumerate((("PC", principal), ("IC", independent))):
        values = reading(latents).numpy()
        for k, axes in enumerate(grid[row]):
            share = f": {100 * float(shares[k]):.0f}% of variance" if row == 0 else ""
            axes.set_title(f"{name} {k + 1}{share}\nJ = {reading.negentropy[k]:.2g}", fontsize=10)
            _histogram(axes, values[:, k], BLUE if row == 0 else ORANGE)
    figure.suptitle("J is the negentropy in nats: 0 for a normal distribution")
    return figure


def _histogram(axes: Axes, values: FloatArray, colour: str) -> None:
    """A histogram of standardised values beside the normal density."""
    spread = float(values.std())
    standard = (values - values.mean()) / (spread or 1.0)
    axes.hist(standard, 40, range=(-4, 4), density=True, color=colour, alpha=0.75)
    grid = np.linspace(-4, 4, 200)
    axes.plot(grid, norm.pdf(grid), color="black", lw=1, ls="--")
    axes.set(yticks=[], xlim=(-4, 4))


def _draw_turning(run: FinishedRun, particles: Particles, some: InferredParticles) -> Figure:
    """Drift of rotated particles."""
    count = _TURNED_BY_RENDERING if run.renders else _TURNED
    batches = list(particles.batches(particles.sample(count)))
    return draw_rotated_images(run.model(), batches, some)


def _draw_images(run: FinishedRun, model: AdaptedModel, particles: Particles) -> Figure:
    """A few particles, evenly spread, above the model's images of them."""
    batch = next(particles.batches(particles.sample(_IMAGES)))
    pixel_size = run.module.pixel_size if isinstance(run.module, SizedInAngstrom) else 1.0
    figure = draw_reconstructions(model, batch, pixel_size)
    # These are of all particles, not of held-out ones as the title would say.
    figure.suptitle("Particles and their reconstructions")
    return figure
