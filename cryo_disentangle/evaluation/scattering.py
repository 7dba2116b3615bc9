"""What is drawn of particles on a touchable page, and what they are coloured by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from cryo_disentangle.drawing.scatter import ScatterColumn, ScatterData
from cryo_disentangle.geometry.rotations import rotation_to_euler_zyz
from cryo_disentangle.judgement.inferred import InferredParticles
from cryo_disentangle.judgement.particle_groups import neighbour_distances
from cryo_disentangle.judgement.particle_scores import evenly
from cryo_disentangle.networks.readout import LinearReadout
from cryo_disentangle.particles import ParticleStack

__all__ = ["scatter_particles"]

_MOST_POINTS, _MOST_AXES = 1_000_000, 6
_ROWS, _FEWEST = 5_000, 6
# Particles whose images are seen on hover, and the side of these in pixels.
_PICTURED, _SIDE = 1_500, 48

Array = npt.NDArray[Any]


def scatter_particles(
    particles: InferredParticles,
    groups: Mapping[str, Array],
    lasso: Mapping[str, Any],
    images: Callable[[], ParticleStack | None],
) -> ScatterData:
    """Chooses axes and colours of particles.

    Args:
        particles: All particles.
        groups: Group of each particle, shape (N,), by name.
        lasso: What a saved lasso says besides positions.
        images: Opens the images of the particle file, by row; what it refuses are no images.

    Returns:
        At most a million particles, evenly spread where there are more.
    """
    places = None
    if len(particles) > _MOST_POINTS:
        places = evenly(len(particles), _MOST_POINTS)
        particles = particles.take(places)
        groups = {name: values[places] for name, values in groups.items()}
    axes = {name: ScatterColumn.axis(values) for name, values in _axes(particles).items()}
    colours = _labels(particles) | _of_latents(particles)
    for name, values in groups.items():
        colours[name.replace("_", " ")] = ScatterColumn.colour(values, "category")
    return ScatterData(axes, colours, dict(lasso), places, *_images(particles, images))


def _images(
    particles: InferredParticles, images: Callable[[], ParticleStack | None]
) -> list[Array]:
    """Which particles have images, and these images, reduced; nothing if there are none."""
    pictured = evenly(len(particles), _PICTURED)
    try:
        stack = images()
        if stack is None or particles.index is None:
            return []
        # A stack counts within its selection.
        order = np.argsort(stack.rows)
        wanted = particles.index.numpy()[pictured]
        places = order[np.searchsorted(stack.rows, wanted, sorter=order).clip(max=len(order) - 1)]
        return [pictured, _grey(np.stack([_small(image) for image in stack.read(places)]))]
    except (ValueError, OSError):
        return []


def _small(image: Array) -> Array:
    """An image binned to about 48 pixels a side."""
    step = max(1, image.shape[-1] // _SIDE)
    side = image.shape[-1] // step * step
    parts = image[:side, :side].reshape(side // step, step, side // step, step)
    return np.asarray(parts.mean((1, 3)))


def _axes(particles: InferredParticles) -> dict[str, Array]:
    """Principal components first, then coordinates."""
    latents = particles.mean
    width = latents.shape[1]
    found: dict[str, Array] = {}
    if width > 2 and bool((latents != latents[:1]).any()) and len(latents) > width:
        components = LinearReadout.pca(latents, min(width, 3))(latents).numpy()
        found = {f"PC{k + 1}": column for k, column in enumerate(components.T)}
    count = _MOST_AXES - len(found)
    return found | {f"z{k + 1}": column for k, column in enumerate(latents.numpy().T[:count])}


def _labels(particles: InferredParticles) -> dict[str, ScatterColumn]:
    """What is known of particles."""
    found: dict[str, ScatterColumn] = {}
    if particles.rotation is not None:
        rot, tilt, psi = rotation_to_euler_zyz(particles.rotation).numpy().T
        found["view: rot (°)"] = ScatterColumn.colour(rot, "cyclic")
        found["view: tilt (°)"] = ScatterColumn.colour(tilt)
        found["in-plane angle (°)"] = ScatterColumn.colour(psi, "cyclic")
    labels = {name: values.double().numpy() for name, values in particles.labels.items()}
    if "ctf" in labels:
        found["defocus (Å)"] = ScatterColumn.colour(labels["ctf"][:, 2:4].mean(1))
    if "translation" in labels:
        found["shift"] = ScatterColumn.colour(np.linalg.norm(labels["translation"], axis=1))
    for name in ("time", "temperature"):
        if name in labels:
            found[name] = ScatterColumn.colour(labels[name])
    for k, factor in enumerate(labels.get("factors", np.zeros((1, 0))).T):
        found[f"factor {k + 1}"] = ScatterColumn.colour(factor)
    return found


def _of_latents(particles: InferredParticles) -> dict[str, ScatterColumn]:
    """What latents themselves say: outliers, uncertainty."""
    latents = particles.mean.numpy()
    sample = latents[evenly(len(latents), _ROWS)]
    found: dict[str, ScatterColumn] = {}
    if len(np.unique(sample, axis=0)) > _FEWEST:
        spread = np.where(sample.std(0) > 0, sample.std(0), 1)
        distances = neighbour_distances(latents / spread, sample / spread, own=False)
        found["outlier score"] = ScatterColumn.colour(distances)
    if particles.log_variance is not None:
        width = torch.exp(0.5 * particles.log_variance).mean(1).numpy()
        found["uncertainty"] = ScatterColumn.colour(width)
    return found


def _grey(images: Array) -> npt.NDArray[np.uint8]:
    """Images as grey levels, each from its darkest to its brightest per cent."""
    low, high = np.percentile(images, (1, 99), axis=(1, 2), keepdims=True)
    scaled = (images - low) / np.where(high > low, high - low, 1)
    return (255 * scaled.clip(0, 1)).astype(np.uint8)
