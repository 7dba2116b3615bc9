"""Paths through a latent space, and the files that show the volumes along them in ChimeraX."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from sklearn.cluster import KMeans
from torch import nn

from cryo_disentangle.files import write_volume
from cryo_disentangle.files.paths import replacing
from cryo_disentangle.protocols.models import HasDecoder
from cryo_disentangle.protocols.volumes import WritesStructures

__all__ = [
    "chimerax_script",
    "representative_clusters",
    "representative_latents",
    "structure_writer",
    "traversal_latents",
    "write_series",
]

FloatArray = npt.NDArray[np.floating]


def traversal_latents(
    means: npt.NDArray[np.float32], steps: int, percentiles: tuple[float, float]
) -> npt.NDArray[np.float32]:
    """Lays a straight path along each latent coordinate through the middle of the particles.

    Args:
        means: Posterior means, shape (N, Z).
        steps: Number of steps S.
        percentiles: Where the path begins and ends among the particles' values.

    Returns:
        Shape (Z, S, Z): of path k coordinate k goes evenly from one percentile to the other, the
        others stay at their median.
    """
    dim = means.shape[1]
    low, high = np.percentile(means, percentiles, axis=0)
    paths = np.tile(np.median(means, axis=0), (dim, steps, 1))
    for k in range(dim):
        paths[k, :, k] = np.linspace(low[k], high[k], steps)
    return paths.astype(np.float32)


def chimerax_script(names: Sequence[str], level: float, structures: str | None = None) -> str:
    """Writes ChimeraX commands that open volumes as one series and play it to and fro.

    ChimeraX (1.0 and later) runs them in the script's folder, so that names need no path.

    Args:
        names: Files, in order; without spaces.
        level: Contour level of all of them.
        structures: File of as many models as volumes, played inside them; None for none.

    Returns:
        Text of a ``.cxc`` file.
    """
    played = []
    if structures is not None:
        played = [
            f"open {structures} coordsets true",
            "transparency #1 60",
            f"coordset #2 1,{len(names)} loop 1000 bounce true pauseFrames 12",
        ]
    commands = [
        "# Double-click, or: open this file in ChimeraX. It closes what is open there.",
        "close",
        f"open {' '.join(names)} vseries true",
        f"volume #1 level {level:.6g} step 1",
        *played,
        "view",
        "vseries play #1 loop true direction oscillate maxFrameRate 5",
        "# vseries stop #1",
    ]
    return "\n".join(commands) + "\n"


def write_series(
    stem: Path,
    latents: npt.NDArray[np.float32],
    densities: Iterable[FloatArray],
    pixel_size: float,
    write_structures: Callable[[Path, npt.NDArray[np.float32]], None] | None = None,
) -> FloatArray:
    """Writes volumes along a path through latent space, and what plays them in ChimeraX.

    Of the stem ``z1`` these are ``z1_01.mrc``, ``z1_02.mrc``, ..., ``z1_values.txt`` with the
    latents, one a row, and ``z1.cxc``, all volumes at one contour level: three standard deviations
    above the mean of the middle one.

    Args:
        stem: Folder, which must exist, and beginning of the files' names, without spaces.
        latents: Path, shape (S, Z).
        densities: Volumes, each (D, D, D), axes z, y, x; taken one by one.
        pixel_size: Å per pixel.
        write_structures: Writes moved structures, a model for each row of latents, to a file.

    Returns:
        Projections along z, shape (S, D, D).

    Raises:
        OSError: If a file can't be written.
    """
    folder, name = stem.parent, stem.name
    files = [f"{name}_{number:02d}.mrc" for number in range(1, len(latents) + 1)]
    projections, level = [], 0.0
    for number, (file, density) in enumerate(zip(files, densities, strict=True)):
        write_volume(folder / file, density, pixel_size)
        projections.append(density.sum(axis=0))
        if number == len(files) // 2:
            level = float(density.mean() + 3 * density.std())
    with replacing(folder / f"{name}_values.txt") as temporary:
        np.savetxt(temporary, latents, fmt="%.8g")
    structures = None
    if write_structures is not None:
        structures = f"{name}.cif"
        write_structures(folder / structures, latents)
    with replacing(folder / f"{name}.cxc") as temporary:
        temporary.write_text(chimerax_script(files, level, structures), encoding="utf-8")
    return np.stack(projections)


def structure_writer(
    module: nn.Module,
) -> Callable[[Path, npt.NDArray[np.float32]], None] | None:
    """Returns how a module writes moved structures.

    Args:
        module: A model.

    Returns:
        A function of a file and latents (S, Z), or None where the decoder moves no atoms.
    """
    decoder = module.decoder if isinstance(module, HasDecoder) else None
    if not isinstance(decoder, WritesStructures):
        return None
    write = decoder.write_structures
    device = next(module.parameters()).device
    return lambda file, latents: write(file, torch.from_numpy(latents).to(device))


def representative_latents(
    latents: npt.NDArray[np.float32], count: int, seed: int = 0
) -> npt.NDArray[np.float32]:
    """Chooses particles that represent all: those nearest to the centres of k-means clusters.

    Args:
        latents: Shape (N, Z).
        count: How many; at most N.
        seed: Seed of k-means.

    Returns:
        Rows of ``latents``, shape (count, Z), ordered along the first principal axis.

    Raises:
        ValueError: If there are fewer latents than asked for.
    """
    return representative_clusters(latents, count, seed)[0]


def representative_clusters(
    latents: npt.NDArray[np.float32], count: int, seed: int = 0
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Chooses particles that represent all, and says which each particle is represented by.

    Args:
        latents: Shape (N, Z).
        count: How many; at most N.
        seed: Seed of k-means.

    Returns:
        As `representative_latents`, and the row among these of each particle's cluster, shape (N,).

    Raises:
        ValueError: If there are fewer latents than asked for.
    """
    if not 1 <= count <= len(latents):
        raise ValueError(f"between 1 and {len(latents)} volumes can be chosen, found {count}")
    model = KMeans(count, n_init=1, random_state=seed).fit(latents)
    centres = model.cluster_centers_
    # One row at a time: all distances at once would take as much memory as a million volumes.
    nearest = [int(np.square(latents - centre).sum(axis=1).argmin()) for centre in centres]
    chosen = latents[nearest]
    spread = chosen - chosen.mean(axis=0)
    axis = np.linalg.svd(spread, full_matrices=False)[2][0]
    # An axis has two directions and rounding would choose: its largest component points upwards.
    axis *= np.sign(axis[np.abs(axis).argmax()])
    order = np.argsort(spread @ axis, kind="stable")
    return chosen[order], np.argsort(order)[model.labels_]
