"""States of a finished run: k-means clusters of z, their volumes, views and defocus."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.figure import Figure
from scipy.stats import binomtest

from cryo_disentangle.drawing.reconstructions import draw_volumes
from cryo_disentangle.drawing.states import draw_state_labels, draw_states
from cryo_disentangle.files import write_volume
from cryo_disentangle.files.paths import replacing
from cryo_disentangle.geometry.rotations import rotation_to_euler_zyz
from cryo_disentangle.judgement.inferred import InferredParticles
from cryo_disentangle.judgement.particle_scores import evenly
from cryo_disentangle.networks import LinearReadout
from cryo_disentangle.protocols.models import EvaluatesVolumes
from cryo_disentangle.selection.choices import cluster_labels
from cryo_disentangle.traversals import chimerax_script

__all__ = ["States", "find_states", "state_drawings"]

FloatArray = npt.NDArray[np.floating]

_DRAWN, _EMBEDDED = 20_000, 20_000
_LARGEST_BOX = 64
_DEFOCUS = slice(2, 4)


@dataclass(frozen=True)
class States:
    """Clusters of K-means, 0 the largest, as ``select --kmeans`` numbers them.

    Attributes:
        labels: State of each particle, shape (N,).
        centres: The particle nearest to each state's mean, shape (K, Z).
        densities: Volumes of these, shape (K, D, D, D), or None.
        pixel_size: Å per pixel of the volumes.
    """

    labels: npt.NDArray[np.int64]
    centres: npt.NDArray[np.float32]
    densities: npt.NDArray[np.float32] | None = None
    pixel_size: float = 1.0

    @property
    def counts(self) -> list[int]:
        """Number of particles in each state."""
        found: list[int] = np.bincount(self.labels, minlength=len(self.centres)).tolist()
        return found

    @property
    def populations(self) -> FloatArray:
        """Share of the particles in each state, with the ends of its 95 % interval, shape (K, 3).

        The interval (Wilson) is that of drawing so many particles; what uncertainty of z moves from
        state to state is not in it.
        """
        total = len(self.labels)
        ends = [
            binomtest(count, total).proportion_ci(method="wilson", confidence_level=0.95)
            for count in self.counts
        ]
        return np.array(
            [(n / total, e.low, e.high) for n, e in zip(self.counts, ends, strict=True)]
        )

    def entries(self) -> list[dict[str, float]]:
        """Particles and population of each state, for ``metrics.json``."""
        names = ("population", "low", "high")
        return [
            {"particles": count, **dict(zip(names, map(float, row), strict=True))}
            for count, row in zip(self.counts, self.populations, strict=True)
        ]

    def write(self, folder: Path) -> None:
        """Writes labels, counts, volumes and what plays them in ChimeraX.

        Args:
            folder: Where to: ``labels.npz``, ``states.csv``, ``state_0.mrc`` ..., ``states.cxc``.

        Raises:
            OSError: If the folder can't be written to.
        """
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / "labels.npz") as temporary, temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, state=self.labels, centres=self.centres)
        width = self.centres.shape[1]
        with replacing(folder / "states.csv") as temporary, temporary.open("w", newline="") as text:
            table = csv.writer(text)
            known = ("state", "particles", "population", "low", "high")
            table.writerow([*known, *(f"z{k + 1}" for k in range(width))])
            rows = np.hstack([self.populations, self.centres])
            for state, (count, row) in enumerate(zip(self.counts, rows, strict=True)):
                table.writerow([state, count, *(f"{value:.6g}" for value in row)])
        if self.densities is None:
            return
        names = [f"state_{state}.mrc" for state in range(len(self.densities))]
        for name, density in zip(names, self.densities, strict=True):
            write_volume(folder / name, density, self.pixel_size)
        first = self.densities[0]
        script = chimerax_script(names, float(first.mean() + 3 * first.std()))
        with replacing(folder / "states.cxc") as temporary:
            temporary.write_text(script, encoding="utf-8")


@torch.no_grad()
def find_states(
    rows: InferredParticles, count: int, module: object = None, device: torch.device | str = "cpu"
) -> States | None:
    """Divides particles into states.

    Args:
        rows: All particles.
        count: Number of states K.
        module: The model; where it evaluates volumes, states have some.
        device: Where it works.

    Returns:
        The states, or None where fewer than K particles differ or K is less than 2.

    Raises:
        ValueError: If ``count`` is negative.
    """
    if count < 0:
        raise ValueError(f"states must not be negative, found {count}")
    latents = rows.mean.numpy()
    if count < 2 or len(np.unique(latents[evenly(len(latents), _DRAWN)], axis=0)) <= count:
        return None
    labels = cluster_labels(latents, count)
    centres = np.stack([_representative(latents[labels == state]) for state in range(count)])
    if not isinstance(module, EvaluatesVolumes):
        return States(labels, centres)
    side = min(module.box_size, _LARGEST_BOX)
    volumes = [module.volume(torch.from_numpy(z).to(device), side) for z in centres]
    densities = np.stack([volume.float().cpu().numpy() for volume in volumes])
    return States(labels, centres, densities, module.pixel_size * module.box_size / side)


def state_drawings(
    states: States | None, rows: InferredParticles
) -> Mapping[str, Callable[[], Figure | None]]:
    """Pictures of states.

    Args:
        states: The states, or None.
        rows: All particles.

    Returns:
        Functions that draw them, by name.
    """
    if states is None:
        return {}
    return {
        "states": lambda: _draw_components(states, rows),
        "umap": lambda: _draw_umap(states, rows),
        "state_volumes": lambda: (
            None
            if states.densities is None
            else draw_volumes(
                states.densities, states.pixel_size, list(map(str, range(len(states.densities))))
            )
        ),
        "state_views": lambda: _draw_labels(states, rows),
    }


def _representative(latents: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The particle that is nearest to the mean."""
    nearest: npt.NDArray[np.float32] = latents[
        int(np.square(latents - latents.mean(0)).sum(1).argmin())
    ]
    return nearest


def _draw_components(states: States, rows: InferredParticles) -> Figure:
    """States along the first two principal components; of one or two latents along these."""
    some = evenly(len(rows), _DRAWN)
    latents, centres = rows.mean, torch.from_numpy(states.centres)
    names = ["z1", "z2"]
    if latents.shape[1] > 2:
        readout = LinearReadout.pca(latents, 2)
        latents, centres, names = readout(latents), readout(centres), ["PC1", "PC2"]
    elif latents.shape[1] == 1:
        # Beside each other, so that points do not hide points.
        spread = torch.rand(len(latents), 1, generator=torch.Generator().manual_seed(0))
        latents = torch.cat([latents, spread], 1)
        centres = torch.cat([centres, torch.full_like(centres, 0.5)], 1)
        names = ["z1", "at random"]
    return draw_states(latents.numpy()[some], states.labels[some], centres.numpy(), names)


def _draw_umap(states: States, rows: InferredParticles) -> Figure | None:
    """States in a UMAP, where umap-learn is installed and there are more than two latents."""
    if rows.mean.shape[1] <= 2:
        return None
    try:
        from umap import UMAP
    except ImportError:
        return None
    some = evenly(len(rows), _EMBEDDED)
    points: Any = UMAP(n_components=2, random_state=0).fit_transform(rows.mean.numpy()[some])
    return draw_states(np.asarray(points), states.labels[some], None, ["UMAP 1", "UMAP 2"])


def _draw_labels(states: States, rows: InferredParticles) -> Figure | None:
    """Views and defocus of states."""
    angles = None
    if rows.rotation is not None:
        angles = rotation_to_euler_zyz(rows.rotation)[:, :2].numpy()
    ctf = rows.labels.get("ctf")
    defocus = None if ctf is None else ctf[:, _DEFOCUS].double().mean(1).numpy() / 1e4
    return draw_state_labels(states.labels, angles, defocus)
