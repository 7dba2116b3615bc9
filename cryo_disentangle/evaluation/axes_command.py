"""The command ``cryo-disentangle axes``: named axes, their landscape, maps at their ends."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console

from cryo_disentangle.axes.linear import LinearAxes
from cryo_disentangle.embeddings.embedding import Embedding
from cryo_disentangle.evaluation.axes_page import AxesPage
from cryo_disentangle.evaluation.landscapes import DrawnLandscape
from cryo_disentangle.evaluation.own_latents import open_latents
from cryo_disentangle.evaluation.streaming import show_progress
from cryo_disentangle.files.paths import replacing
from cryo_disentangle.landscape.landscape import LatentNoise, find_landscape, temperature_groups
from cryo_disentangle.maps.making import AxisMaps, map_axis
from cryo_disentangle.maps.particles import ImageFiles, open_embedded_images
from cryo_disentangle.naming import name_axes
from cryo_disentangle.options.commands import axes_parser
from cryo_disentangle.particles.dataset import ParticleDataset
from cryo_disentangle.particles.labels import ParticleLabels, read_labels

__all__ = ["axes_command"]

Array = npt.NDArray[Any]

_OF_IMAGES = ("poses", "ctf", "datadir", "invert", "axis")


def axes_command(words: Sequence[str]) -> None:
    """Runs ``cryo-disentangle axes``.

    Args:
        words: Command line without the command's name.

    Raises:
        ValueError: If an option or a file is wrong, labels or images do not belong to the latents,
            or noise explains all of the latents.
        OSError: If a file is missing or cannot be written.
        TypeError: If the model of a run of ours cannot be looked at.
        SystemExit: If words are no options, or help was asked for.
    """
    options = axes_parser().parse_args(words)
    files, console = _image_files(options), Console()
    embedding, labels = open_latents(options.latents, options.z)
    if options.labels is not None:
        labels = _labels(options.labels, embedding)
    kelvin, errors = _kelvin(options, labels), options.errors or embedding.errors
    wanted = _wanted(options, embedding.latents.shape[1])
    images = None if files is None else open_embedded_images(embedding, files)
    half = embedding.extra.get("half")
    axes = name_axes(embedding, labels, options.out, options.by, errors=errors, half=half)
    page = AxesPage(options.out, embedding, axes.verdict_)
    along = axes.transform(embedding.latents)
    noise = _noise(embedding, axes, errors=errors)
    _say(console, axes.verdict_)
    # The prior that posteriors contain is a normal one along straight axes alone.
    straight, plain = along, noise
    if axes.straight is not axes:
        straight = axes.straight.transform(embedding.latents)
        plain = _noise(embedding, axes.straight, errors=errors)
        page.add("Landscape", "Landscapes are along the axes before they were bent.")
    for drawn in _landscapes(page, straight, plain, kelvin):
        drawn.write(page.folder)
        page.add("Free energy of the particles imaged", drawn.found.words, f"{drawn.name}.png")
    if images is not None:
        _write_maps(page, options, _mapped(options, embedding, along, noise, images, wanted))
    for section in page.sections:
        _say(console, section.words)
    page.write()
    _say(console, f"Written to {options.out}.")


def _say(console: Console, text: str) -> None:
    """Prints text as it is."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _image_files(options: Namespace) -> ImageFiles | None:
    """Where images are, if maps are requested."""
    if options.particles is None:
        given = [name for name in _OF_IMAGES if getattr(options, name) is not None]
        if given:
            raise ValueError(f"--{given[0]} goes with maps of images: give --particles, too")
        return None
    if not 0 < options.ends < 0.5:
        raise ValueError(
            "--ends: a share of the particles above 0 and below 0.5 expected, found "
            f"{options.ends:g}"
        )
    invert = None if options.invert is None else options.invert == "yes"
    return ImageFiles(options.particles, options.poses, options.ctf, options.datadir, invert)


def _wanted(options: Namespace, width: int) -> list[int]:
    """Axes to make maps of, from 0."""
    numbers = options.axis or range(1, width + 1)
    outside = [number for number in numbers if not 1 <= number <= width]
    if outside:
        raise ValueError(f"--axis: expected 1 to {width}, found {outside[0]}")
    return [number - 1 for number in numbers]


def _labels(path: Path, embedding: Embedding) -> ParticleLabels:
    """Labels of the particles that have latents."""
    labels, rows = read_labels(path), embedding.rows
    if rows is None:
        raise ValueError(
            f"{embedding.source}: latents name no rows of the particle file, so {path} cannot be "
            "joined to them; give latents as .npz with an array row"
        )
    if rows.max() >= len(labels):
        raise ValueError(
            f"{path}: {len(labels)} labels, but {embedding.source} has latents of row "
            f"{rows.max() + 1}: labels must have a row for each particle of the particle file"
        )
    if len(labels) != len(embedding) and np.array_equal(rows, np.arange(len(embedding))):
        raise ValueError(
            f"{path}: {len(labels)} labels, but {embedding.source} has {len(embedding)} latents "
            "that do not say which particles they are of; give latents as .npz with an array row, "
            "or labels of these particles alone"
        )
    return labels.take(rows)


def _kelvin(options: Namespace, labels: ParticleLabels) -> Array | None:
    """Temperature of each particle, where it is known."""
    if options.kelvin is None:
        return labels.temperature
    if labels.temperature is not None:
        raise ValueError("labels have temperatures, so --kelvin is not needed: leave it out")
    if not options.kelvin > 0:
        raise ValueError(f"--kelvin: a positive temperature expected, found {options.kelvin:g}")
    return np.asarray(options.kelvin)


def _noise(embedding: Embedding, axes: LinearAxes, *, errors: bool) -> LatentNoise | None:
    """Uncertainty along the axes; posteriors contain a standard normal prior of the latents."""
    if embedding.covariance is None:
        return None
    spread = axes.transform_covariance(embedding.covariance, embedding.latents)
    prior = None
    if not errors:
        width = len(axes.offset_)
        centre = axes.straight.transform(np.zeros((1, width)))[0]
        prior = (centre, axes.straight.transform_covariance(np.eye(width)[None])[0])
    return LatentNoise(spread, prior)


def _landscapes(
    page: AxesPage, along: Array, noise: LatentNoise | None, kelvin: Array | None
) -> Iterator[DrawnLandscape]:
    """A landscape for each temperature; what there cannot be is said."""
    for level, rows in temperature_groups(kelvin, len(along)):
        some = None if noise is None else LatentNoise(noise.covariance[rows], noise.prior)
        try:
            yield DrawnLandscape(find_landscape(along[rows], some, level), along[rows])
        except ValueError as error:
            page.add("Landscape", f"Landscape: not found: {error}.")


def _mapped(
    options: Namespace,
    embedding: Embedding,
    along: Array,
    noise: LatentNoise | None,
    images: ParticleDataset,
    wanted: list[int],
) -> Iterator[tuple[AxisMaps, Array]]:
    """Maps of each axis, and rotations of all particles."""
    half = embedding.extra.get("half")
    halves = None if half is None else torch.from_numpy(np.asarray(half, dtype=np.int64))
    with show_progress(Console()) as progress:
        for axis in wanted:
            width = None if noise is None else np.sqrt(noise.covariance[:, axis, axis])
            task = progress.add_task(f"Maps of axis {axis + 1}", total=None)
            yield (
                map_axis(
                    f"axis{axis + 1}",
                    along[:, axis],
                    width,
                    images,
                    share=options.ends,
                    half=halves,
                    told=partial(progress.advance, task),
                ),
                np.asarray(images.stack.rotation),
            )


def _write_maps(
    page: AxesPage, options: Namespace, mapped: Iterator[tuple[AxisMaps, Array]]
) -> None:
    """Writes maps, their scripts and pictures, and the numbers of all."""
    folder = options.out / "maps"
    folder.mkdir(parents=True, exist_ok=True)
    numbers = {}
    for maps, rotation in mapped:
        maps.write(folder, rotation)
        numbers[maps.name] = maps.as_dict()
        page.add(f"Both ends of {maps.name}", maps.words, f"maps/{maps.name}.png")
    with replacing(folder / "maps.json") as temporary:
        temporary.write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")
