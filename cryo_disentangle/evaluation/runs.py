"""Finished runs, opened to be looked at: ours and cryoDRGN's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, cast

import lightning as L
import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from cryo_disentangle.adapters import AdaptedModel, adapt
from cryo_disentangle.encoders import RenderedPosterior
from cryo_disentangle.interop.networks import cryodrgn_model_args
from cryo_disentangle.judgement.image_scores import reads_images
from cryo_disentangle.judgement.inferred import InferredParticles
from cryo_disentangle.protocols.models import HasEncoder
from cryo_disentangle.types import Inference, ParticleBatch

__all__ = ["DataFiles", "EmbeddedRun", "FinishedRun"]


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
class EmbeddedRun:
    """A run of which only the latents are read.

    Attributes:
        folder: The run, or the file of its latents.
        kind: What made it.
    """

    folder: Path
    kind: str
    epoch: ClassVar[None] = None
    is_cryodrgn: ClassVar[bool] = False
    exports: ClassVar[bool] = False
    renders: ClassVar[bool] = False


@dataclass(frozen=True)
class FinishedRun:
    """A model that was trained, with its particles.

    Attributes:
        folder: Where the run lies.
        kind: What made it, in words.
        epoch: Number of epochs done; None of runs of other programs, of which no network is read.
        data: Its particles, prepared as in training; they come from ``predict_dataloader``.
        module: The model. It renders volumes where it has ``volume(conformation)``, ``box_size``
            and ``pixel_size``.
        stored: Latents of the particles, in their order, where the module infers none, else None.
        facts: What was trained, for the reader.
        is_cryodrgn: Whether cryoDRGN has made it.
        by_statistics: Whether conformations are found by statistics in the decoder's volumes, in
            the place of the run's own inference.
        kelvin: Temperature of all particles, if labels have none, or None.
        optimizer_states: Of the optimisers at the end of training, where the module doesn't know
            them.
    """

    folder: Path
    kind: str
    epoch: int | None
    data: L.LightningDataModule
    module: nn.Module
    stored: InferredParticles | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    is_cryodrgn: bool = False
    optimizer_states: Sequence[dict[str, Any]] = ()
    by_statistics: bool = False
    kelvin: float | None = None

    @property
    def reads_images(self) -> bool:
        """Whether the module infers conformations from images, rather than looks them up."""
        return self.stored is None and reads_images(self.module)

    @property
    def renders(self) -> bool:
        """Whether the module finds conformations by rendering."""
        module = self.module
        return isinstance(module, HasEncoder) and isinstance(module.encoder, RenderedPosterior)

    @property
    def exports(self) -> bool:
        """Whether it can be written as a run of cryoDRGN, which knows two networks."""
        try:
            cryodrgn_model_args(self.module)
        except TypeError:
            return False
        return not self.is_cryodrgn

    @property
    def held_out(self) -> npt.NDArray[np.int64]:
        """Places of particles that training has not seen, ascending; none where none are known."""
        split = None if self.is_cryodrgn else getattr(self.data, "split", None)
        return np.zeros(0, np.int64) if split is None else np.asarray(split[1], np.int64)

    def model(self) -> AdaptedModel:
        """Makes the model that infers and renders; stored latents are looked up.

        Returns:
            The model; it takes batches with ``position``, the place of each particle in the run.

        Raises:
            TypeError: If the module infers nothing and nothing is stored.
        """
        stored = self.stored
        if stored is None:
            return adapt(self.module)
        table = stored

        def look_up(_: nn.Module, batch: ParticleBatch) -> Inference:
            at = batch["position"].cpu()
            device = batch["index"].device
            mean = table.mean[at].to(device)
            if table.log_variance is None:
                return Inference(mean, torch.full_like(mean, -torch.inf))
            return Inference(mean, table.log_variance[at].to(device))

        renders = callable(getattr(self.module, "generate", None))
        return AdaptedModel(self.module, look_up, _generate if renders else None)


def _generate(module: nn.Module, *seen: object) -> object:
    """Renders through the module's own method."""
    return cast("Any", module).generate(*seen)
