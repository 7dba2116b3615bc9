"""Finished runs, opened to be looked at: ours and cryoDRGN's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import numpy.typing as npt
from torch import nn

from cryo_disentangle.encoders import LatentTable, RenderedPosterior
from cryo_disentangle.protocols import HasEncoder

__all__ = ["DataFiles", "FinishedRun", "Latents"]


@dataclass(frozen=True)
class DataFiles:
    """Where particles lie now, for runs whose configuration names other places.

    Attributes:
        particles: Particle file; None takes the configuration's, and so do the others.
        poses: Poses (cryoDRGN's pickle).
        ctf: CTF parameters (cryoDRGN's pickle).
        datadir: Folder of the stacks that the particle file names.
    """

    particles: Path | None = None
    poses: Path | None = None
    ctf: Path | None = None
    datadir: Path | None = None

    def given(self) -> dict[str, str]:
        """Those that are given, by name, as whole paths."""
        return {
            name: str(value.absolute()) for name, value in vars(self).items() if value is not None
        }


@dataclass(frozen=True)
class Latents:
    """Conformations that a run has stored, of models that can't infer any.

    Attributes:
        mean: Shape (N, Z), in the order of the particles.
        log_variance: Of the same shape, or None where there is none.
    """

    mean: npt.NDArray[np.float32]
    log_variance: npt.NDArray[np.float32] | None


@dataclass(frozen=True)
class FinishedRun:
    """A model that was trained, with its particles.

    Attributes:
        folder: Where the run lies.
        kind: What made it, in words.
        epoch: Number of epochs done.
        data: Its particles, prepared as in training; they come from ``predict_dataloader``.
        module: The model. It renders volumes where it has ``volume(conformation)``, ``box_size``
            and ``pixel_size``.
        stored: Conformations of the particles where the module infers none, else None.
        facts: What was trained, for the reader.
        is_cryodrgn: Whether cryoDRGN has made it.
        optimizer_states: Of the optimisers at the end of training, where the module doesn't know
            them.
    """

    folder: Path
    kind: str
    epoch: int
    data: L.LightningDataModule
    module: nn.Module
    stored: Latents | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    is_cryodrgn: bool = False
    optimizer_states: Sequence[dict[str, Any]] = ()

    @property
    def reads_images(self) -> bool:
        """Whether the module infers conformations from images, rather than looks them up."""
        return self.stored is None and not isinstance(self._encoder, LatentTable)

    @property
    def renders(self) -> bool:
        """Whether the module finds conformations by rendering."""
        return isinstance(self._encoder, RenderedPosterior)

    @property
    def _encoder(self) -> object:
        """The module's encoder, where it shows one."""
        module = self.module
        return module.encoder if isinstance(module, HasEncoder) else None
