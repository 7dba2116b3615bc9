"""One volume, carried along by a flow: motion that neither makes nor destroys density."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from torch import Tensor, nn

from cryo_disentangle.decoders._side import volume_side
from cryo_disentangle.decoders.convection import OVERSAMPLING, interpolate, project_lattice
from cryo_disentangle.decoders.solenoidal import MARGIN, carry, curl, free_nodes
from cryo_disentangle.files import read_volume
from cryo_disentangle.imaging import FourierDisc
from cryo_disentangle.imaging.hartley import hartley2, hartley3, inverse_hartley3
from cryo_disentangle.networks.residual_mlp import ResidualMLP

__all__ = ["FlowDecoder"]

# Points of the lattice that is carried along to a node of the potential along each axis. Measured:
# what is interpolated between them changes volumes, not the integration: with 2 by 3 %, with 3 by
# 1 % at a displacement of a sixth of the box, whatever the number of steps.
_POINTS_PER_NODE = 3
# Expected spectrum of an unknown molecule, as BasisDecoder has it.
_HEIGHT, _KNEE, _POWER = 6.0, 4.0, 3.0
# Share of the usual start: a strong random flow would have to be unlearned.
_START = 0.1


class FlowDecoder(nn.Module):
    """Reference volume V_0 convected by a divergence-free velocity: V(z) = V_0 ∘ φ_z⁻¹.

    The velocity is the curl of a potential, v(x; z) = ∇ × A(x; z), constant in time, and φ_z its
    flow after unit time, integrated by Runge and Kutta's method of fourth order. A is a spline on
    ``nodes``³ nodes whose coefficients are a function of z that vanishes at z = 0, where the volume
    is the reference. The divergence of v is zero at every point (`curl`), so φ_z preserves volume,
    up to the error of its interpolation (`volume_change`).

    Density is pushed forward, as in 3DFlex: every voxel of the reference is a point mass that moves
    with the flow, is projected, and put down on an image of twice the sampling by quadratic
    B-splines, whose transfer is divided out. So the integral of density is the reference's exactly,
    and slices are the sum Σ m cas(2π k·Rφ_z(x) / D) over voxels within 1 % for a molecule that
    spans 77 % of the box. Pulling back would sample a volume as large as the box for every image.
    The flow is integrated on a coarse lattice and interpolated between by cubic splines: its cost
    does not depend on the box, and that of rendering is a few operations a voxel.

    The reference's parameters are Hartley coefficients in units of `BasisDecoder`'s envelope, the
    potential's are in node spacings: one learning rate of about 1e-3 serves both.

    Args:
        box_size: Image side D in pixels, even.
        conformation_dim: Number Z of conformation coordinates.
        nodes: Number of nodes of the potential along each axis; D / (nodes + 1) pixels apart.
        hidden: Width of the network from z to the potential; 0 is a linear map.
        steps: Steps of the integration.
        diameter: Diameter of the ball that holds the reference, a share of the box.
        support: Mask (.mrc, side D): the reference is zero where it is not positive. Rendering
            costs in proportion to the voxels that are left.
        fixed: Mask (.mrc, side D) of what does not move: the potential's nodes that reach where it
            is positive are zero, so that the flow stays divergence-free.

    Raises:
        ValueError: If the box size is odd, a size is not positive, or a mask has another shape or
            leaves nothing.

    References:
        Punjani and Fleet 2023, 3D flexible refinement, for convection by pushing forward.
    """

    envelope: Tensor
    _free: Tensor
    _support: Tensor
    _voxels: Tensor
    _points: Tensor
    _matrix: Tensor
    _slopes: Tensor
    _transfer: Tensor

    def __init__(
        self,
        box_size: int,
        conformation_dim: int,
        nodes: int = 6,
        hidden: int = 0,
        steps: int = 1,
        diameter: float = 0.85,
        support: str | Path | None = None,
        fixed: str | Path | None = None,
    ) -> None:
        super().__init__()
        if box_size < 2 or box_size % 2:
            raise ValueError(f"box size must be even and positive, found {box_size}")
        if min(conformation_dim, nodes, steps) < 1 or hidden < 0 or not 0 < diameter <= 1:
            raise ValueError(
                "a flow decoder needs conformation_dim, nodes and steps >= 1, hidden >= 0 and a "
                f"diameter in (0, 1], found conformation_dim={conformation_dim}, nodes={nodes}, "
                f"steps={steps}, hidden={hidden}, diameter={diameter}"
            )
        self.box_size = box_size
        self.steps = steps
        self._nodes = nodes
        self._spacing = box_size / (nodes + 1)
        self.mixture = _mixture(conformation_dim, 3 * nodes**3, hidden)
        squared = _squared_radius(box_size)
        envelope = _HEIGHT * box_size * (1 + squared / _KNEE**2) ** (-_POWER / 2)
        self.register_buffer("envelope", envelope, persistent=False)
        self.coefficients = nn.Parameter(torch.zeros((box_size,) * 3))
        inside = squared <= (diameter * box_size / 2) ** 2
        if support is not None:
            inside &= _read_mask(support, box_size)
        held = torch.zeros_like(inside) if fixed is None else _read_mask(fixed, box_size)
        self.register_buffer("_free", free_nodes(held, nodes), persistent=False)
        self._make_lattice(inside)
        frequency = torch.arange(box_size + 1) / box_size - 0.5
        transfer = torch.sinc(frequency / OVERSAMPLING) ** 3
        self.register_buffer("_transfer", transfer, persistent=False)

    def render(self, conformation: Tensor, rotation: Tensor, disc: FourierDisc) -> Tensor:
        """Evaluates central slices, in full precision under autocast too.

        Args:
            conformation: Shape (B, Z).
            rotation: Shape (B, 3, 3), as in `Pose`.
            disc: The M points of the lattice to evaluate.

        Returns:
            Hartley coefficients in normalised units, shape (B, M).
        """
        with torch.autocast(conformation.device.type, enabled=False):
            lattice = self._carried_lattice(conformation)
            seen = rotation[:, :2].to(lattice) @ lattice.flatten(2)
            images = self._project(seen.unflatten(2, lattice.shape[2:]))
            # Of twice the sampling the inner half is wanted, and both ends of it are there.
            start = self.box_size * (OVERSAMPLING - 1) // 2
            kept = slice(start, start + self.box_size + 1)
            transform = hartley2(images)[:, kept, kept]
            return disc.select(transform / (self._transfer[:, None] * self._transfer))

    @torch.no_grad()
    def volume(self, conformation: Tensor, box_size: int | None = None) -> Tensor:
        """Evaluates the density of one conformation on a grid.

        Args:
            conformation: Shape (Z,).
            box_size: Side d of the grid, even; a smaller one than the model's crops Fourier space
                (voxels grow, values are those of cryoDRGN's ``--downsample``). None is the model's.

        Returns:
            Density in normalised units, shape (d, d, d), axes z, y, x.

        Raises:
            ValueError: If the box size is odd or larger than the model's.
        """
        side = volume_side(box_size, self.box_size)
        grid = self._project(self._carried_lattice(conformation[None]))[0]
        start = (self.box_size * OVERSAMPLING - side) // 2
        kept = slice(start, start + side)
        transform = hartley3(grid)[kept, kept, kept]
        start = (self.box_size - side) // 2
        gain = self._transfer[start : start + side]
        transform = transform / (gain[:, None, None] * gain[:, None] * gain)
        inside = _squared_radius(side, device=gain.device) <= (side // 2) ** 2
        return inverse_hartley3(transform * inside)

    def carry(self, conformation: Tensor, position: Tensor) -> Tensor:
        """Moves points with the flow, each integrated by itself.

        Args:
            conformation: Shape (B, Z).
            position: (x, y, z) in pixels from the box's centre at z = 0, shape (P, 3).

        Returns:
            Where they are in each conformation, shape (B, P, 3).
        """
        centre = MARGIN + (self._nodes - 1) / 2
        start = (position.T / self._spacing + centre).expand(len(conformation), -1, -1)
        end = carry(curl(self._potential(conformation)), start, self.steps)
        return ((end - centre) * self._spacing).transpose(1, 2)

    @torch.no_grad()
    def volume_change(self, conformation: Tensor) -> Tensor:
        """Measures by how much the flow, as it is rendered, changes volumes.

        Args:
            conformation: Shape (Z,).

        Returns:
            Jacobian determinant ∂φ_z(x) / ∂x at each voxel x that may hold density; 1 for an exact
            flow. Shape (P,).
        """
        lattice = self._carried_lattice(conformation[None])[0]
        columns = []
        for axis in range(3):
            along = [self._slopes if axis == other else self._matrix for other in range(3)]
            columns.append(interpolate(lattice, *along).flatten(1).index_select(1, self._voxels))
        return torch.linalg.det(torch.stack(columns).permute(2, 0, 1))

    @torch.no_grad()
    def reference(self) -> Tensor:
        """Evaluates the volume at z = 0, without what lies outside of its support.

        Returns:
            Density in normalised units, shape (D, D, D), axes z, y, x.
        """
        density = torch.zeros_like(self.coefficients).flatten()
        density[self._support] = self._mass()
        return density.view_as(self.coefficients)

    @torch.no_grad()
    def load_reference(self, volume: Tensor) -> None:
        """Starts from a known density, a consensus map.

        Args:
            volume: Density in normalised units, shape (D, D, D), axes z, y, x.

        Raises:
            ValueError: If the shape is another.
        """
        if volume.shape != self.coefficients.shape:
            expected, found = tuple(self.coefficients.shape), tuple(volume.shape)
            raise ValueError(f"a reference of shape {expected} expected, found {found}")
        self.coefficients.copy_(hartley3(volume.to(self.coefficients)) / self.envelope)

    def _mass(self) -> Tensor:
        """Density of the reference at the voxels that may hold some, shape (P,)."""
        inside = _squared_radius(self.box_size, self.envelope.device) <= (self.box_size // 2) ** 2
        density = inverse_hartley3(self.coefficients * (self.envelope * inside))
        return density.flatten().index_select(0, self._support)

    def _project(self, lattice: Tensor) -> Tensor:
        """Images or volumes of the carried reference: (B, d, G, G, G) -> (B, S, ...)."""
        return project_lattice(lattice, self._matrix, self._voxels, self._mass(), self.box_size)

    def _potential(self, conformation: Tensor) -> Tensor:
        """Coefficients in node spacings, zero at z = 0: (B, Z) -> (B, 3, N, N, N)."""
        conformation = conformation.to(self.coefficients)
        mixed: Tensor = self.mixture(conformation)
        if isinstance(self.mixture, ResidualMLP):
            mixed = mixed - self.mixture(torch.zeros_like(conformation[:1]))
        free = mixed.unflatten(1, self._free.shape) * self._free
        return nn.functional.pad(free, (MARGIN,) * 6)

    def _carried_lattice(self, conformation: Tensor) -> Tensor:
        """Where the lattice's points go, in pixels: (B, Z) -> (B, 3, G, G, G)."""
        z, y, x = torch.meshgrid(self._points, self._points, self._points, indexing="ij")
        carried = self.carry(conformation, torch.stack([x, y, z], dim=-1).flatten(0, 2))
        return carried.transpose(1, 2).unflatten(2, x.shape)

    def _make_lattice(self, inside: Tensor) -> None:
        """Lays the lattice over the voxels that may hold density."""
        place = torch.nonzero(inside) - self.box_size // 2
        if not len(place):
            raise ValueError("no voxel of the reference is left inside its diameter and support")
        reach = max(1, int(place.abs().max()))
        extent = 2 * reach + 1
        count = 1 + max(3, int(np.ceil(_POINTS_PER_NODE * (extent - 1) / self._spacing)))
        points = np.linspace(-reach, reach, count)
        spline, voxels = CubicSpline(points, np.eye(count)), np.arange(-reach, reach + 1)
        z, y, x = (place + reach).unbind(1)
        buffers = {
            "_support": inside.flatten().nonzero()[:, 0],
            "_voxels": (z * extent + y) * extent + x,
            "_points": torch.from_numpy(points).float(),
            "_matrix": torch.from_numpy(spline(voxels)).float(),
            "_slopes": torch.from_numpy(spline(voxels, 1)).float(),
        }
        for name, buffer in buffers.items():
            self.register_buffer(name, buffer, persistent=False)


def _mixture(conformation_dim: int, outputs: int, hidden: int) -> nn.Module:
    """Makes the map from z to the potential, weak at first."""
    network = (
        ResidualMLP(conformation_dim, outputs, hidden, layers=2)
        if hidden
        else nn.Linear(conformation_dim, outputs, bias=False)
    )
    with torch.no_grad():
        [p for p in network.parameters() if p.ndim == 2][-1].mul_(_START)
    return network


def _squared_radius(side: int, device: torch.device | None = None) -> Tensor:
    """Squared distance of each voxel from the centre, (D, D, D)."""
    squares = (torch.arange(side, device=device) - side // 2).square()
    return squares[:, None, None] + squares[:, None] + squares


def _read_mask(path: str | Path, side: int) -> Tensor:
    """Where a mask is positive."""
    values, _ = read_volume(path)
    if values.shape != (side,) * 3:
        raise ValueError(
            f"{path}: a mask of shape {(side,) * 3} expected, as the images, found {values.shape}"
        )
    return torch.from_numpy(values > 0)
