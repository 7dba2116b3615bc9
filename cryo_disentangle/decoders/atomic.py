"""Gaussians at the atoms of a structure, which the conformation moves."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from cryo_disentangle.decoders._side import volume_side
from cryo_disentangle.geometry import random_rotations
from cryo_disentangle.imaging import FourierDisc
from cryo_disentangle.imaging.gaussian_slices import gaussian_slices
from cryo_disentangle.imaging.gaussians import gaussian_volume, project_gaussians
from cryo_disentangle.imaging.hartley import hartley2, symmetrize
from cryo_disentangle.protocols.volumes import ReadsStructure
from cryo_disentangle.structures import read_atoms, write_structures
from cryo_disentangle.structures.atoms import Atoms
from cryo_disentangle.structures.domains import select_residues

__all__ = ["AtomicDecoder"]

_NUMBERS_PER_STEP = 2**24
_PROFILES_PER_STEP = 2**19
_DIRECTIONS = 16


class AtomicDecoder(nn.Module):
    """Density as a sum of Gaussians at atoms or pseudo-atoms, moved by the conformation.

    A motion is a module that maps conformations (B, Z) to positions (B, N, 3) in Å, made from the
    reference positions (N, 3) and Z. If it has a method ``bind(atoms)``, that is called once with
    the `Atoms`, for motions that need chains and residues.

    The density of Gaussian i integrates to contrast · electrons_i · exp(log_amplitude_i) in a unit
    in which, at contrast 1, the reference has the power of normalised images: mean square 1 over
    the coefficients within D / 2. The contrast is learned and may change its sign, as that of a
    stack with inverted images does. Widths are sigma_i · exp(log_width_i); the corresponding B
    factors are 8 π² sigma_i².

    Args:
        box_size: Image side D in pixels, even.
        conformation_dim: Number Z of conformation coordinates.
        structure: PDB or mmCIF file, or atoms. Read as `read_atoms` does, it must lie as the
            volume does that the particles' poses belong to.
        motion: Makes the motion from reference positions in Å and Z.
        pixel_size: Å per pixel of the images.
        selection: Residues to take, ``A:30-59,70`` or ``B:``; null takes all.
        per_residue: Whether to gather each residue in one Gaussian.
        centre: Point of the file's coordinates in Å that is the centre of the box; null is the
            centre of mass, and of pseudo-atoms their map's. For a structure fitted to a map whose
            origin is its corner it is half the map's side, three times.
        sigma_angstrom: Standard deviation of every Gaussian in Å; null takes it from the B factors
            of the structure.
        contrast: Initial contrast; negative for inverted images.
        learn_amplitudes: Whether each Gaussian has an amplitude of its own.
        learn_widths: Whether each Gaussian has a width of its own. One width for all renders much
            faster.

    Attributes:
        atoms: The structure.
        reference: Positions about the centre of the box in Å, shape (N, 3).

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the box size is odd, a size is not positive, no atom is selected, a B factor
            is missing, or the molecule is larger than the box.
    """

    reference: Tensor
    electrons: Tensor
    sigma: Tensor
    unit: Tensor

    def __init__(  # noqa: PLR0913 - each is a key of the configuration file
        self,
        box_size: int,
        conformation_dim: int,
        # Tried in this order, so a function that makes atoms is saved as one and not as a path.
        structure: Atoms | Path,
        motion: Callable[[Tensor, int], nn.Module],
        pixel_size: float,
        selection: str | None = None,
        per_residue: bool = False,
        centre: tuple[float, float, float] | None = None,
        sigma_angstrom: float | None = 2.0,
        contrast: float = 0.3,
        learn_amplitudes: bool = False,
        learn_widths: bool = False,
    ) -> None:
        super().__init__()
        if box_size < 2 or box_size % 2:
            raise ValueError(f"box size must be even and positive, found {box_size}")
        if not pixel_size > 0:
            raise ValueError(f"pixel size must be positive, found {pixel_size}")
        self.box_size, self.pixel_size = box_size, pixel_size
        atoms = structure if isinstance(structure, Atoms) else read_atoms(structure)
        if selection is not None:
            atoms = atoms.take(select_residues(atoms, selection))
        self.atoms = atoms = atoms.by_residue() if per_residue else atoms
        origin = atoms.centre if centre is None else centre
        self.register_buffer("reference", torch.tensor(atoms.position - origin).float())
        self.register_buffer("electrons", torch.tensor(atoms.electrons).float())
        self.register_buffer("sigma", _widths(atoms, sigma_angstrom))
        self.contrast = nn.Parameter(torch.tensor(float(contrast)))
        self.log_width = nn.Parameter(torch.zeros(len(atoms) if learn_widths else 1))
        self.log_amplitude = nn.Parameter(torch.zeros(len(atoms))) if learn_amplitudes else None
        self._check_size()
        self.motion = motion(self.reference, conformation_dim)
        if isinstance(self.motion, ReadsStructure):
            self.motion.bind(atoms)
        self.register_buffer("unit", torch.ones(()))
        self.unit = self._measure_unit()

    def _check_size(self) -> None:
        """Refuses a molecule that is larger than the box."""
        radius = float(self.reference.norm(dim=-1).max() + 3 * self.sigma.max())
        needed = 2 * math.ceil(radius / self.pixel_size)
        if needed > self.box_size:
            raise ValueError(
                f"{self.atoms.file}: the molecule needs a box of {needed} pixels at "
                f"{self.pixel_size:g} Å per pixel (it reaches {radius:.1f} Å from the centre), "
                f"found box size {self.box_size}; select residues, or give its centre"
            )

    @torch.no_grad()
    def _measure_unit(self) -> Tensor:
        """Scale that gives the reference normalised power, averaged over directions."""
        rotation = random_rotations(_DIRECTIONS, generator=torch.Generator().manual_seed(0))
        positions = self.reference.expand(_DIRECTIONS, -1, -1)
        slices = self._slices(positions, rotation, FourierDisc(self.box_size))
        return 1 / slices.square().mean().sqrt()

    @property
    def widths(self) -> Tensor:
        """Standard deviation of all Gaussians (1,), or of each (N,), in Å."""
        return self.sigma * self.log_width.exp()

    @property
    def amplitudes(self) -> Tensor:
        """Integrated density of each Gaussian before the contrast, shape (N,)."""
        if self.log_amplitude is None:
            return self.electrons * self.unit
        return self.electrons * self.log_amplitude.exp() * self.unit

    def positions(self, conformation: Tensor) -> Tensor:
        """Places the Gaussians.

        Args:
            conformation: Shape (B, Z).

        Returns:
            Model coordinates (x, y, z) in Å about the centre of the box, shape (B, N, 3).
        """
        positions: Tensor = self.motion(conformation.to(self.reference))
        return positions

    def render(self, conformation: Tensor, rotation: Tensor, disc: FourierDisc) -> Tensor:
        """Evaluates central slices, in full precision under autocast too.

        Args:
            conformation: Shape (B, Z).
            rotation: Shape (B, 3, 3), as in `Pose`.
            disc: The M points of the lattice to evaluate.

        Returns:
            Hartley coefficients in normalised units, shape (B, M).
        """
        with torch.autocast(self.reference.device.type, enabled=False):
            slices = self._slices(self.positions(conformation), rotation.to(self.reference), disc)
            return self.contrast * slices

    def _slices(self, positions: Tensor, rotation: Tensor, disc: FourierDisc) -> Tensor:
        """Slices at contrast 1."""
        widths, amplitudes = self.widths, self.amplitudes
        grid = self.box_size, self.pixel_size
        if len(widths) == 1:
            return gaussian_slices(
                positions, amplitudes, widths[0], rotation, disc.frequencies, *grid
            )
        step = max(1, _PROFILES_PER_STEP // (len(widths) * self.box_size))
        images = [
            project_gaussians(part, amplitudes, widths, turn, *grid)
            for part, turn in zip(positions.split(step), rotation.split(step), strict=True)
        ]
        return disc.select(symmetrize(hartley2(torch.cat(images))))

    @torch.no_grad()
    def project(self, conformation: Tensor, rotation: Tensor) -> Tensor:
        """Renders images in real space, exactly.

        Args:
            conformation: Shape (B, Z).
            rotation: Shape (B, 3, 3), as in `Pose`.

        Returns:
            Centred images without CTF whose Hartley transforms are in normalised units, shape
            (B, D, D).
        """
        return self.contrast * project_gaussians(
            self.positions(conformation),
            self.amplitudes,
            self.widths,
            rotation.to(self.reference),
            self.box_size,
            self.pixel_size,
        )

    @torch.no_grad()
    def volume(self, conformation: Tensor, box_size: int | None = None) -> Tensor:
        """Integrates the density of one conformation over the voxels of a grid, exactly.

        Args:
            conformation: Shape (Z,).
            box_size: Side d of the grid, even; voxels of a smaller one than the model's grow. None
                is the model's.

        Returns:
            Density in normalised units, shape (d, d, d), axes z, y, x.

        Raises:
            ValueError: If the box size is odd or larger than the model's.
        """
        side = volume_side(box_size, self.box_size)
        positions = self.positions(conformation[None])
        voxel = self.pixel_size * self.box_size / side
        step = max(1, _NUMBERS_PER_STEP // side**2)
        volume = positions.new_zeros(side, side, side)
        widths = self.widths.expand(positions.shape[1])
        for part in torch.arange(positions.shape[1], device=positions.device).split(step):
            volume += gaussian_volume(
                positions[:, part], self.amplitudes[part], widths[part], side, voxel
            )[0]
        return self.contrast * volume

    @torch.no_grad()
    def write_structures(self, file: Path, conformation: Tensor) -> None:
        """Writes moved structures, where volumes written with their corner as origin have them.

        Args:
            file: File to write, ``.pdb`` or ``.cif``.
            conformation: One model each, shape (S, Z).

        Raises:
            ValueError: If the file is of another format.
        """
        corner = self.box_size / 2 * self.pixel_size
        moved = self.positions(conformation.to(self.reference.device)) + corner
        write_structures(file, self.atoms, moved.cpu().numpy())


def _widths(atoms: Atoms, sigma_angstrom: float | None) -> Tensor:
    """Standard deviations in Å, shape (1,) or (N,)."""
    if sigma_angstrom is not None:
        if not sigma_angstrom > 0:
            raise ValueError(f"sigma_angstrom must be positive, found {sigma_angstrom}")
        return torch.tensor([float(sigma_angstrom)])
    missing = atoms.b_factor <= 0
    if missing.any():
        raise ValueError(
            f"{atoms.file}: {missing.sum()} of {len(atoms)} atoms have no B factor: "
            "give sigma_angstrom"
        )
    sigma = torch.tensor(atoms.b_factor / (8 * math.pi**2)).sqrt().float()
    return sigma[:1] if bool((sigma == sigma[0]).all()) else sigma
