"""Volumes along each latent coordinate while it is learned."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import lightning as L
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cryo_disentangle.adapters import AdaptedModel, ModelAdapter, resolve_function
from cryo_disentangle.callbacks.epoch_callback import EpochCallback
from cryo_disentangle.callbacks.run_particles import held_out_batches
from cryo_disentangle.drawing.latent_space import draw_traversals
from cryo_disentangle.imaging.hartley import desymmetrize, inverse_hartley2
from cryo_disentangle.judgement.inferred import infer_particles
from cryo_disentangle.protocols.models import EvaluatesVolumes
from cryo_disentangle.traversals import structure_writer, traversal_latents, write_series
from cryo_disentangle.types import ParticleBatch, Pose

__all__ = ["TraversalVolumes"]

FloatArray = npt.NDArray[np.floating]


class TraversalVolumes(EpochCallback):
    """Writes volumes along each latent coordinate into ``<run>/traversals/epoch_NNN``.

    Of held-out particles the posterior means are taken; each coordinate goes in even steps between
    two percentiles of them, while the others stay at their median. Of coordinate 1 these are the
    volumes ``z1_01.mrc``, ``z1_02.mrc``, ..., their latents ``z1_values.txt``, one a row, and
    ``z1.cxc``, which opens them in ChimeraX as one moving volume, all at one contour level: three
    standard deviations above the mean of the middle one. ``projections.png`` shows all volumes,
    projected along z.

    Of a module that evaluates no volumes the picture shows rendered images of the first held-out
    particle's pose, and nothing else is written. NNN is the number of epochs done. The first
    process works; what fails is told once in a warning and never ends the training.

    Args:
        every_n_epochs: Epochs from one traversal to the next; the last epoch has one.
        steps: Volumes a coordinate.
        percentiles: Percentiles of the particles at which a coordinate begins and ends.
        particles: How many held-out particles to take the percentiles of, at most.
        volume_box_size: Side of written volumes in pixels; null is the model's box size.
        volume: How the module evaluates volumes, for modules without ``volume(conformation)``,
            ``box_size`` and ``pixel_size``: a function of (module, conformation (Z,)) that returns
            a volume (D, D, D), axes z, y, x; or its dotted name.
        pixel_size: Å per pixel of the volumes, or images, of such modules.
        infer: As for `PenaltyCallback`.
        generate: How it renders, for modules with neither volumes nor ``generate(conformation,
            pose, batch)``: a function of (module, conformation, pose, batch), or its dotted name.
        as_batch: As for `PenaltyCallback`.

    Raises:
        ValueError: If a number is out of range.
        TypeError: If a function can't be imported, or the module has no ``infer``, or can neither
            evaluate volumes nor render.
    """

    def __init__(  # noqa: PLR0913 - each is a key of the configuration file
        self,
        every_n_epochs: int = 10,
        steps: int = 7,
        percentiles: tuple[float, float] = (5.0, 95.0),
        particles: int = 2000,
        volume_box_size: int | None = None,
        volume: str | Callable[..., Any] | None = None,
        pixel_size: float | None = None,
        infer: str | Callable[..., Any] | None = None,
        generate: str | Callable[..., Any] | None = None,
        as_batch: str | Callable[..., Any] | None = None,
    ) -> None:
        super().__init__(every_n_epochs, ModelAdapter(infer, generate, as_batch))
        if steps < 2 or particles < 2:
            raise ValueError(
                f"a traversal needs at least 2 steps and 2 particles, found {steps} and {particles}"
            )
        if not 0 <= percentiles[0] < percentiles[1] <= 100:
            raise ValueError(
                f"percentiles must ascend between 0 and 100, found {list(percentiles)}"
            )
        if pixel_size is not None and not pixel_size > 0:
            raise ValueError(f"pixel_size must be positive, found {pixel_size}")
        self.steps, self.percentiles, self.particles = steps, percentiles, particles
        self.volume_box_size, self.pixel_size = volume_box_size, pixel_size
        self._volume = resolve_function(volume, "volume")

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Refuses modules of which there is nothing to see."""
        super().setup(trainer, pl_module, stage)
        if stage == "fit" and self._volume is None and not isinstance(pl_module, EvaluatesVolumes):
            self._adapter.model(pl_module).renderer()

    def _look(
        self, trainer: L.Trainer, pl_module: L.LightningModule, model: AdaptedModel, epoch: int
    ) -> None:
        """Writes volumes and the picture from the first process."""
        if not trainer.is_global_zero:
            return
        with self.failing_softly("traversal"):
            batches = held_out_batches(trainer, self._adapter, self.particles)
            first = next(batches)
            held_out = itertools.chain([first], batches)
            means = infer_particles(model.infer, held_out).mean.numpy()
            paths = traversal_latents(means, self.steps, self.percentiles)
            folder = Path(trainer.default_root_dir, "traversals", f"epoch_{epoch:03d}")
            folder.mkdir(parents=True, exist_ok=True)
            pixel_size = self.pixel_size
            if self._volume is None and not isinstance(pl_module, EvaluatesVolumes):
                images = np.stack([_render(model, path, first) for path in paths])
            else:
                evaluate, pixel_size = self._evaluator(pl_module)
                write_structures = structure_writer(pl_module) if self._volume is None else None
                images = np.stack(
                    [
                        write_series(
                            folder / f"z{k}",
                            path,
                            map(evaluate, path),
                            pixel_size or 1.0,
                            write_structures,
                        )
                        for k, path in enumerate(paths, start=1)
                    ]
                )
            values = np.stack([path[:, k] for k, path in enumerate(paths)])
            figure = draw_traversals(images, values, self.percentiles, pixel_size)
            self.show(trainer, figure, folder / "projections.png", "traversals/projections")

    def _evaluator(
        self, module: L.LightningModule
    ) -> tuple[Callable[[npt.NDArray[np.float32]], FloatArray], float | None]:
        """How volumes are evaluated, and their Å per pixel where it is known."""
        function, pixel_size = self._volume, self.pixel_size
        if function is None:
            model = cast(EvaluatesVolumes, module)
            side = self.volume_box_size or model.box_size
            pixel_size = model.pixel_size * model.box_size / side

        def evaluate(latent: npt.NDArray[np.float32]) -> FloatArray:
            conformation = torch.from_numpy(latent).to(module.device)
            if function is None:
                density = model.volume(conformation, self.volume_box_size)
            else:
                density = function(module, conformation)
            values: FloatArray = torch.as_tensor(density).float().cpu().numpy()
            return values

        return evaluate, pixel_size


def _render(model: AdaptedModel, path: npt.NDArray[np.float32], batch: ParticleBatch) -> FloatArray:
    """Real images (S, D, D) of one coordinate's steps as the first particle of a batch is seen."""
    tensors = cast(dict[str, Tensor], batch)
    first = {key: value[:1].expand(len(path), *value.shape[1:]) for key, value in tensors.items()}
    particles = cast(ParticleBatch, first)
    pose = model.infer(particles).pose or Pose(particles["rotation"])
    latents = torch.from_numpy(path).to(particles["images"].device)
    images = model.generate(latents, Pose(pose.rotation), particles).float()
    if images.shape[-1] % 2:
        images = inverse_hartley2(desymmetrize(images))
    rendered: FloatArray = images.cpu().numpy()
    return rendered
