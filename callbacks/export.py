"""A cryoDRGN run folder that grows while a model is trained."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import numpy.typing as npt
import torch
import yaml
from torch import nn

from cryo_disentangle.callbacks.adapters import AdaptedModel, ModelAdapter
from cryo_disentangle.interop import cryodrgn_model_args, cryodrgn_weights
from cryo_disentangle.callbacks.run_particles import all_batches, infer_rows
from cryo_disentangle.callbacks.soft import EpochCallback
from cryo_disentangle.particles import (
    HartleyPreprocessing,
    ParticleData,
    ParticleStack,
    read_indices,
    replacing,
    write_ctf,
    write_indices,
    write_latents,
    write_poses,
)

__all__ = ["CryoDRGNExport"]

# The run folder's format; cryoDRGN reads older and newer ones by its number.
_CRYODRGN = "4.3.1"


class CryoDRGNExport(EpochCallback):
    """Writes ``<run>/cryodrgn``, a folder as ``cryodrgn train_vae`` leaves it.

    ``z.N.pkl`` (means and log-variances of all particles, in the order of the stack) and
    ``weights.N.pkl`` after N epochs, with ``config.yaml`` and the poses, CTF and selection that it
    names, so that ``cryodrgn analyze <run>/cryodrgn N``, ``eval_vol`` and others go on from there.

    ``z.pkl`` and ``weights.pkl`` are the last of them, ``run.log`` has the training loss.

    Weights and configuration are for models of an `MLPEncoder` and an `ImplicitDecoder` that know
    their poses, trained on `ParticleData` prepared as cryoDRGN does. Of other models only latents
    are written, and a warning tells why. The first process writes; what fails is told once in a
    warning and never ends the training.

    Args:
        every_n_epochs: Epochs from one export to the next; the last epoch has one.
        infer: As for `PenaltyCallback`.
        as_batch: As for `PenaltyCallback`.

    Raises:
        ValueError: If ``every_n_epochs`` is not positive.
        TypeError: If a function can't be imported, or the module has no ``infer``.
    """

    def __init__(
        self,
        every_n_epochs: int = 1,
        infer: str | Callable[..., Any] | None = None,
        as_batch: str | Callable[..., Any] | None = None,
    ) -> None:
        super().__init__(every_n_epochs, ModelAdapter(infer, as_batch=as_batch))
        self._described = False

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Checks the module; each fit writes a configuration of its own."""
        super().setup(trainer, pl_module, stage)
        self._described = False

    def _look(
        self, trainer: L.Trainer, pl_module: L.LightningModule, model: AdaptedModel, epoch: int
    ) -> None:
        """Infers all particles, each process its share, and writes from the first process."""
        mine: tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]] | None = None
        with self.failing_softly("latents"):
            found = infer_rows(model, all_batches(trainer, self._adapter))
            mine = found.rows, np.stack([found.mean, found.log_variance])
        # Every process gets here, whatever happened to its share.
        shares = _gather(mine)
        if not trainer.is_global_zero:
            return
        folder = Path(trainer.default_root_dir, "cryodrgn")
        with self.failing_softly("cryoDRGN folder"):
            folder.mkdir(parents=True, exist_ok=True)
            _write_latents(folder / f"z.{epoch}.pkl", shares)
            _copy(folder / f"z.{epoch}.pkl", folder / "z.pkl")
        with self.failing_softly("cryoDRGN weights and configuration"):
            weights = cryodrgn_weights(pl_module, trainer.optimizers, epoch)
            if not self._described:
                config = _config(trainer, pl_module, folder)
                with replacing(folder / "config.yaml") as temporary:
                    temporary.write_text(yaml.safe_dump(config), encoding="utf-8")
                self._described = True
            with replacing(folder / f"weights.{epoch}.pkl") as temporary:
                torch.save(weights, temporary)
            _copy(folder / f"weights.{epoch}.pkl", folder / "weights.pkl")
            _log_epoch(folder / "run.log", trainer, epoch)


def _config(trainer: L.Trainer, module: nn.Module, folder: Path) -> dict[str, Any]:
    """The configuration of the run; writes the files that it names, where they are missing."""
    data = trainer.datamodule  # type: ignore[attr-defined]
    if not isinstance(data, ParticleData) or not isinstance(
        data.preprocessing, HartleyPreprocessing
    ):
        raise TypeError(
            "cryoDRGN reads particles from files and prepares them as HartleyPreprocessing does, "
            f"found a data module of type {type(data).__name__}"
        )
    preprocessing = data.preprocessing
    mean, std = preprocessing.fitted_norm
    radius = preprocessing.window_radius
    return {
        "cmd": list(sys.argv),
        "time": datetime.now(),
        "version": _CRYODRGN,
        "written_by": f"cryo-disentangle {version('cryo-disentangle')}",
        "seed": int(data.seed),
        "dataset_args": {
            "particles": _absolute(data.particles),
            "datadir": None if data.datadir is None else _absolute(data.datadir),
            "norm": [float(mean), float(std)],
            "invert_data": preprocessing.invert,
            "keepreal": False,
            "window": radius is not None,
            "window_r": 0.85 if radius is None else float(radius),
            "do_pose_sgd": False,
            **_write_metadata(data, folder),
        },
        "lattice_args": {"D": data.box_size + 1, "extent": 0.5, "ignore_DC": True},
        "model_args": cryodrgn_model_args(module),
    }


def _write_metadata(data: ParticleData, folder: Path) -> dict[str, str | None]:
    """Writes poses, CTF and selection for all images of the particle file."""
    # cryoDRGN selects from whole tables, so that these are of all images, whatever is trained on.
    whole = ParticleStack.open(data.particles, poses=data.poses, ctf=data.ctf, datadir=data.datadir)
    names: dict[str, str | None] = dict.fromkeys(("poses", "ctf", "ind"))
    if whole.rotation is not None:
        write_poses(folder / "poses.pkl", whole.rotation, whole.translation, whole.box_size)
        names["poses"] = _absolute(folder / "poses.pkl")
    if whole.ctf is not None:
        write_ctf(folder / "ctf.pkl", whole.ctf)
        names["ctf"] = _absolute(folder / "ctf.pkl")
    if data.indices is not None:
        write_indices(folder / "ind.pkl", read_indices(data.indices))
        names["ind"] = _absolute(folder / "ind.pkl")
    return names


def _absolute(path: str | Path) -> str:
    """A path that holds wherever cryoDRGN is started."""
    return str(Path(path).resolve())


def _write_latents(path: Path, shares: list[Any]) -> None:
    """Writes the latents of all processes in the order of the stack."""
    if any(share is None for share in shares):
        raise ValueError("a process has inferred no latents")
    rows = np.concatenate([rows for rows, _ in shares])
    latents = np.concatenate([latents for _, latents in shares], axis=1)
    # A particle that two processes have seen counts once.
    order = np.unique(rows, return_index=True)[1]
    write_latents(path, latents[0][order], latents[1][order])


def _log_epoch(path: Path, trainer: L.Trainer, epoch: int) -> None:
    """Adds the line that cryoDRGN's learning curve is read from, where losses are logged."""
    logged = trainer.callback_metrics
    names = ("train/reconstruction", "train/kl", "train/loss")
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    if all(name in logged for name in names):
        reconstruction, kl, loss = (float(logged[name]) for name in names)
        text += (
            f"{datetime.now():%Y-%m-%d %H:%M:%S}     # =====> Epoch: {epoch} Average gen loss = "
            f"{reconstruction:.6g}, KLD = {kl:.6f}, total loss = {loss:.6f}\n"
        )
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _copy(source: Path, target: Path) -> None:
    """Copies a file."""
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)


def _gather(mine: object) -> list[Any]:
    """Every process's share, on every process."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [mine]
    shares: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(shares, mine)
    return shares
