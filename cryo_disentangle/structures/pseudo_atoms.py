"""Pseudo-atoms: Gaussians that stand for a density where there is no atomic model."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from sklearn.cluster import KMeans
from torch import Tensor

from cryo_disentangle.files import read_volume
from cryo_disentangle.imaging.hartley import hartley3, inverse_hartley3
from cryo_disentangle.structures.atoms import Atoms

__all__ = ["fit_pseudo_atoms", "read_pseudo_atoms"]

_Array = npt.NDArray[np.float64]

_CLUSTERING_ROUNDS = 20
_RATE = 0.03
# Beyond four standard deviations lie 6e-5 of a Gaussian's mass.
_REACH = 4.0
# A Gaussian of standard deviation s has the B factor 8 π² s².
_B_FACTOR = 8 * math.pi**2


def read_pseudo_atoms(
    file: Path, count: int, threshold: float | None = None, steps: int = 200
) -> Atoms:
    """Fits pseudo-atoms to a map in a file.

    In a configuration file it stands in the place of a structure:

        structure:
          class_path: cryo_disentangle.structures.read_pseudo_atoms
          init_args: {file: consensus.mrc, count: 500}

    Args:
        file: MRC file (CCP4, .map) with positive density, a cube whose centre is the molecule's
            origin.
        count: Number N of pseudo-atoms.
        threshold: Density above which the map is molecule; None finds it.
        steps: Steps of the fit after the clustering.

    Returns:
        As `fit_pseudo_atoms` does.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no map, without a pixel size, or `fit_pseudo_atoms` refuses it.
    """
    values, pixel_size = read_volume(file)
    if pixel_size is None:
        raise ValueError(f"{file}: the header has no pixel size")
    try:
        atoms = fit_pseudo_atoms(torch.from_numpy(values), pixel_size, count, threshold, steps)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    return replace(atoms, file=Path(file))


def fit_pseudo_atoms(
    volume: Tensor, pixel_size: float, count: int, threshold: float | None = None, steps: int = 200
) -> Atoms:
    """Fits Gaussians of one common width to a density.

    Voxels above the threshold are clustered, weighted by their density (k-means); then positions,
    amplitudes and the width follow the gradient of the squared difference to the map. A map finer
    than half the distance between pseudo-atoms is first coarsened to that.

    Args:
        volume: Density, positive in the molecule, shape (D, D, D), axes z, y, x; the origin is
            voxel D / 2.
        pixel_size: Å per pixel.
        count: Number N of pseudo-atoms.
        threshold: Density above which the map is molecule; None finds it from the histogram
            (Otsu's method).
        steps: Steps of the fit; 0 leaves the clusters' centres, densities and common extent.

    Returns:
        Atoms X of residues DUM, of element 0. Their ``electrons`` are amplitudes in the map's
        units, summed over voxels, and their ``b_factor`` is 8 π² times the Gaussian's variance.

    Raises:
        ValueError: If the map is no even cube or not finite, the pixel size not positive, or there
            are fewer voxels above the threshold than pseudo-atoms.

    References:
        Otsu 1979, IEEE Trans. Syst. Man Cybern. 9:62; Schwab et al. 2024, Nat. Methods 21:1855
        (DynaMight), for pseudo-atoms fitted to a consensus map.
    """
    side = volume.shape[-1]
    if volume.shape != (side, side, side) or side % 2:
        raise ValueError(f"a map must be a cube of even side, found shape {tuple(volume.shape)}")
    if not pixel_size > 0 or count < 1:
        raise ValueError(
            "pseudo-atoms need pixel_size > 0 and count >= 1, found "
            f"pixel_size={pixel_size} and count={count}"
        )
    density = volume.detach().cpu().float()
    if not bool(density.isfinite().all()):
        raise ValueError("a map must be finite, found values that are not")
    if threshold is None:
        threshold = _otsu(density)
    above = int((density > threshold).sum())
    if above < count:
        raise ValueError(
            f"a map with {above} voxels above {threshold:.3g} holds no {count} pseudo-atoms; lower "
            "the threshold or take fewer"
        )
    spacing = (above / count) ** (1 / 3)
    coarse = min(side, 2 * math.ceil(side / spacing))
    density, voxel = _coarsened(density, coarse), pixel_size * side / coarse
    positions, amplitude, sigma = _cluster(density, voxel, threshold, count)
    if steps:
        positions, amplitude, sigma = _descend(density, voxel, (positions, amplitude, sigma), steps)
    # What was blurred by the map's own voxels was fitted as blurred by the coarse ones.
    sigma = (sigma.square() + (voxel**2 - pixel_size**2) / 12).sqrt()
    return _as_atoms(positions, amplitude * (side / coarse) ** 3, sigma)


def _otsu(density: Tensor) -> float:
    """The threshold that parts the values in two classes with means furthest apart."""
    counts, edges = np.histogram(density.numpy(), bins=256)
    centres = 0.5 * (edges[1:] + edges[:-1])
    total, below = counts.sum(), np.cumsum(counts)[:-1]
    moment = np.cumsum(counts * centres)
    # Of the two means' difference, squared and times both counts, without dividing by either.
    excess = moment[-1] * below - moment[:-1] * total
    between = excess**2 / (below * (total - below)).clip(1)
    if not between.max() > 0:
        raise ValueError(f"a map must hold density, found {float(density.mean()):.3g} everywhere")
    return float(edges[1 + between.argmax()])


def _coarsened(density: Tensor, side: int) -> Tensor:
    """Crops a map's Fourier transform; values stay densities."""
    full = len(density)
    if side == full:
        return density
    kept = slice((full - side) // 2, (full + side) // 2)
    squares = (torch.arange(side) - side // 2).square()
    inside = squares[:, None, None] + squares[:, None] + squares < (side // 2) ** 2
    return inverse_hartley3(hartley3(density)[kept, kept, kept] * inside) * (side / full) ** 3


def _cluster(
    density: Tensor, voxel: float, threshold: float, count: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Centres (N, 3) and density (N,) of clusters of voxels, and their extent along an axis."""
    index = torch.nonzero(density > threshold)
    points = ((index.flip(1) - len(density) // 2) * voxel).double().numpy()
    weight = (density[tuple(index.T)] - min(threshold, 0.0)).double().numpy()
    found = KMeans(
        min(count, len(points)),
        init="random",
        n_init=1,
        max_iter=_CLUSTERING_ROUNDS,
        random_state=0,
    ).fit(points, sample_weight=weight)
    mass = np.bincount(found.labels_, weight, minlength=count)
    # A voxel is not a point: the variance of a uniform density over it adds.
    variance = found.inertia_ / (3 * weight.sum()) + voxel**2 / 12
    centres = torch.from_numpy(found.cluster_centers_).float()
    return centres, torch.from_numpy(mass).float(), torch.tensor(variance).sqrt().float()


def _descend(
    density: Tensor, voxel: float, start: tuple[Tensor, Tensor, Tensor], steps: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Follows the gradient of the squared difference to the map."""
    unit = start[2]
    # In units in which all three change by the same rate.
    position = (start[0] / unit).requires_grad_()
    log_amplitude = start[1].clamp_min(1e-3 * float(start[1].mean())).log().requires_grad_()
    log_sigma = unit.log().requires_grad_()
    parameters = [position, log_amplitude, log_sigma]
    optimizer = torch.optim.Adam(parameters, lr=_RATE)
    power = density.square().sum()
    for _ in range(steps):
        rendered = _rendered(
            position * (unit / voxel), log_amplitude.exp(), log_sigma.exp() / voxel, len(density)
        )
        loss = (rendered - density).square().sum() / power
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return position * unit, log_amplitude.exp(), log_sigma.exp()


def _rendered(position: Tensor, amplitude: Tensor, sigma: Tensor, side: int) -> Tensor:
    """Integrates Gaussians over the voxels near them; positions (N, 3) and sigma in voxels."""
    # As `gaussian_volume`, at a cost that doesn't grow with the box: a fit takes hundreds of them.
    width = math.ceil(2 * _REACH * float(sigma.detach())) + 1
    first = (position.detach() - _REACH * float(sigma.detach()) + 0.5).floor()
    edges = torch.arange(width + 1) - 0.5
    scaled = (first[..., None] + edges - position[..., None]) / (sigma * math.sqrt(2))
    profile = 0.5 * torch.erf(scaled).diff(dim=-1)
    x, y, z = profile.unbind(1)
    blocks = (amplitude[:, None] * z)[:, :, None, None] * (y[:, :, None] * x[:, None])[:, None]
    # What reaches beyond the box falls into a margin that is cut off.
    whole = side + 2 * width
    corner = (first.long() + side // 2 + width).clamp(0, whole - width)
    x, y, z = (corner[..., None] + torch.arange(width)).unbind(1)
    index = (z[:, :, None, None] * whole + y[:, None, :, None]) * whole + x[:, None, None]
    padded = blocks.new_zeros(whole**3).index_add(0, index.flatten(), blocks.flatten())
    return padded.view(whole, whole, whole)[(slice(width, -width),) * 3]


def _as_atoms(positions: Tensor, amplitude: Tensor, sigma: Tensor) -> Atoms:
    """Pseudo-atoms as a structure that can be written."""
    count = len(positions)
    return Atoms(
        Path("pseudo-atoms"),
        positions.double().numpy(),
        np.zeros(count, dtype=np.int64),
        np.full(count, "A"),
        np.arange(1, count + 1),
        np.full(count, "X"),
        np.full(count, "DUM"),
        np.full(count, " "),
        amplitude.double().numpy(),
        np.full(count, _B_FACTOR * float(sigma) ** 2),
    )
