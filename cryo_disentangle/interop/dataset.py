"""The particles of a cryoDRGN run, prepared as it prepared them."""

from __future__ import annotations

import warnings
from functools import cached_property
from pathlib import Path

import torch

from cryo_disentangle.interop.config import RunConfig, read_config
from cryo_disentangle.interop.folder import RunFolder
from cryo_disentangle.particles import HartleyPreprocessing, ParticleData, ParticleStack
from cryo_disentangle.particles.pickles import read_poses
from cryo_disentangle.types import Pose

__all__ = ["CryoDRGNParticles"]


class CryoDRGNParticles(ParticleData):
    """The particles that a run of cryoDRGN was trained on.

    Images, poses, CTF and selection are those that the run's ``config.yaml`` names, inverted,
    windowed and normalised as there. Where poses were refined in training, they are those of the
    epoch. Poses of ``abinit`` are in pixels, unlike those of other programs, and are read so, with
    a warning.

    Files that lie elsewhere by now are given here.

    Args:
        run: Folder of the run. On the command line it is the model's ``checkpoint``, if that has
            one.
        epoch: Epoch whose poses are taken, where they differ; null is the last.
        particles: Particle file, in place of the run's.
        poses: poses.pkl, in place of the run's.
        ctf: ctf.pkl, in place of the run's.
        datadir: Folder of the stacks that a .star, .cs or .txt names, in place of the run's.
        indices: Selection of images, in place of the run's.
        labels: As for `ParticleData`.
        batch_size: Particles a batch and process.
        validation_fraction: Share of particles held out for validation; may be 0.
        seed: Seed of the split and of the training order.
        num_workers: Worker processes of each loader; 0 is the fastest for local files.

    Raises:
        FileNotFoundError: If the run or one of its files is missing.
        ValueError: If its configuration is damaged or not supported; when the stack is opened, if
            its box size is not the run's.
    """

    def __init__(  # noqa: PLR0913 - each is an option of the command line
        self,
        run: str | Path,
        epoch: int | None = None,
        particles: str | Path | None = None,
        poses: str | Path | None = None,
        ctf: str | Path | None = None,
        datadir: str | Path | None = None,
        indices: str | Path | None = None,
        labels: str | Path | None = None,
        batch_size: int = 16,
        validation_fraction: float = 0.1,
        seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        config = read_config(Path(run, "config.yaml"))
        images = config.images
        if particles is None:
            _existing(config, "particles", images.particles)
        super().__init__(
            particles or images.particles,
            None,
            ctf or _existing(config, "ctf", images.ctf),
            labels,
            indices or _existing(config, "indices", images.indices),
            datadir or _existing(config, "datadir", images.datadir),
            HartleyPreprocessing(images.invert, images.window_radius, images.norm),
            batch_size=batch_size,
            validation_fraction=validation_fraction,
            seed=seed,
            num_workers=num_workers,
        )
        self.run_config = config
        self.poses = poses or _poses(config, epoch)

    @cached_property
    def stack(self) -> ParticleStack:
        """The particles, opened at first use."""
        stack = super().stack
        if stack.box_size != self.run_config.box_size:
            raise ValueError(
                f"{self.run_config.path}: the run is of box size {self.run_config.box_size}, "
                f"{stack.path} has box size {stack.box_size}"
            )
        return stack


def _existing(config: RunConfig, name: str, path: str | None) -> str | None:
    """A file of the run, if it is where it was."""
    if path is not None and not Path(path).exists():
        raise FileNotFoundError(
            f"{config.path}: its {name} {path} cannot be found here: give {name} (--{name} PATH)"
        )
    return path


def _poses(config: RunConfig, epoch: int | None) -> str | Path | Pose | None:
    """The poses that the run had after an epoch."""
    images = config.images
    if images.refined_poses is not False:
        file = RunFolder.at(config.path.parent, epoch).file("pose")
        if config.program == "abinit":
            return _poses_in_pixels(file)
        if file.is_file():
            return file
    return _existing(config, "poses", images.poses)


def _poses_in_pixels(path: Path) -> Pose:
    """Poses as ``abinit`` writes them."""
    rotation, translation = read_poses(path, in_pixels=True)
    warnings.warn(
        f"{path}: translations of cryodrgn abinit are in pixels, not in fractions of the box, and "
        "are taken so",
        stacklevel=4,
    )
    shift = None if translation is None else torch.from_numpy(translation)
    return Pose(torch.from_numpy(rotation), shift)
