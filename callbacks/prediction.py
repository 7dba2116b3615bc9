"""Latents and volumes written by ``predict``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from cryo_disentangle.files import write_volume
from cryo_disentangle.files.paths import replacing
from cryo_disentangle.judgement.gathering import GatheredRows
from cryo_disentangle.particles import ParticleStack
from cryo_disentangle.particles.pickles import write_latents, write_poses
from cryo_disentangle.protocols.models import EvaluatesVolumes
from cryo_disentangle.traversals import representative_clusters

__all__ = ["PredictionWriter", "gather_parts"]


class PredictionWriter(Callback):
    """Writes what ``predict`` infers.

    ``z.pkl`` (means, then log-variances, as cryoDRGN's), ``latents.npz`` (``mean``,
    ``log_variance``, ``index``, which is the row in the particle file, from 0, ``image``, its name
    there, and ``position`` among the particles of the run), for a model that infers poses
    ``poses.pkl`` (cryoDRGN's), and for a model that evaluates volumes ``volumes/vol_001.mrc`` ...
    with their latents in ``volumes/z_values.txt``. Volumes of k-means clusters come with the
    ``cluster`` of each particle in ``latents.npz``, the number of its volume, and their sizes in
    ``volumes/clusters.csv``.

    Args:
        folder: Where to write.
        kmeans: Number of volumes at particles that represent k-means clusters of the latents; 0
            writes none.
        latents: Text file of latents to write volumes of instead, one a row.
        volume_box_size: Side of written volumes in pixels; null is the model's box size.

    Raises:
        ValueError: If ``kmeans`` is negative.
    """

    def __init__(
        self,
        folder: str | Path = "prediction",
        kmeans: int = 10,
        latents: str | Path | None = None,
        volume_box_size: int | None = None,
    ) -> None:
        if kmeans < 0:
            raise ValueError(f"kmeans must not be negative, found {kmeans}")
        self.folder = Path(folder)
        self.kmeans = kmeans
        self.latents = latents
        self.volume_box_size = volume_box_size
        self._rows = GatheredRows()

    def on_predict_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Refuses a folder, latents or a box that can't serve, before the work is done."""
        self._rows = GatheredRows()
        dim = getattr(pl_module, "conformation_dim", None)
        if self.latents is not None:
            _read_latents(self.latents, dim)
        if self.volume_box_size is not None and dim and isinstance(pl_module, EvaluatesVolumes):
            # Which boxes there are, the decoder knows, which may be anybody's.
            latent = torch.zeros(dim, device=pl_module.device)
            pl_module.volume(latent, self.volume_box_size)
        if trainer.is_global_zero:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise OSError(
                    f"cannot write predictions to {self.folder}: {error.strerror}"
                ) from error

    def on_predict_batch_end(
        self,
        trainer: L.Trainer,  # noqa: ARG002
        pl_module: L.LightningModule,  # noqa: ARG002
        outputs: Any,  # noqa: ANN401
        batch: Any,  # noqa: ANN401, ARG002
        batch_idx: int,  # noqa: ARG002
        dataloader_idx: int = 0,  # noqa: ARG002
    ) -> None:
        """Keeps a batch's latents in memory of the host."""
        self._rows.add(outputs)

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Gathers all processes' latents and writes from the first process."""
        rows = self._rows.columns()
        latents = gather_parts([rows] if rows else [])
        self._rows = GatheredRows()
        if not trainer.is_global_zero:
            return
        order = np.argsort(latents["index"], kind="stable")
        latents = {name: values[order] for name, values in latents.items()}
        latents |= _in_particle_file(trainer, latents["index"])
        chosen = None
        if isinstance(pl_module, EvaluatesVolumes):
            chosen, clusters = self._choose(latents["mean"])
            latents |= clusters
        write_latents(self.folder / "z.pkl", latents["mean"], latents["log_variance"])
        with replacing(self.folder / "latents.npz") as temporary, temporary.open("wb") as file:
            np.savez(file, **latents)  # type: ignore[arg-type]
        if isinstance(pl_module, EvaluatesVolumes):
            if "rotation" in latents:
                poses = latents["rotation"], latents["translation"]
                write_poses(self.folder / "poses.pkl", *poses, pl_module.box_size)
            if chosen is not None:
                self._write_volumes(pl_module, chosen)
                if "cluster" in latents:
                    self._write_counts(latents["cluster"], len(chosen))

    def _choose(
        self, mean: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.float32] | None, dict[str, npt.NDArray[np.int64]]]:
        """Latents to write volumes of, and which volume's cluster each particle is in, from 1."""
        if self.latents is not None:
            return _read_latents(self.latents, mean.shape[1]), {}
        if not self.kmeans:
            return None, {}
        chosen, labels = representative_clusters(mean, min(self.kmeans, len(mean)))
        return chosen, {"cluster": labels + 1}

    def _write_counts(self, cluster: npt.NDArray[np.int64], count: int) -> None:
        """Writes how many particles each volume stands for."""
        found = np.bincount(cluster, minlength=count + 1)[1:].tolist()
        lines = [f"vol_{number:03d}.mrc,{each}" for number, each in enumerate(found, start=1)]
        with replacing(self.folder / "volumes/clusters.csv") as temporary:
            temporary.write_text("\n".join(["volume,particles", *lines]) + "\n", encoding="utf-8")

    def _write_volumes(self, model: EvaluatesVolumes, chosen: npt.NDArray[np.float32]) -> None:
        """Writes a volume of each latent."""
        side = self.volume_box_size or model.box_size
        pixel_size = model.pixel_size * model.box_size / side
        folder = self.folder / "volumes"
        folder.mkdir(exist_ok=True)
        device = next(model.parameters()).device if isinstance(model, torch.nn.Module) else "cpu"
        for number, latent in enumerate(chosen, start=1):
            density = model.volume(torch.from_numpy(latent).to(device), self.volume_box_size)
            write_volume(folder / f"vol_{number:03d}.mrc", density.cpu().numpy(), pixel_size)
        with replacing(folder / "z_values.txt") as temporary:
            np.savetxt(temporary, chosen, fmt="%.8g")


def _read_latents(path: str | Path, dim: int | None) -> npt.NDArray[np.float32]:
    """Latents of a text file, one a row."""
    try:
        latents = np.loadtxt(path, dtype=np.float32, ndmin=2)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: expected a text file of latents, one a row: {error}") from error
    if dim is not None and latents.shape[1] != dim:
        raise ValueError(
            f"{path}: expected {dim} coordinates a row, the model's conformation_dim, found "
            f"{latents.shape[1]}"
        )
    return latents


def _in_particle_file(
    trainer: L.Trainer, position: npt.NDArray[np.int64]
) -> dict[str, npt.NDArray[Any]]:
    """Rows and image names in the particle file, where there is one, and places in the run."""
    loaders = trainer.predict_dataloaders
    loader = loaders[0] if isinstance(loaders, list | tuple) else loaders
    stack = getattr(getattr(loader, "dataset", None), "stack", None)
    if not isinstance(stack, ParticleStack):
        return {"index": position, "position": position}
    images = np.array(stack.image_names())[position]
    return {"index": stack.rows[position], "position": position, "image": images}


def gather_parts(parts: Sequence[dict[str, Tensor]]) -> dict[str, npt.NDArray[Any]]:
    """Joins the batches of all processes.

    Args:
        parts: This process's: tensors on the host by name, rows first.

    Returns:
        One array a name, in the first process; others get nothing.
    """
    mine = {name: torch.cat([part[name] for part in parts]) for name in parts[0]} if parts else {}
    shards = [mine]
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        first = torch.distributed.get_rank() == 0
        shards = [{}] * torch.distributed.get_world_size()
        torch.distributed.gather_object(mine, shards if first else None)
        if not first:
            return {}
    shards = [shard for shard in shards if shard]
    return {name: torch.cat([shard[name] for shard in shards]).numpy() for name in shards[0]}
