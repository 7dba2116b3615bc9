"""Volumes along the principal axes of a finished run's latent space."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.figure import Figure

from cryo_disentangle.drawing.latent_space import draw_traversals
from cryo_disentangle.evaluation.runs import FinishedRun
from cryo_disentangle.judgement.inferred import InferredParticles
from cryo_disentangle.networks import LinearReadout
from cryo_disentangle.protocols.models import EvaluatesVolumes
from cryo_disentangle.traversals import structure_writer, write_series

__all__ = ["PrincipalVolumes", "evaluate_volumes"]

_AXES, _STEPS, _PERCENTILES, _LARGEST_BOX = 3, 7, (5.0, 95.0), 64


class PrincipalVolumes(NamedTuple):
    """Volumes along the first K principal axes, S from one end of the particles to the other.

    Attributes:
        values: Principal components, shape (K, S).
        latents: Shape (K, S, Z).
        densities: Shape (K, S, D, D, D), axes z, y, x.
        pixel_size: Å per pixel.
    """

    values: npt.NDArray[np.float32]
    latents: npt.NDArray[np.float32]
    densities: npt.NDArray[np.float32]
    pixel_size: float

    def draw(self) -> Figure:
        """Draws their projections along z, a row for each axis."""
        names = [f"PC{k + 1}" for k in range(len(self.values))]
        images = self.densities.sum(2)
        return draw_traversals(images, self.values, _PERCENTILES, self.pixel_size, names)

    def write(self, folder: Path, run: FinishedRun) -> list[Path]:
        """Writes them, and scripts that play them in ChimeraX.

        Args:
            folder: Where to; it is made.
            run: The run; where it moves atoms, moved structures are written, too.

        Returns:
            The scripts, one an axis.

        Raises:
            OSError: If a file can't be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for k, (latents, densities) in enumerate(zip(self.latents, self.densities, strict=True), 1):
            structures = structure_writer(run.module)
            write_series(folder / f"pc{k}", latents, densities, self.pixel_size, structures)
        return [folder / f"pc{k + 1}.cxc" for k in range(len(self.latents))]


@torch.no_grad()
def evaluate_volumes(
    run: FinishedRun, rows: InferredParticles, device: torch.device
) -> PrincipalVolumes | None:
    """Evaluates volumes along the first three principal axes, from percentile 5 to 95.

    Args:
        run: The run.
        rows: What is inferred of all its particles.
        device: Where the model works.

    Returns:
        The volumes, of at most 64 pixels a side; None of a model without volumes.
    """
    module = run.module
    if not isinstance(module, EvaluatesVolumes):
        return None
    readout = LinearReadout.pca(rows.mean)
    scores = readout(rows.mean).numpy()
    count = min(_AXES, scores.shape[1])
    side = min(module.box_size, _LARGEST_BOX)
    low, high = np.percentile(scores[:, :count], _PERCENTILES, axis=0)
    values = np.linspace(low, high, _STEPS).T.astype(np.float32)
    steps = torch.from_numpy(values)[..., None] * readout.matrix[:count, None]
    latents = (readout.centre + steps).float()
    densities = [
        [module.volume(latent.to(device), side).float().cpu().numpy() for latent in path]
        for path in latents
    ]
    return PrincipalVolumes(
        values, latents.numpy(), np.array(densities), module.pixel_size * module.box_size / side
    )
