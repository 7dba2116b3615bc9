"""Domains of a structure that move as rigid bodies: the smallest class of motions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from scipy.spatial import KDTree
from torch import Tensor, nn

from cryo_disentangle.networks.residual_mlp import ResidualMLP
from cryo_disentangle.structures.atoms import Atoms
from cryo_disentangle.structures.domains import select_domains, taper
from cryo_disentangle.structures.hinges import Hinge, screw_displacement

__all__ = ["HingedDomains", "RigidDomains"]

Domains = Mapping[str, str | list[int]]
Array = npt.NDArray[np.float64]
Weights = npt.NDArray[np.float32]

# Motion for an output of 1 of the map from conformations: large enough to be seen in images, too
# small to fold a molecule.
_RADIANS, _ANGSTROM = 0.25, 2.5
# The quarter of a domain that lies next to the core is taken to touch it.
_CONTACT_SHARE = 4


class _Domains(nn.Module):
    """How far each Gaussian follows each domain.

    Args:
        positions: Reference positions in Å, shape (N, 3).
        domains: Of each domain by its name residue ranges (`select_residues`) or the numbers of its
            Gaussians from 0.
        ramp_residues: Residues over which a domain's weight ramps at its ends.
    """

    reference: Tensor

    def __init__(self, positions: Tensor, domains: Domains, ramp_residues: int) -> None:
        super().__init__()
        if not domains:
            raise ValueError("at least one moving domain is needed, found none")
        self.domains, self._ramp_residues = dict(domains), ramp_residues
        self.register_buffer("reference", positions.detach().clone(), persistent=False)
        self._bound = False
        named = [name for name, found in self.domains.items() if isinstance(found, str)]
        if named and len(named) < len(self.domains):
            raise ValueError(
                "domains are all given by residues or all by numbers of Gaussians, found both "
                f"({named[0]} is given by residues)"
            )
        self._numbered = not named

    def bind(self, atoms: Atoms) -> None:
        """Finds the Gaussians of domains that are given by residues.

        Args:
            atoms: The structure that the positions are of.

        Raises:
            ValueError: If there are no such residues, domains overlap or nothing is left for the
                core.
        """
        if not self._numbered:
            ranges = {name: str(found) for name, found in self.domains.items()}
            masks = select_domains(atoms, ranges)
            self._assign(np.stack([taper(atoms, mask, self._ramp_residues) for mask in masks]))

    def _assign_numbered(self) -> None:
        """Takes domains that are given by numbers; for the end of a subclass's construction."""
        if self._numbered:
            self._assign(_from_indices(self.domains, len(self.reference)))

    def _assign(self, membership: Weights) -> None:
        """Keeps, of each domain, the Gaussians that move and how far they follow."""
        for k, weight in enumerate(membership):
            moving = torch.from_numpy(np.flatnonzero(weight))
            self.register_buffer(f"moving_{k}", moving, persistent=False)
            follows = torch.from_numpy(weight).to(self.reference)[moving]
            self.register_buffer(f"weight_{k}", follows, persistent=False)
        self._bound = True
        # In a small molecule linkers may leave nothing that stays: then what moves least.
        follows_most = membership.max(axis=0)
        still = follows_most == follows_most.min()
        core = self.reference.cpu().double().numpy()[still]
        self._place(membership, core)

    def _place(self, membership: Weights, core: Array) -> None:
        """Finds what depends on where the domains are."""
        raise NotImplementedError

    def _part(self, k: int) -> tuple[Tensor, Tensor]:
        """Of domain k the numbers of its Gaussians and how far they follow it."""
        if not self._bound:
            raise RuntimeError(
                f"domains are given by residues ({next(iter(self.domains.values()))}): "
                "call bind(atoms) first"
            )
        return getattr(self, f"moving_{k}"), getattr(self, f"weight_{k}")


def _from_indices(domains: Domains, count: int) -> Weights:
    """Membership (K, N) of domains given by numbers of Gaussians."""
    membership = np.zeros((len(domains), count), dtype=np.float32)
    for row, (name, found) in zip(membership, domains.items(), strict=True):
        numbers = np.asarray(found, dtype=np.int64)
        if not len(numbers) or numbers.min() < 0 or numbers.max() >= count:
            raise ValueError(
                f"domain {name}: numbers of Gaussians from 0 to {count - 1} expected, found "
                f"{[int(numbers.min()), int(numbers.max())] if len(numbers) else 'none'}"
            )
        row[numbers] = 1
    often = membership.sum(axis=0)
    if often.max() > 1:
        raise ValueError(f"Gaussian {int(often.argmax())} belongs to {int(often.max())} domains")
    if often.min() > 0:
        raise ValueError("the domains take every Gaussian, and none is left for the core")
    return membership


def _joint(weight: Weights, reference: Array, core: Array) -> Array:
    """Where a domain is attached: the middle of its linkers, or of its contacts to the core."""
    linker = (weight > 0) & (weight < 1)
    if linker.any():
        return reference[linker].mean(axis=0)
    body = reference[weight > 0]
    distance, nearest = KDTree(core).query(body)
    touching = np.argsort(distance)[: -(-len(body) // _CONTACT_SHARE)]
    touched = np.asarray(nearest)[touching]
    return 0.5 * (body[touching] + core[touched]).mean(axis=0)


class HingedDomains(_Domains):
    """Turns each domain about a hinge by an angle that its own coordinate alone determines.

    A Gaussian of domain k turns by w (angle_k · z_k + offset_k) about the domain's axis and slides
    along it by w · shift_k · z_k, w being 1 inside the domain and falling to 0 in its linkers; one
    in the linkers of two domains gets the sum of their displacements. So coordinate k is the angle
    of hinge k, up to scale and offset, which are learned.

    Args:
        positions: Reference positions in Å, shape (N, 3).
        conformation_dim: Number Z of conformation coordinates.
        domains: Moving domains by name: residue ranges, ``A:30-59,70``, or the numbers of their
            Gaussians from 0. What is in none of them is the fixed core.
        hinges: Hinge of each domain, by the same names, in the coordinates of the structure's file,
            or of the positions where nothing is bound; null learns them, beginning where the domain
            is attached, with the axis about which it closes onto the core.
        learn_hinges: Whether given axes and points are learned as well.
        angle_deg: Angle of learned hinges at coordinate 1 in degrees, at the start.
        ramp_residues: Residues over which a domain's weight ramps at its ends.
        hidden: Width of a network that makes the angles from all coordinates; 0 takes coordinate k
            for hinge k, and Z must be the number of domains.

    Attributes:
        axis: Direction of each hinge, of any length, shape (K, 3).
        point: A point of each axis in Å, shape (K, 3).
        angle: Angle at coordinate 1 in radians, shape (K,).
        offset: Angle at coordinate 0 in radians, shape (K,).
        shift: Translation along the axis at coordinate 1 in Å, shape (K,).

    Raises:
        ValueError: If domains overlap or take everything, hinges are not those of the domains, or
            Z is not the number of domains.

    References:
        Chasles' theorem; Hayward and Berendsen 1998, DynDom.
    """

    axis: Tensor
    point: Tensor

    def __init__(
        self,
        positions: Tensor,
        conformation_dim: int,
        domains: Domains,
        hinges: Mapping[str, Hinge] | None = None,
        learn_hinges: bool = False,
        angle_deg: float = 30.0,
        ramp_residues: int = 3,
        hidden: int = 0,
    ) -> None:
        count = len(domains)
        if hinges is None:
            found = [Hinge((1.0, 0.0, 0.0), (0.0, 0.0, 0.0), angle_deg)] * count
        elif set(hinges) != set(domains):
            raise ValueError(
                f"one hinge for each of domains {sorted(domains)} expected, found {sorted(hinges)}"
            )
        else:
            found = [hinges[name] for name in domains]
        super().__init__(positions, domains, ramp_residues)
        if not hidden and conformation_dim != count:
            raise ValueError(
                f"each of {count} hinges needs a coordinate of its own, found conformation_dim "
                f"{conformation_dim}; hidden > 0 makes angles of any number of coordinates"
            )
        self._given = hinges is not None
        learned = learn_hinges or not self._given
        for name in ("axis", "point"):
            values = torch.tensor([getattr(hinge, name) for hinge in found]).to(positions)
            self.register_parameter(name, nn.Parameter(values, requires_grad=learned))
        degrees = torch.tensor([hinge.angle_deg for hinge in found], dtype=torch.float64)
        self.angle = nn.Parameter(torch.deg2rad(degrees).to(positions))
        self.offset = nn.Parameter(torch.zeros_like(self.angle))
        self.shift = nn.Parameter(torch.tensor([hinge.shift for hinge in found]).to(positions))
        self.turns = ResidualMLP(conformation_dim, count, hidden, 1) if hidden else nn.Identity()
        self._assign_numbered()

    def bind(self, atoms: Atoms) -> None:
        """Finds domains that are given by residues, and brings given hinges to the positions.

        Args:
            atoms: The structure that the positions are of.

        Raises:
            ValueError: If there are no such residues, domains overlap or nothing is left for the
                core.
        """
        super().bind(atoms)
        if self._given:
            origin = torch.from_numpy(atoms.position).mean(0) - self.reference.cpu().double().mean(
                0
            )
            with torch.no_grad():
                self.point -= origin.to(self.point)

    def _place(self, membership: Weights, core: Array) -> None:
        """Begins learned hinges in the plane of core, joint and domain."""
        if self._given:
            return
        reference = self.reference.cpu().double().numpy()
        for k, weight in enumerate(membership):
            joint = _joint(weight, reference, core)
            arm = np.average(reference, axis=0, weights=weight) - joint
            axis = np.cross(core.mean(axis=0) - joint, arm)
            if np.linalg.norm(axis) <= 1e-3 * np.linalg.norm(arm) ** 2:
                # On one line with the core, a domain closes to no side: any one will do.
                axis = np.cross(arm, np.eye(3)[np.abs(arm).argmin()])
            if not axis.any():
                axis = np.eye(3)[0]
            with torch.no_grad():
                self.axis[k] = torch.from_numpy(axis / np.linalg.norm(axis))
                self.point[k] = torch.from_numpy(joint)

    def forward(self, conformation: Tensor) -> Tensor:
        """Places the Gaussians.

        Args:
            conformation: Shape (B, Z).

        Returns:
            Positions in Å, shape (B, N, 3).
        """
        turns = self.turns(conformation)
        axes = nn.functional.normalize(self.axis, dim=-1)
        displacement = self.reference.new_zeros(len(turns), *self.reference.shape)
        for k in range(len(axes)):
            moving, weight = self._part(k)
            turn = turns[:, k, None]
            moved = screw_displacement(
                self.reference[moving] - self.point[k],
                axes[k],
                (self.angle[k] * turn + self.offset[k]) * weight,
                self.shift[k] * turn * weight,
            )
            displacement = displacement.index_add(1, moving, moved)
        return self.reference + displacement


class RigidDomains(_Domains):
    """Moves each domain as a rigid body, by a rotation vector and a translation.

    For conformation z a Gaussian of domain k moves from x to R(w v_k) (x - p_k) + p_k + w t_k, with
    (v_k, t_k) a linear map of z, or a network's output, and w as for `HingedDomains`; p_k is where
    the domain is attached. Six numbers a domain: for motions whose hinges are unknown.

    Args:
        positions: Reference positions in Å, shape (N, 3).
        conformation_dim: Number Z of conformation coordinates.
        domains: As for `HingedDomains`.
        ramp_residues: Residues over which a domain's weight ramps at its ends.
        hidden: Width of the network; 0 is a linear map without offset, so that conformation 0 is
            the structure.
        layers: Number of residual hidden layers of the network; not read for a linear map.

    Raises:
        ValueError: If domains overlap or take everything.
    """

    joints: Tensor

    def __init__(
        self,
        positions: Tensor,
        conformation_dim: int,
        domains: Domains,
        ramp_residues: int = 3,
        hidden: int = 0,
        layers: int = 1,
    ) -> None:
        super().__init__(positions, domains, ramp_residues)
        outputs = 6 * len(domains)
        self.map: nn.Module = (
            ResidualMLP(conformation_dim, outputs, hidden, layers)
            if hidden
            else nn.Linear(conformation_dim, outputs, bias=False)
        )
        self.register_buffer("joints", positions.new_zeros(len(domains), 3), persistent=False)
        self._assign_numbered()

    def _place(self, membership: Weights, core: Array) -> None:
        """Finds where the domains are attached."""
        reference = self.reference.cpu().double().numpy()
        joints = np.stack([_joint(weight, reference, core) for weight in membership])
        self.joints.copy_(torch.from_numpy(joints))

    def forward(self, conformation: Tensor) -> Tensor:
        """Places the Gaussians.

        Args:
            conformation: Shape (B, Z).

        Returns:
            Positions in Å, shape (B, N, 3).
        """
        motions = self.map(conformation).unflatten(-1, (-1, 6))
        displacement = self.reference.new_zeros(len(motions), *self.reference.shape)
        for k in range(len(self.joints)):
            moving, weight = self._part(k)
            vector, shift = _RADIANS * motions[:, k, None, :3], _ANGSTROM * motions[:, k, None, 3:]
            moved = _turn(self.reference[moving] - self.joints[k], vector, weight[:, None])
            displacement = displacement.index_add(1, moving, moved + weight[:, None] * shift)
        return self.reference + displacement


def _turn(arm: Tensor, vector: Tensor, weight: Tensor) -> Tensor:
    """Displacements (B, N, 3) of points (N, 3) turned by weights (N, 1) of vectors (B, 1, 3)."""
    # The smallest of additions keeps the gradient finite where nothing turns.
    angle = (vector.square().sum(-1, keepdim=True) + 1e-12).sqrt()
    across = torch.linalg.cross(vector.expand(-1, len(arm), -1), arm.expand(len(vector), -1, -1))
    inward = torch.linalg.cross(vector.expand_as(across), across)
    half = torch.sin(0.5 * weight * angle) / angle
    return torch.sin(weight * angle) / angle * across + 2 * half.square() * inward
