"""What holds a moving structure together: neighbours keep their distance or move alike."""

from __future__ import annotations

from abc import abstractmethod

import torch
from scipy.spatial import cKDTree
from torch import Tensor

from cryo_disentangle.decoders.elastic_network import neighbour_distance
from cryo_disentangle.losses.draws import in_python, uncompiled
from cryo_disentangle.losses.scheduled import ScheduledPenalty
from cryo_disentangle.losses.schedules import Schedule
from cryo_disentangle.protocols.models import HasDecoder, LatentImageModel
from cryo_disentangle.protocols.volumes import HasMotion, MovingStructure
from cryo_disentangle.types import Inference, ParticleBatch

__all__ = [
    "BondLengths",
    "Smoothness",
    "bond_length_change",
    "displacement_difference",
    "neighbour_pairs",
]

# Bonds and the ends of bond angles in an atomic model, two or three residues along a Cα trace.
_REACH = 2.0


@uncompiled
def neighbour_pairs(reference: Tensor, cutoff: float | None = None) -> Tensor:
    """Lists the pairs of atoms that are near to each other.

    Args:
        reference: Positions at rest, shape (N, 3) in Å.
        cutoff: Largest distance in Å; None is twice the usual one between neighbours.

    Returns:
        Pairs i < j, shape (2, E), int64, on the device of the positions.

    Raises:
        ValueError: If no atoms are so near.
    """
    reach = _REACH * neighbour_distance(reference) if cutoff is None else cutoff
    points = reference.detach().cpu().double().numpy()
    pairs = cKDTree(points).query_pairs(reach, output_type="ndarray")
    if not len(pairs):
        raise ValueError(f"no two of {len(points)} atoms are within {reach:.3g} Å of each other")
    return torch.from_numpy(pairs.T.copy()).long().to(reference.device)


def _differences(positions: Tensor, pairs: Tensor) -> Tensor:
    """x_i - x_j of each pair: (B, N, 3) -> (E, 3, B)."""
    # Atoms first, so that an atom's numbers lie together: twice as fast as along the middle axis.
    first = positions.permute(1, 2, 0).contiguous()
    return first.index_select(0, pairs[0]) - first.index_select(0, pairs[1])


def bond_length_change(positions: Tensor, reference: Tensor, pairs: Tensor) -> Tensor:
    """Mean squared change of the distances between neighbours.

    mean (|x_i - x_j| - |r_i - r_j|)² over particles and pairs. Rigid motions of any part cost
    nothing inside the part.

    Args:
        positions: Shape (B, N, 3) in Å.
        reference: Positions at rest, shape (N, 3) in Å.
        pairs: From `neighbour_pairs`, shape (2, E).

    Returns:
        Å², a scalar.

    References:
        Schwab et al. 2024, Nat. Methods 21:1855 (DynaMight), regularisation by distances in the
        consensus; Ducrocq et al. 2025, ICLR (cryoSPHERE), for consecutive residues.
    """
    squared = _differences(positions, pairs).square().sum(1)
    rest = _differences(reference[None], pairs).norm(dim=1)
    # The root has no slope where two atoms meet.
    length = squared.clamp_min(torch.finfo(squared.dtype).tiny).sqrt()
    return (length - rest).square().mean()


def displacement_difference(positions: Tensor, reference: Tensor, pairs: Tensor) -> Tensor:
    """Mean squared difference of the displacements of neighbours.

    mean |u_i - u_j|² with u = x - r, over particles and pairs. Translations of any part cost
    nothing inside the part, rotations do: in proportion to the squared angle.

    Args:
        positions: Shape (B, N, 3) in Å.
        reference: Positions at rest, shape (N, 3) in Å.
        pairs: From `neighbour_pairs`, shape (2, E).

    Returns:
        Å², a scalar.

    References:
        Schwab et al. 2024 (DynaMight), the program's coherence of deformations.
    """
    return _differences(positions - reference, pairs).square().sum(1).mean()


class _NeighbourPenalty(ScheduledPenalty):
    """A penalty on how a batch's structures differ from the reference between neighbours."""

    pairs: Tensor | None

    def __init__(
        self,
        weight: float | Schedule = 1e-2,
        cutoff: float | None = None,
        every_n_steps: int = 1,
    ) -> None:
        super().__init__(weight, every_n_steps)
        if cutoff is not None and not cutoff > 0:
            raise ValueError(f"the cutoff of neighbours must be positive, found {cutoff}")
        self.cutoff = cutoff
        self.register_buffer("pairs", None, persistent=False)

    @in_python
    def _weighted(
        self,
        weight: float,
        model: LatentImageModel,
        batch: ParticleBatch,  # noqa: ARG002
        inference: Inference,
    ) -> Tensor:
        decoder = model.decoder if isinstance(model, HasDecoder) else None
        motion = decoder.motion if isinstance(decoder, HasMotion) else None
        if not isinstance(motion, MovingStructure):
            raise TypeError(
                f"{type(self).__name__} needs a model with decoder.motion, whose forward(z) gives "
                f"positions and whose reference holds those at rest, found {type(model).__name__} "
                f"with {type(decoder).__name__}"
            )
        if self.pairs is None:
            self.pairs = neighbour_pairs(motion.reference, self.cutoff)
        with torch.autocast(motion.reference.device.type, enabled=False):
            # Called through the module, so that hooks and compiled code run.
            positions = motion(inference.mean)  # type: ignore[operator]
            change = self._change(positions, motion.reference, self.pairs)
        self.terms = {"rms": change.detach().sqrt()}
        return weight * change

    @abstractmethod
    def _change(self, positions: Tensor, reference: Tensor, pairs: Tensor) -> Tensor:
        """What is penalised, in Å²."""


class BondLengths(_NeighbourPenalty):
    """Neighbouring atoms should keep their distance: `bond_length_change` at the posterior means.

    `terms`: ``rms``, the root of the mean squared change in Å.

    Args:
        weight: Weight for each Å², a number or a schedule.
        cutoff: Distance in Å up to which atoms are neighbours; null is twice the usual distance to
            the nearest one.
        every_n_steps: Training steps from one evaluation to the next.

    Raises:
        ValueError: If the weight is negative or the cutoff not positive; when called, if no atoms
            are neighbours.
        TypeError: When called with a model whose decoder moves no atoms.

    References:
        Schwab et al. 2024, Nat. Methods 21:1855 (DynaMight); Ducrocq et al. 2025, ICLR
        (cryoSPHERE).
    """

    def _change(self, positions: Tensor, reference: Tensor, pairs: Tensor) -> Tensor:
        return bond_length_change(positions, reference, pairs)


class Smoothness(_NeighbourPenalty):
    """Neighbouring atoms should move alike: `displacement_difference` at the posterior means.

    `terms`: ``rms``, the root of the mean squared difference in Å.

    Args:
        weight: Weight for each Å², a number or a schedule.
        cutoff: Distance in Å up to which atoms are neighbours; null is twice the usual distance to
            the nearest one.
        every_n_steps: Training steps from one evaluation to the next.

    Raises:
        ValueError: If the weight is negative or the cutoff not positive; when called, if no atoms
            are neighbours.
        TypeError: When called with a model whose decoder moves no atoms.

    References:
        Schwab et al. 2024, Nat. Methods 21:1855 (DynaMight).
    """

    def _change(self, positions: Tensor, reference: Tensor, pairs: Tensor) -> Tensor:
        return displacement_difference(positions, reference, pairs)
