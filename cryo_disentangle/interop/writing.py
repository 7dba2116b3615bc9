"""A run's folder as ``cryodrgn train_vae`` leaves it, written epoch by epoch."""

from __future__ import annotations

import shutil
import sys
import warnings
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch
import yaml
from torch import nn

from cryo_disentangle.files.paths import replacing
from cryo_disentangle.interop.networks import cryodrgn_model_args, cryodrgn_weights
from cryo_disentangle.particles import HartleyPreprocessing, ParticleData, ParticleStack
from cryo_disentangle.particles.joining import is_table
from cryo_disentangle.particles.pickles import (
    read_poses,
    write_ctf,
    write_indices,
    write_latents,
    write_poses,
)
from cryo_disentangle.version import __version__

__all__ = ["CryoDRGNWriter"]

# The version whose format is written; cryoDRGN reads older and newer ones by its number.
_CRYODRGN = "4.3.1"


class CryoDRGNWriter:
    """Writes the folder of a run, so that cryoDRGN's programs go on from there.

    ``cryodrgn analyze FOLDER N``, ``eval_vol``, ``eval_images`` and others take it as one of their
    own. Nothing is half-written.

    Args:
        folder: The folder; made with the first file if it is missing.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def write_config(self, module: nn.Module, data: object) -> None:
        """Writes ``config.yaml``, and the poses, CTF and selection that it names.

        Args:
            module: Its ``encoder`` is an `MLPEncoder` and its ``decoder`` an `ImplicitDecoder`.
            data: The data module that it was trained on, `ParticleData`.

        Raises:
            TypeError: If cryoDRGN has no such networks or doesn't prepare images so.
            ValueError: If CTF parameters are of selected images alone.
        """
        model_args = cryodrgn_model_args(module)
        if not isinstance(data, ParticleData) or not isinstance(
            data.preprocessing, HartleyPreprocessing
        ):
            raise TypeError(
                "cryoDRGN reads particles from files and prepares them as HartleyPreprocessing "
                f"does, found a data module of type {type(data).__name__}"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        config = {
            "cmd": list(sys.argv),
            "time": datetime.now(),
            "version": _CRYODRGN,
            "written_by": f"cryo-disentangle {__version__}",
            "seed": int(data.seed),
            "dataset_args": _dataset_args(data, data.preprocessing, self.folder),
            "lattice_args": {"D": data.box_size + 1, "extent": 0.5, "ignore_DC": True},
            "model_args": model_args,
        }
        with replacing(self.folder / "config.yaml") as temporary:
            temporary.write_text(yaml.safe_dump(config), encoding="utf-8")

    def write_weights(
        self, module: nn.Module, optimizers: list[torch.optim.Optimizer], epoch: int
    ) -> None:
        """Writes ``weights.N.pkl``, and the same as ``weights.pkl``.

        Args:
            module: As for `cryodrgn_weights`.
            optimizers: Those of the training; the state of an Adam goes along.
            epoch: Number N of epochs done.

        Raises:
            TypeError: If cryoDRGN has no such networks.
        """
        weights = cryodrgn_weights(module, optimizers, epoch)
        self.folder.mkdir(parents=True, exist_ok=True)
        with replacing(self.folder / f"weights.{epoch}.pkl") as temporary:
            torch.save(weights, temporary)
        self._make_last("weights", epoch)

    def write_latents(
        self, mean: npt.ArrayLike, log_variance: npt.ArrayLike | None, epoch: int
    ) -> None:
        """Writes ``z.N.pkl``, and the same as ``z.pkl``.

        Args:
            mean: Conformations in the order of the particles, shape (N, Z).
            log_variance: Their log-variances, shape (N, Z), or None.
            epoch: Number of epochs done.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        write_latents(self.folder / f"z.{epoch}.pkl", mean, log_variance)
        self._make_last("z", epoch)

    def log_epoch(self, epoch: int, reconstruction: float, kl: float, loss: float) -> None:
        """Adds the line to ``run.log`` that cryoDRGN's learning curve is read from.

        Args:
            epoch: Number of epochs done.
            reconstruction: Mean squared error.
            kl: Divergence of posteriors from the prior in nats.
            loss: The whole loss.
        """
        self._log(
            f"{datetime.now():%Y-%m-%d %H:%M:%S}     # =====> Epoch: {epoch} Average gen loss = "
            f"{reconstruction:.6g}, KLD = {kl:.6f}, total loss = {loss:.6f}\n"
        )

    def make_log(self) -> None:
        """Makes ``run.log`` if it is missing: cryoDRGN opens it even if nothing was logged."""
        self._log("")

    def _log(self, line: str) -> None:
        path = self.folder / "run.log"
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        with replacing(path) as temporary:
            temporary.write_text(text + line, encoding="utf-8")

    def _make_last(self, kind: str, epoch: int) -> None:
        """Copies an epoch's file to the name of the last one."""
        with replacing(self.folder / f"{kind}.pkl") as temporary:
            shutil.copyfile(self.folder / f"{kind}.{epoch}.pkl", temporary)


def _dataset_args(
    data: ParticleData, preprocessing: HartleyPreprocessing, folder: Path
) -> dict[str, Any]:
    """``dataset_args``; writes the files that it names."""
    mean, std = preprocessing.fitted_norm
    radius = preprocessing.window_radius
    return {
        "particles": _absolute(data.particles),
        "datadir": None if data.datadir is None else _absolute(data.datadir),
        "norm": [float(mean), float(std)],
        "invert_data": preprocessing.invert,
        "keepreal": False,
        "window": radius is not None,
        "window_r": 0.85 if radius is None else float(radius),
        "do_pose_sgd": False,
        **_write_metadata(data, folder),
    }


def _write_metadata(data: ParticleData, folder: Path) -> dict[str, str | None]:
    """Writes poses, CTF and selection."""
    if "ctf_applied" in data.stack.ctf_terms.known():
        raise ValueError(
            f"{data.particles}: images were corrected for their CTF, and cryoDRGN has no model of "
            "such images"
        )
    lost = sorted(data.stack.ctf_terms.known())
    if lost:
        words = {"ctf_scale": "scale factors", "ctf_b_factor": "B factors"}
        warnings.warn(
            f"{data.particles}: {' and '.join(words[name] for name in lost)} of the particles are "
            "left out, since cryoDRGN has none",
            stacklevel=4,
        )
    # cryoDRGN selects from whole tables, so that these are of all images, whatever is trained on;
    # only poses it takes as of selected images, where there are not more of them.
    selected = _has_selected_poses(data)
    whole = ParticleStack.open(
        data.particles,
        poses=None if selected else data.poses,
        ctf=data.ctf,
        datadir=data.datadir,
        alignments=data.alignments,
        optics=data.optics,
    )
    posed = data.stack if selected or len(data.stack) >= len(whole) else whole
    names: dict[str, str | None] = dict.fromkeys(("poses", "ctf", "ind"))
    if posed.rotation is not None:
        write_poses(folder / "poses.pkl", posed.rotation, posed.translation, posed.box_size)
        names["poses"] = _absolute(folder / "poses.pkl")
    if whole.ctf is not None:
        write_ctf(folder / "ctf.pkl", whole.ctf)
        names["ctf"] = _absolute(folder / "ctf.pkl")
    if data.indices is not None:
        write_indices(folder / "ind.pkl", data.stack.rows)
        names["ind"] = _absolute(folder / "ind.pkl")
    return names


def _has_selected_poses(data: ParticleData) -> bool:
    """Whether poses are known of selected images alone, as after they were refined in training."""
    if data.indices is None or not isinstance(data.poses, str | Path) or is_table(data.poses):
        return False
    return len(read_poses(data.poses)[0]) == len(data.stack)


def _absolute(path: str | Path) -> str:
    """A path that holds wherever cryoDRGN is started."""
    # Links are kept as they are told: what they stand for may move.
    return str(Path(path).absolute())
