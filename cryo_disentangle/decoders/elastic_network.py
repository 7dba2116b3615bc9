"""Soft motions of a structure as an elastic network: springs between neighbouring atoms."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy import linalg, sparse
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import LinearOperator, eigsh, splu
from scipy.spatial import cKDTree
from torch import Tensor

__all__ = ["ElasticModes", "elastic_network_modes", "neighbour_distance"]

_Array = npt.NDArray[np.float64]
_Index = npt.NDArray[np.int64]
# scipy's stubs give sparse products types that depend on its version.
_Sparse = Any

# In units of the distance between neighbours: 15 Å for Cα atoms, 5.5 Å for all heavy atoms.
_REACH = 4.0
# Measured: a ball of this many atoms takes 4 s on one core, and one twice as large ten times that.
_MOST_FREE_ATOMS = 3000
_MOST_BLOCKS = 1024
_RIGID = 6
# Beyond this, relative to the stiffest, an eigenvalue is no rounding error of zero.
_ZERO = 1e-12


class ElasticModes(NamedTuple):
    """Normal modes of an elastic network, softest first, without the six rigid motions.

    Attributes:
        displacement: Displacements u of the atoms, shape (K, N, 3), float64. They are orthogonal
            and of unit RMSD, mean |u|² = 1, so that an amplitude is an RMSD in Å.
        stiffness: Eigenvalues of the Hessian, ascending, shape (K,), float64, in units of the
            force constant over Å². Thermal amplitudes go as one over their square roots.
    """

    displacement: Tensor
    stiffness: Tensor


def neighbour_distance(positions: Tensor) -> float:
    """The unit of distance in a structure: the median distance to the nearest other atom.

    Args:
        positions: Shape (N, 3) in Å, N >= 2.

    Returns:
        Å: 3.8 for the Cα atoms of a protein, 1.4 for all its heavy atoms.
    """
    points = positions.detach().cpu().double().numpy()
    distance, _ = cKDTree(points).query(points, k=[2])
    return float(np.median(distance))


def elastic_network_modes(
    positions: Tensor, count: int, cutoff: float | None = None, power: float = 2.0
) -> ElasticModes:
    """Finds the softest normal modes of the anisotropic network model.

    Atoms nearer to each other than the cutoff are joined by springs at rest,
    E = 1/2 Σ d_ij^(-power) (|x_i - x_j| - d_ij)², with d_ij their distance in the structure; the
    modes are eigenvectors of E's Hessian. Structures of more than 3,000 atoms are cut into blocks
    of neighbouring atoms that move as rigid bodies (RTB), 1,024 at most.

    Args:
        positions: Reference structure, shape (N, 3) in Å.
        count: Number K of modes.
        cutoff: Å; None is 4 times `neighbour_distance`, 15 Å for Cα atoms.
        power: How springs weaken with distance; 0 makes them all equal.

    Returns:
        The modes, each with its largest component positive.

    Raises:
        ValueError: If there are fewer internal degrees of freedom than modes, two atoms coincide,
            or the springs leave parts of the structure free to move.

    References:
        Atilgan et al. 2001, Biophys. J. 80:505 (equal springs); Yang et al. 2009, PNAS 106:12347
        (springs that weaken as d^-2); Tama et al. 2000, Proteins 41:1 (RTB).
    """
    points = positions.detach().cpu().double().numpy()
    atoms = len(points)
    if not 1 <= count <= 3 * atoms - _RIGID:
        raise ValueError(
            f"a structure of {atoms} atoms has {max(3 * atoms - _RIGID, 0)} internal degrees of "
            f"freedom, found modes={count}"
        )
    reach = _REACH * neighbour_distance(positions) if cutoff is None else cutoff
    tension = _tension(points, reach, power)
    blocks = None
    if atoms > _MOST_FREE_ATOMS:
        blocks = _rigid_blocks(points, _split(points, np.arange(atoms), atoms // _MOST_BLOCKS + 1))
        tension = tension @ blocks
    if count > tension.shape[1] - _RIGID:
        raise ValueError(
            f"a structure of {atoms} atoms in rigid blocks has {tension.shape[1] - _RIGID} "
            f"internal degrees of freedom, found modes={count}"
        )
    values, vectors = _softest((tension.T @ tension).tocsc(), count + _RIGID)
    if values[_RIGID] < _ZERO * _largest(tension):
        raise ValueError(
            f"parts of the structure hang on too few springs: at cutoff {reach:.3g} Å some "
            "internal motion meets no resistance; raise the cutoff"
        )
    modes = vectors[:, _RIGID:] if blocks is None else blocks @ vectors[:, _RIGID:]
    modes = modes.T * np.sqrt(atoms)
    largest = np.take_along_axis(modes, np.abs(modes).argmax(1)[:, None], 1)
    modes = (modes * np.sign(largest)).reshape(count, atoms, 3)
    return ElasticModes(torch.from_numpy(modes), torch.from_numpy(values[_RIGID:].copy()))


def _tension(points: _Array, cutoff: float, power: float) -> _Sparse:
    """The matrix that takes displacements (3 N) to square-root energies of the springs."""
    if not cutoff > 0:
        raise ValueError(f"the cutoff of an elastic network must be positive, found {cutoff}")
    pairs = cKDTree(points).query_pairs(cutoff, output_type="ndarray")
    atoms, springs = len(points), len(pairs)
    bonds = points[pairs[:, 1]] - points[pairs[:, 0]]
    length = np.linalg.norm(bonds, axis=1)
    if springs and not length.min() > 0:
        first, second = pairs[length.argmin()]
        raise ValueError(f"atoms {first} and {second} (from 0) are at the same place")
    graph = sparse.coo_array((np.ones(springs), (pairs[:, 0], pairs[:, 1])), (atoms, atoms))
    parts = connected_components(graph, directed=False)[0]
    if parts > 1:
        raise ValueError(
            f"the elastic network falls into {parts} parts at cutoff {cutoff:.3g} Å; raise the "
            "cutoff until it holds together"
        )
    row = bonds * length[:, None] ** (-1 - power / 2)
    columns = 3 * pairs[:, :, None] + np.arange(3)
    return sparse.csr_array(
        (
            np.stack([row, -row], 1).ravel(),
            (np.repeat(np.arange(springs), 6), columns.ravel()),
        ),
        (springs, 3 * atoms),
    )


def _split(points: _Array, members: _Index, largest: int) -> list[_Index]:
    """Halves a structure along its widest axis until no block is larger than allowed."""
    if len(members) <= largest:
        return [members]
    widest = np.ptp(points[members], axis=0).argmax()
    ordered = members[np.argsort(points[members, widest], kind="stable")]
    half = len(ordered) // 2
    return _split(points, ordered[:half], largest) + _split(points, ordered[half:], largest)


def _rigid_blocks(points: _Array, blocks: list[_Index]) -> _Sparse:
    """Orthonormal basis of the rigid motions of each block, (3 N, degrees of freedom)."""
    bases = []
    for members in blocks:
        shape = (3, len(members), 3)
        arms = np.broadcast_to(points[members] - points[members].mean(0), shape)
        axes = np.broadcast_to(np.eye(3)[:, None], shape)
        motions = np.concatenate([axes, np.cross(axes, arms)]).reshape(6, -1)
        # Atoms on a line, or a lone one, have fewer than six: the others are left out.
        basis, scale, _ = linalg.svd(motions.T, full_matrices=False)
        bases.append(basis[:, scale > 1e-6 * scale[0]])
    order = (3 * np.concatenate(blocks)[:, None] + np.arange(3)).ravel()
    stacked = sparse.block_diag(bases, format="csr")
    return stacked[np.argsort(order)]


def _largest(tension: _Sparse) -> float:
    """An upper bound, of the right order, of the largest eigenvalue."""
    return float((tension.multiply(tension)).sum(axis=0).max())


def _softest(hessian: _Sparse, count: int) -> tuple[_Array, _Array]:
    """Lowest eigenpairs, ascending; by shift and invert where the matrix is large."""
    size = hessian.shape[0]
    if size < max(300, 3 * count):
        return linalg.eigh(hessian.toarray(), subset_by_index=[0, count - 1])
    # The Hessian itself is singular: the shift lies just below its zeros.
    shift = -1e-4 * float(hessian.diagonal().mean())
    factors = splu(
        (hessian - shift * sparse.eye_array(size)).tocsc(),
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    )
    inverse = LinearOperator(hessian.shape, matvec=factors.solve, dtype=np.float64)
    # A start of its own makes the vectors the same in every run.
    start = np.random.default_rng(0).standard_normal(size)
    values, vectors = eigsh(hessian, count, sigma=shift, OPinv=inverse, v0=start)
    ascending = np.argsort(values)
    return values[ascending], vectors[:, ascending]
