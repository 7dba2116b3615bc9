"""The files of the particles that statistics are made of, and a folder made where it is missing."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from cryo_disentangle.files.locks import in_turn
from cryo_disentangle.particles import ParticleStack
from cryo_disentangle.particles.ctf import CtfOverrides
from cryo_disentangle.particles.pickles import read_indices
from cryo_disentangle.statistics.folder import DESCRIPTION, StatisticsFolder
from cryo_disentangle.statistics.making import ParticleRows, make_statistics
from cryo_disentangle.statistics.origin import digest_particles
from cryo_disentangle.statistics.settings import SubspaceSettings
from cryo_disentangle.statistics.stages import shown_stages
from cryo_disentangle.statistics.views import open_images

__all__ = ["ParticleFiles", "check_made_of", "make_missing"]

_AS_IN_FILES = CtfOverrides()


@dataclass(frozen=True)
class ParticleFiles:
    """Files of particles with known poses.

    Args:
        particles: Particle file.
        poses: In place of the file's, or None; and so for the CTF.
        ctf: CTF parameters.
        indices: 0-based selection of particles, or None for all.
        datadir: Folder of the stacks, or None.
        invert: Whether images are multiplied by -1; None is what the particle file says, and yes
            where it does not.
        alignments: Group of fields that poses of a .cs are read from.
        optics: CTF parameters in place of the file's.
    """

    particles: str | Path
    poses: str | Path | None = None
    ctf: str | Path | None = None
    indices: str | Path | None = None
    datadir: str | Path | None = None
    invert: bool | None = None
    alignments: str = "alignments3D"
    optics: CtfOverrides = _AS_IN_FILES

    def stack(self) -> ParticleStack:
        """Opens the stack of the selected particles.

        Returns:
            The stack.

        Raises:
            OSError: If a file is missing.
            ValueError: If a file is wrong.
        """
        return ParticleStack.open(
            self.particles,
            poses=self.poses,
            ctf=self.ctf,
            indices=self.indices,
            datadir=self.datadir,
            alignments=self.alignments,
            optics=self.optics,
        )

    def open(self) -> ParticleRows:
        """Opens the particles as statistics are made of them.

        Returns:
            Their images and rows.

        Raises:
            OSError: If a file is missing.
            ValueError: If a file is wrong.
        """
        stack = self.stack()
        index, total = np.arange(len(stack)), len(stack)
        if self.indices is not None:
            index = read_indices(self.indices)
            total = len(ParticleStack.open(self.particles, datadir=self.datadir))
        return ParticleRows(open_images(stack, invert=self.invert, norm=None), index, total)


def make_missing(folder: Path, files: ParticleFiles, settings: SubspaceSettings) -> None:
    """Makes a folder of statistics unless it is there; of several processes the first does.

    Args:
        folder: The folder.
        files: What it is made of.
        settings: How.

    Raises:
        OSError: If a file is missing, or the folder can't be written.
        ValueError: If the particles have no poses, or do not support what is asked for.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with in_turn(folder.with_name(f".{folder.name}.lock")):
        if not (folder / DESCRIPTION).is_file():
            with shown_stages() as told:
                make_statistics(files.open(), folder, settings, told)


def check_made_of(
    folder: StatisticsFolder, files: ParticleFiles, settings: SubspaceSettings
) -> None:
    """Refuses statistics that were made of other particles, or otherwise.

    Args:
        folder: The statistics.
        files: What they should be made of.
        settings: How.

    Raises:
        OSError: If a file is missing.
        ValueError: If they were not.
    """
    way_out = "give another folder (data.statistics), or what these were made of"
    if digest_particles(files.stack()) != folder.origin.digest:
        raise ValueError(
            f"{folder.path}: the statistics are of other particles (stack, selection, poses or "
            f"CTF) than {files.particles}: of {folder.origin.particles}; {way_out}"
        )
    report = folder.path / "report.json"
    if not report.is_file():
        return
    found = json.loads(report.read_text(encoding="utf-8")).get("settings", {})
    expected = json.loads(json.dumps(asdict(settings)))
    for name, value in expected.items():
        if name in found and found[name] != value:
            raise ValueError(
                f"{folder.path}: the statistics were made with {name} {found[name]}, expected "
                f"{value} (data.settings.{name}); {way_out}"
            )
