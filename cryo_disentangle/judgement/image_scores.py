"""What a model's latents do when images are rotated, rendered from elsewhere, or drawn again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from cryo_disentangle.adapters import AdaptedModel
from cryo_disentangle.encoders import LatentTable
from cryo_disentangle.judgement.scores import Measurement
from cryo_disentangle.metrics import (
    DecodingTest,
    PoseConformationMetrics,
    RedrawnNoise,
    RotationTest,
)
from cryo_disentangle.metrics.particle_rows import ParticleRowsMetric, evaluating
from cryo_disentangle.metrics.permutations import GeneratesImages, TrueGenerator, particle_pose
from cryo_disentangle.precision import exact
from cryo_disentangle.protocols.models import HasEncoder
from cryo_disentangle.types import ParticleBatch, Pose

__all__ = ["ImagedModel", "measure_images", "reads_images"]

_NO_IMAGES_READ = (
    "conformations are not inferred from images but kept in a table, so a rendered or rotated "
    "image has none"
)
_INTERVALS = ("rotation", "interventions", "true_interventions")


@dataclass(frozen=True)
class ImagedModel:
    """A model that infers from images.

    Attributes:
        model: The model.
        reads_images: Whether it infers conformations from images, rather than looks them up.
        truth: The generator that simulated particles were made by, or None.
    """

    model: AdaptedModel
    reads_images: bool = True
    truth: TrueGenerator | None = None


def measure_images(
    found: Measurement,
    imaged: ImagedModel,
    batches: Iterable[ParticleBatch],
    advance: Callable[[int], None] | None = None,
) -> None:
    """Measures what needs images.

    Args:
        found: Gets the groups ``decoding``, ``rotation``, ``interventions``, ``redrawn_noise`` and,
            with a true generator and factors, ``true_interventions`` and ``true_redrawn_noise``.
        imaged: The model.
        batches: Single particles, best those that the model was not trained on.
        advance: Called with the number of particles after each batch.
    """
    metrics: dict[str, ParticleRowsMetric] | None = None
    for batch in batches:
        if metrics is None:
            metrics = _metrics(found, imaged, batch)
        for name in list(metrics):
            with found.attempt(name):
                metrics[name].update(imaged.model, batch)
            if name in found.missing:
                del metrics[name]
        if advance is not None:
            advance(len(batch["index"]))
    for name, metric in (metrics or {}).items():
        if isinstance(metric, PoseConformationMetrics):
            found.missing |= metric.unavailable
        with found.attempt(name):
            found.keep_metric(name, metric, intervals=name in _INTERVALS)


def reads_images(module: object) -> bool:
    """Returns whether a model infers latents from images, rather than looks them up in a table.

    Args:
        module: The model.

    Returns:
        False where its encoder reads rows of particles.
    """
    return not (isinstance(module, HasEncoder) and isinstance(module.encoder, LatentTable))


def _metrics(
    found: Measurement, imaged: ImagedModel, batch: ParticleBatch
) -> dict[str, ParticleRowsMetric]:
    """Metrics that the model supports, with noise at the level of the data."""
    metrics: dict[str, ParticleRowsMetric] = {}
    model = imaged.model
    if imaged.reads_images:
        metrics["rotation"] = RotationTest()
    else:
        names = ("rotation", "interventions", "redrawn_noise")
        found.missing |= dict.fromkeys(names, _NO_IMAGES_READ)
    with found.attempt("decoding"):
        noise = _noise(model, model, None, batch)
        metrics["decoding"] = DecodingTest(noise, fitted=not imaged.reads_images)
    if imaged.reads_images:
        with found.attempt("interventions"):
            noise = _noise(model, model, None, batch)
            metrics["interventions"] = PoseConformationMetrics(noise_std=noise)
            metrics["redrawn_noise"] = RedrawnNoise(noise)
    if imaged.reads_images and imaged.truth is not None and "factors" in batch:
        with found.attempt("true_interventions"):
            noise = _noise(model, imaged.truth, batch["factors"], batch)
            metrics["true_interventions"] = PoseConformationMetrics(imaged.truth, noise_std=noise)
            metrics["true_redrawn_noise"] = RedrawnNoise(noise, imaged.truth)
    return {name: metric.to(batch["index"].device) for name, metric in metrics.items()}


def _noise(
    model: AdaptedModel,
    generator: GeneratesImages,
    conformation: Tensor | None,
    batch: ParticleBatch,
) -> float:
    """Noise to add to what is generated; statistics are generated with that of the data."""
    return 0.0 if "information" in batch else noise_std(model, generator, conformation, batch)


def noise_std(
    model: AdaptedModel,
    generator: GeneratesImages,
    conformation: Tensor | None,
    batch: ParticleBatch,
) -> float:
    """Measures what images have beyond rendered ones.

    Args:
        model: Infers conformations and, where it does, poses.
        generator: Renders.
        conformation: What to render, shape (B, Z); None is what the model infers.
        batch: Single particles.

    Returns:
        Root mean square of the difference.

    Raises:
        ValueError: If the batch has no images, or the model infers no poses and the batch has none.
    """
    if "images" not in batch:
        raise ValueError("the particles come as statistics, without images")
    with evaluating(model.module), torch.no_grad():
        inferred = model.infer(batch)
        pose = particle_pose(inferred, batch)
        if conformation is not None and "rotation" in batch:
            pose = Pose(batch["rotation"], batch.get("translation"))
        shown = inferred.mean if conformation is None else conformation
        rendered = generator.generate(shown, pose, batch)
    return float(exact(batch["images"] - rendered).square().mean().sqrt())
