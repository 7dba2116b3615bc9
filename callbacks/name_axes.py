"""Names the axes of the latent space at the end of training, by time or temperature."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import lightning as L
import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from torch import Tensor

from cryo_disentangle.adapters import ModelAdapter
from cryo_disentangle.axes.linear import LinearAxes
from cryo_disentangle.callbacks.prediction import gather_parts
from cryo_disentangle.callbacks.run_particles import all_batches
from cryo_disentangle.callbacks.watching import trained
from cryo_disentangle.drawing.latent_space import draw_motions
from cryo_disentangle.embeddings.embedding import Embedding
from cryo_disentangle.files.paths import replacing
from cryo_disentangle.naming import name_axes
from cryo_disentangle.particles.labels import ParticleLabels
from cryo_disentangle.protocols.models import EvaluatesVolumes, LatentImageModel
from cryo_disentangle.traversals import traversal_latents, write_series

__all__ = ["NameAxes"]

_LABELS = ("time", "trajectory", "temperature")
_STEPS, _ENDS = 7, (5.0, 95.0)


class NameAxes(Callback):
    """Ends a training run with named axes in ``<run>/axes``, where particles have labels.

    Times and trajectories, or temperatures, of the particles say which directions of z are a motion
    each; ``axes.txt`` says whether they do. The folder has what the command ``axes`` writes, and
    volumes along each axis, the others at their median: a ChimeraX series each and ``motions.png``.

    Args:
        by: What finds the axes: ``time``, ``evidence`` or ``temperature``; null is what the labels
            are of.
    """

    def __init__(self, by: str | None = None) -> None:
        self.by = by

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:  # noqa: ARG002
        """Refuses models without latents before the run."""
        if not isinstance(pl_module, LatentImageModel):
            raise TypeError(
                "NameAxes needs a model with infer(batch) and generate(conformation, pose, batch), "
                f"found {type(pl_module).__name__}"
            )

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Writes the axes from the first process."""
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        with trained(trainer, pl_module):
            found = gather_parts(list(_inferred(trainer, pl_module)))
            if not found or found.keys().isdisjoint(_LABELS):
                return
            # Shares of several processes, in the order of the particle file.
            order = np.argsort(found["index"], kind="stable")
            found = {name: values[order] for name, values in found.items()}
            out, console = Path(trainer.default_root_dir, "axes"), Console()
            try:
                axes = self._named(found, out)
            except ValueError as error:
                # A finished training is worth more than its axes.
                console.print(f"Axes: not named: {error}", highlight=False, markup=False)
                return
            if isinstance(pl_module, EvaluatesVolumes):
                _draw_motions(pl_module, axes, found["mean"], out)
        console.print(f"Axes: {axes.verdict_}", highlight=False, markup=False)
        console.print(f"Axes and volumes along them: {out}", highlight=False, markup=False)

    def _named(self, found: dict[str, npt.NDArray[np.generic]], out: Path) -> LinearAxes:
        """Finds the axes and writes them."""
        labels = {name: found[name] for name in _LABELS if name in found}
        embedding = Embedding(
            "cryo-disentangle",
            out.parent,
            found["mean"],
            covariance=found["covariance"],
            rows=found["index"],
        )
        known: ParticleLabels = ParticleLabels(**labels)  # type: ignore[arg-type]
        return name_axes(embedding, known, out, self.by, half=found.get("half"))


def _inferred(trainer: L.Trainer, module: L.LightningModule) -> Iterator[dict[str, Tensor]]:
    """Posteriors and labels of this process's particles."""
    for batch in all_batches(trainer, ModelAdapter()):
        found = cast(LatentImageModel, module).infer(batch)
        known = cast("dict[str, Tensor]", batch)
        part = {"mean": found.mean, "covariance": found.covariance}
        part |= {name: known[name] for name in ("index", "half", *_LABELS) if name in known}
        # NumPy has no bfloat16.
        yield {
            name: (value.float() if value.is_floating_point() else value).cpu()
            for name, value in part.items()
        }


def _draw_motions(
    model: EvaluatesVolumes, axes: LinearAxes, latents: npt.NDArray[np.float32], out: Path
) -> None:
    """Writes volumes along each axis and their projections."""
    device = cast(L.LightningModule, model).device
    paths = traversal_latents(axes.transform(latents).astype(np.float32), _STEPS, _ENDS)
    images = []
    for number, path in enumerate(paths, start=1):
        along = axes.inverse_transform(path).astype(np.float32)
        volumes = (model.volume(torch.from_numpy(z).to(device)).cpu().numpy() for z in along)
        images.append(write_series(out / f"axis{number}", along, volumes, model.pixel_size))
    values = np.stack([path[:, number] for number, path in enumerate(paths)])
    figure = draw_motions(np.stack(images), values, _ENDS, model.pixel_size)
    with replacing(out / "motions.png") as temporary:
        figure.savefig(temporary, format="png", dpi=120)
