"""A summary at the end of training: a table on the screen, pictures in the run's folder."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import lightning as L
import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch.callbacks import Callback
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from torch import Tensor

from cryo_disentangle.adapters import AdaptedModel, ModelAdapter
from cryo_disentangle.callbacks.oracles import best_possible
from cryo_disentangle.callbacks.run_particles import (
    first_particles,
    held_out_samples,
    true_factors,
)
from cryo_disentangle.callbacks.watching import trained
from cryo_disentangle.drawing.inferred import draw_reconstructions
from cryo_disentangle.drawing.reconstructions import (
    draw_curves,
    draw_fsc,
    draw_latents,
    draw_volumes,
)
from cryo_disentangle.files import read_volume
from cryo_disentangle.files.mrc import read_mrc_header
from cryo_disentangle.files.paths import replacing
from cryo_disentangle.geometry.rotations import rotation_to_euler_zyz
from cryo_disentangle.imaging.fsc import fourier_shell_correlation, resolution_at
from cryo_disentangle.judgement.identifiability import judge_identifiability
from cryo_disentangle.judgement.image_scores import ImagedModel, measure_images, reads_images
from cryo_disentangle.judgement.inferred import InferredParticles, infer_particles
from cryo_disentangle.judgement.particle_scores import (
    describe_coordinates,
    measure_leaks,
    measure_truth,
)
from cryo_disentangle.judgement.scores import Measurement
from cryo_disentangle.judgement.verdict import judge
from cryo_disentangle.protocols.models import EvaluatesVolumes
from cryo_disentangle.traversals import representative_latents
from cryo_disentangle.types import ParticleBatch, flatten_particles

__all__ = ["RunReport"]

_IMAGES, _VOLUMES = 6, 6
# Particles that are imaged again: an epoch's end is to take seconds.
_IMAGED = 512
# As many as `evaluate` asks for.
_FEWEST = 12
_NUMBERS = {
    "latent coordinates in use": ("conformations", "coordinates_in_use"),
    "R² of z from the pose (linear)": ("pose_leak", "pose_leak_linear_r2"),
    "R² of z from the pose (nonlinear)": ("pose_leak", "pose_leak_nonlinear_r2"),
    "share of z due to noise in images": ("redrawn_noise", "noise_normalized"),
    "R² of true factors from z (linear)": ("truth", "r2_linear"),
}


class RunReport(Callback):
    """Ends a training run with a table on the screen and pictures in ``<run>/report``.

    The table (also ``report.json``) says how well held-out images are reconstructed, how many
    latent coordinates are in use, how much of the latents can be told from the viewing direction,
    how much is the noise of images, and, where they are given, how well true factors can be read
    from the latents, beside the best that images of this simulation allow, and how well the mean
    volume agrees with a reference; and the verdict says in
    words what z encodes (`judge`). Where particles have temperatures, or come as pairs of frames,
    it also says whether these make single latent coordinates meaningful.

    Args:
        reference_volume: MRC file of the true density, for the Fourier shell correlation.
        truth: ``truth.npz`` of a simulated stack, for its true factors.
        particles: How many particles to look at, at most.
        infer: As for `PenaltyCallback`.
        generate: As for `PenaltyCallback`; a module that can't render gets a report without
            interventions and reconstructions.
        as_batch: As for `PenaltyCallback`.

    Raises:
        ValueError: If ``particles`` is smaller than 100.
        TypeError: If a function can't be imported, or the module has no ``infer``.
    """

    def __init__(
        self,
        reference_volume: str | Path | None = None,
        truth: str | Path | None = None,
        particles: int = 2000,
        infer: str | Callable[..., Any] | None = None,
        generate: str | Callable[..., Any] | None = None,
        as_batch: str | Callable[..., Any] | None = None,
    ) -> None:
        if particles < 100:
            raise ValueError(f"a report needs at least 100 particles, found {particles}")
        self.reference_volume, self.truth, self.particles = reference_volume, truth, particles
        self._adapter = ModelAdapter(infer, generate, as_batch)
        self._curve: list[tuple[int, float, float]] = []
        self._loss_sum: Tensor | float = 0.0
        self._batches = 0
        self._factors: Tensor | None = None

    def state_dict(self) -> dict[str, Any]:
        """Returns the learning curve so far."""
        return {"curve": self._curve}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on with the learning curve of a resumed run."""
        self._curve = [tuple(point) for point in state_dict["curve"]]

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Checks the model and the files before the run rather than after it."""
        self._adapter.model(pl_module)
        for path in (self.reference_volume, self.truth):
            if path is not None and not Path(path).is_file():
                raise FileNotFoundError(f"RunReport: no such file: {path}")
        if stage == "fit" and self.truth is not None:
            self._factors = true_factors(trainer, self.truth)
        if self.reference_volume is not None and isinstance(pl_module, EvaluatesVolumes):
            shape = read_mrc_header(self.reference_volume).shape
            expected = (pl_module.box_size,) * 3
            if shape != expected:
                raise ValueError(
                    f"{self.reference_volume}: a volume of shape {expected} expected, found {shape}"
                )

    def on_train_batch_end(
        self,
        trainer: L.Trainer,  # noqa: ARG002
        pl_module: L.LightningModule,  # noqa: ARG002
        outputs: Any,  # noqa: ANN401
        batch: Any,  # noqa: ANN401, ARG002
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        """Adds up the loss on its device; a loop that optimises by hand may return none."""
        if isinstance(outputs, Mapping) and isinstance(outputs.get("loss"), Tensor):
            self._loss_sum = self._loss_sum + outputs["loss"].detach()
            self._batches += 1

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: ARG002
        """Adds a point to the learning curve."""
        training = float(self._loss_sum) / self._batches if self._batches else math.nan
        validation = float(trainer.callback_metrics.get("val/loss", math.nan))
        self._curve.append((trainer.global_step, training, validation))
        self._loss_sum, self._batches = 0.0, 0

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Writes the report from the first process."""
        if not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        folder = Path(trainer.default_root_dir) / "report"
        folder.mkdir(parents=True, exist_ok=True)
        with trained(trainer, pl_module):
            rows = self._evaluate(trainer, pl_module, folder)
        with replacing(folder / "report.json") as temporary:
            temporary.write_text(json.dumps(rows, indent=2) + "\n")
        _print(rows, folder)

    def _evaluate(
        self, trainer: L.Trainer, module: L.LightningModule, folder: Path
    ) -> dict[str, float | str]:
        """Draws the pictures and returns the table's rows."""
        model = self._adapter.model(module)
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        rows: dict[str, float | str] = {
            f"held-out {name}": metrics[f"val/{name}"]
            for name in ("reconstruction", "kl")
            if f"val/{name}" in metrics
        }
        steps, train_loss, val_loss = zip(*self._curve, strict=True)
        _draw(folder / "learning_curve.png", lambda: draw_curves(steps, train_loss, val_loss))

        samples = list(held_out_samples(trainer, self._adapter, self.particles))
        particles = infer_particles(model.infer, samples)
        if self._factors is not None and particles.index is not None:
            factors = self._factors[particles.index]
            particles = particles.with_labels(factors=factors)
        batches = [flatten_particles(batch) for batch in samples]
        rows |= _judge(model, particles, batches, held_out=bool(trainer.val_dataloaders))
        rows |= best_possible(trainer, particles, self.truth)
        latents = particles.mean.numpy()
        chosen = representative_latents(latents, min(_VOLUMES, len(latents)))
        colours = _colours(particles)
        if colours:
            columns = np.stack(list(colours.values()), 1)
            cyclic = [name for name in colours if "tilt" not in name and "°" in name]
            _draw(
                folder / "latents.png",
                lambda: draw_latents(latents, columns, list(colours), chosen, cyclic=cyclic),
            )
        if isinstance(module, EvaluatesVolumes):
            rows |= self._evaluate_volumes(module, chosen, latents.mean(axis=0), folder)
        if "images" in batches[0] and model.can_generate:
            few, pixel_size = (
                first_particles(batches[0], _IMAGES),
                getattr(module, "pixel_size", None),
            )
            _draw(
                folder / "reconstructions.png",
                lambda: draw_reconstructions(model, few, pixel_size),
            )
        return rows

    def _evaluate_volumes(
        self,
        model: EvaluatesVolumes,
        chosen: npt.NDArray[np.float32],
        mean: npt.NDArray[np.float32],
        folder: Path,
    ) -> dict[str, float]:
        """Draws volumes, and compares the mean one with the reference."""
        device = cast(L.LightningModule, model).device

        def volume(latent: npt.NDArray[np.float32]) -> Tensor:
            return model.volume(torch.from_numpy(latent).to(device)).cpu()

        volumes = np.stack([volume(latent).numpy() for latent in chosen])
        _draw(folder / "volumes.png", lambda: draw_volumes(volumes, model.pixel_size))
        if self.reference_volume is None:
            return {}
        reference, _ = read_volume(self.reference_volume)
        fsc = fourier_shell_correlation(volume(mean), torch.from_numpy(reference))
        _draw(folder / "fsc.png", lambda: draw_fsc(fsc.numpy(), model.pixel_size))
        return {
            "FSC with the reference, mean up to Nyquist / 2": float(fsc[1 : len(fsc) // 2].mean()),
            "resolution at FSC 0.5 (Å)": resolution_at(fsc, model.pixel_size, 0.5),
        }


def _judge(
    model: AdaptedModel,
    particles: InferredParticles,
    batches: list[ParticleBatch],
    *,
    held_out: bool,
) -> dict[str, float | str]:
    """The judge's numbers and words."""
    if len(particles) < _FEWEST:
        return {"verdict": f"{len(particles)} held-out particles are too few for a verdict."}
    found = Measurement()
    for score in (measure_leaks, describe_coordinates, measure_truth):
        score(found, particles)
    imaged = ImagedModel(model, reads_images(model.module))
    measure_images(found, imaged, batches[: max(1, _IMAGED // len(batches[0]["index"]))])
    rows: dict[str, float | str] = {}
    for name, (group, key) in _NUMBERS.items():
        if key in found.scores.get(group, {}):
            value = found.scores[group][key].value
            # A held-out R² below 0 says no more than 0 does.
            rows[name] = max(value, 0.0) if "R²" in name else value
    for name, judgement in judge_identifiability(particles).items():
        rows |= {f"{name}, {key.replace('_', ' ')}": v for key, v in judgement.scores.items()}
        rows[f"{name}, verdict"] = judgement.words
    verdict = judge(found.scores, "held-out" if held_out else "training")
    rows["verdict"] = " ".join([verdict.headline, *verdict.reasons])
    return rows


def _colours(particles: InferredParticles) -> dict[str, npt.NDArray[np.floating]]:
    """What colours the latents, by name."""
    colours: dict[str, npt.NDArray[np.floating]] = {}
    if particles.rotation is not None:
        rot, tilt, _ = rotation_to_euler_zyz(particles.rotation).numpy().T
        colours |= {"viewing direction: rot (°)": rot, "viewing direction: tilt (°)": tilt}
    if particles.factors is not None:
        for k, factor in enumerate(particles.factors.T, start=1):
            colours[f"true factor {k}"] = factor.numpy()
    return colours


def _draw(path: Path, draw: Callable[[], Figure]) -> None:
    """Draws and writes a picture; a failure is reported in a warning and does not end the run."""
    try:
        figure = draw()
        with replacing(path) as temporary:
            figure.savefig(temporary, format="png", dpi=130)
    except (ValueError, TypeError, RuntimeError, OSError) as error:
        warnings.warn(f"no picture {path.name}: {error}", stacklevel=2)


def _print(rows: dict[str, float | str], folder: Path) -> None:
    table = Table(title="Report", title_justify="left")
    table.add_column("held-out particles")
    table.add_column("value", justify="right")
    console = Console()
    for name, value in rows.items():
        if isinstance(value, float):
            none = "R²" in name and round(value, 2) == 0
            table.add_row(name, "none" if none else f"{value:.4g}")
    console.print(table)
    for name, value in rows.items():
        if isinstance(value, str):
            console.print(f"{name}: {value}", highlight=False, markup=False)
    console.print(f"Pictures: {folder}")
