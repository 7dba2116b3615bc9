"""A short report at the end of training: a table on the screen, pictures in the run's folder."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NamedTuple, cast

import lightning as L
import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch.callbacks import Callback
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from sklearn.linear_model import LinearRegression
from torch import Tensor

from cryo_disentangle import drawing
from cryo_disentangle.files import read_mrc_header, read_volume, replacing
from cryo_disentangle.imaging import (
    desymmetrize,
    fourier_shell_correlation,
    inverse_hartley2,
    lattice_frequencies,
    resolution_at,
    shift_hartley,
)
from cryo_disentangle.judgement.identifiability import judge_identifiability
from cryo_disentangle.protocols import EvaluatesVolumes, LatentImageModel
from cryo_disentangle.traversals import representative_latents
from cryo_disentangle.types import ParticleBatch, Pose, flatten_particles

__all__ = ["RunReport"]

_IMAGES, _VOLUMES = 6, 6


class _Latents(NamedTuple):
    """Latents of N particles and, where poses are known, the rotations they are seen from."""

    rows: npt.NDArray[np.int64]
    mean: npt.NDArray[np.float32]
    log_variance: npt.NDArray[np.float32]
    rotation: npt.NDArray[np.float32] | None


class RunReport(Callback):
    """Ends a training run with a table on the screen and pictures in ``<run>/report``.

    The table (also ``report.json``) says how well held-out images are reconstructed, how many
    latent coordinates are in use, how much of the latents a linear map can tell from the viewing
    direction, and, where they are given, how well true factors can be read from the latents and how
    well the mean volume agrees with a reference. Where particles have temperatures, or come as
    pairs of frames, it also says in words whether these make single latent coordinates meaningful.

    Args:
        reference_volume: MRC file of the true density, for the Fourier shell correlation.
        truth: ``truth.npz`` of a simulated stack, for its true factors.
        particles: How many particles to look at, evenly spread over the stack.

    Raises:
        ValueError: If ``particles`` is smaller than 100.
    """

    def __init__(
        self,
        reference_volume: str | Path | None = None,
        truth: str | Path | None = None,
        particles: int = 2000,
    ) -> None:
        if particles < 100:
            raise ValueError(f"a report needs at least 100 particles to look at, found {particles}")
        self.reference_volume, self.truth, self.particles = reference_volume, truth, particles
        self._curve: list[tuple[int, float, float]] = []
        self._loss_sum: Tensor | float = 0.0
        self._batches = 0

    def state_dict(self) -> dict[str, Any]:
        """Returns the learning curve so far."""
        return {"curve": self._curve}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on with the learning curve of a resumed run."""
        self._curve = [tuple(point) for point in state_dict["curve"]]

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:  # noqa: ARG002
        """Checks the model and the files before the run rather than after it."""
        if not isinstance(pl_module, LatentImageModel):
            raise TypeError(
                "RunReport needs a model with infer(batch) and generate(conformation, pose, "
                f"batch), found {type(pl_module).__name__}"
            )
        for path in (self.reference_volume, self.truth):
            if path is not None and not Path(path).is_file():
                raise FileNotFoundError(f"RunReport: no such file: {path}")
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
        """Adds up the loss on its device."""
        self._loss_sum = self._loss_sum + outputs["loss"].detach()
        self._batches += 1

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: ARG002
        """Adds a point to the learning curve."""
        training = float(self._loss_sum) / max(self._batches, 1)
        validation = float(trainer.callback_metrics.get("val/loss", math.nan))
        self._curve.append((trainer.global_step, training, validation))
        self._loss_sum, self._batches = 0.0, 0

    @torch.no_grad()
    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Writes the report from the first process."""
        if not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        folder = Path(trainer.default_root_dir) / "report"
        folder.mkdir(parents=True, exist_ok=True)
        training = pl_module.training
        pl_module.eval()
        try:
            rows = self._evaluate(trainer, pl_module, folder)
        finally:
            pl_module.train(training)
        with replacing(folder / "report.json") as temporary:
            temporary.write_text(json.dumps(rows, indent=2) + "\n")
        _print(rows, folder)

    def _evaluate(
        self, trainer: L.Trainer, module: L.LightningModule, folder: Path
    ) -> dict[str, float | str]:
        """Draws the pictures and returns the table's rows."""
        model = cast(LatentImageModel, module)
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        rows: dict[str, float | str] = {
            f"held-out {name}": metrics[f"val/{name}"]
            for name in ("reconstruction", "kl")
            if f"val/{name}" in metrics
        }
        steps, train_loss, val_loss = zip(*self._curve, strict=True)
        _save(drawing.draw_curves(steps, train_loss, val_loss), folder / "learning_curve.png")

        samples = _held_out(trainer, module, self.particles)
        batches = [flatten_particles(batch) for batch in samples]
        latents = _infer(model, batches)
        active = np.exp(latents.log_variance).mean(axis=0) < 0.5
        rows["latent coordinates in use"] = float(active.sum())
        colours, names = [], []
        if latents.rotation is not None:
            inputs = latents.rotation.reshape(len(latents.rotation), 9)
            rows["R² of z from the pose (linear)"] = _linear_r2(inputs, latents.mean)
            tilt = np.degrees(np.arccos(np.clip(latents.rotation[:, 2, 2], -1, 1)))
            colours.append(tilt)
            names.append("tilt of the viewing direction (°)")
        if self.truth is not None:
            factors = np.load(self.truth)["factors"][latents.rows]
            rows["R² of true factors from z (linear)"] = _linear_r2(latents.mean, factors)
            colours += list(factors.T)
            names += [f"true factor {k + 1}" for k in range(factors.shape[1])]

        chosen = representative_latents(latents.mean, _VOLUMES)
        if colours:
            figure = drawing.draw_latents(latents.mean, np.stack(colours, 1), names, chosen)
            _save(figure, folder / "latents.png")
        if isinstance(module, EvaluatesVolumes):
            rows |= self._evaluate_volumes(module, chosen, latents.mean.mean(axis=0), folder)
            if "images" in batches[0]:
                observed, rendered = _reconstructions(model, batches[0])
                figure = drawing.draw_images(observed, rendered, module.pixel_size)
                _save(figure, folder / "reconstructions.png")
        return rows | _identifiability(model, samples)

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
        _save(drawing.draw_volumes(volumes, model.pixel_size), folder / "volumes.png")
        if self.reference_volume is None:
            return {}
        reference, _ = read_volume(self.reference_volume)
        fsc = fourier_shell_correlation(volume(mean), torch.from_numpy(reference))
        _save(drawing.draw_fsc(fsc.numpy(), model.pixel_size), folder / "fsc.png")
        return {
            "FSC with the reference, mean up to Nyquist / 2": float(fsc[1 : len(fsc) // 2].mean()),
            "resolution at FSC 0.5 (Å)": resolution_at(fsc, model.pixel_size, 0.5),
        }


def _held_out(trainer: L.Trainer, module: L.LightningModule, count: int) -> list[ParticleBatch]:
    """Batches of held-out particles (of all, where none are held out), at most ``count``."""
    data: Any = trainer.datamodule  # type: ignore[attr-defined]
    loader = data.val_dataloader() or data.predict_dataloader()
    batches: list[ParticleBatch] = []
    seen = 0
    for batch in loader:
        batches.append(module.transfer_batch_to_device(batch, module.device, 0))
        seen += batch["index"].numel()
        if seen >= count:
            break
    return batches


def _identifiability(
    model: LatentImageModel, samples: list[ParticleBatch]
) -> dict[str, float | str]:
    """What times and temperatures of the particles say of the latents, in numbers and words."""
    rows: dict[str, float | str] = {}
    for name, judgement in judge_identifiability(model, samples).items():
        for score, value in judgement.scores.items():
            rows[f"{name}, {score.replace('_', ' ')}"] = value
        rows[f"{name}, verdict"] = judgement.words
    return rows


def _infer(model: LatentImageModel, batches: list[ParticleBatch]) -> _Latents:
    parts = [model.infer(batch) for batch in batches]
    known = "rotation" in batches[0]
    return _Latents(
        rows=torch.cat([batch["index"] for batch in batches]).cpu().numpy(),
        mean=torch.cat([part.mean for part in parts]).cpu().numpy(),
        log_variance=torch.cat([part.log_variance for part in parts]).cpu().numpy(),
        rotation=torch.cat([batch["rotation"] for batch in batches]).cpu().numpy()
        if known
        else None,
    )


def _linear_r2(inputs: npt.NDArray[np.floating], targets: npt.NDArray[np.floating]) -> float:
    """R² on odd rows of a linear map fitted on even ones; the mean over targets that vary, or 0."""
    targets = targets[:, targets.std(axis=0) > 0]
    if not targets.size:  # as conformations in a warm-up
        return 0.0
    fit = LinearRegression().fit(inputs[::2], targets[::2])
    residual = np.square(targets[1::2] - fit.predict(inputs[1::2])).mean(axis=0)
    return float((1 - residual / targets[1::2].var(axis=0)).mean())


def _reconstructions(
    model: LatentImageModel, batch: ParticleBatch
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """A few centred particles and the model's images of them, (N, D, D) each."""
    tensors = cast(dict[str, Tensor], batch)
    few = cast(ParticleBatch, {name: value[:_IMAGES] for name, value in tensors.items()})
    inference = model.infer(few)
    pose = inference.pose or Pose(few["rotation"])
    rendered = model.generate(inference.mean, Pose(pose.rotation), few)
    images = few["images"]
    if "translation" in few:
        frequencies = lattice_frequencies(images.shape[-1] - 1).to(images.device)
        shifted = shift_hartley(images.flatten(1), frequencies, few["translation"])
        images = shifted.view_as(images)
    observed, reconstructed = (
        inverse_hartley2(desymmetrize(value)).cpu().numpy() for value in (images, rendered)
    )
    return observed, reconstructed


def _save(figure: Figure, path: Path) -> None:
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=130)


def _print(rows: dict[str, float | str], folder: Path) -> None:
    table = Table(title="Report", title_justify="left")
    table.add_column("held-out particles")
    table.add_column("value", justify="right")
    console = Console()
    for name, value in rows.items():
        if isinstance(value, float):
            table.add_row(name, f"{value:.4g}")
    console.print(table)
    for name, value in rows.items():
        if isinstance(value, str):
            console.print(f"{name}: {value}", highlight=False, markup=False)
    console.print(f"Pictures: {folder}")
