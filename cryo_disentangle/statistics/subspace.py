"""A subspace of volumes: a mean and K others, with the noise that images are whitened by."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cryo_disentangle.decoders import BasisDecoder
from cryo_disentangle.decoders.spline import pair_nodes
from cryo_disentangle.files import read_volume
from cryo_disentangle.files.paths import replacing
from cryo_disentangle.statistics.grid import SliceGrid

__all__ = ["Subspace"]

_SAME_PIXEL_SIZE = 1e-2


@dataclass(frozen=True, eq=False)
class Subspace:
    """V(c) = V_0 + Σ_k c_k V_k, c standard normal, seen in noise of known spectrum.

    Args:
        nodes: V_0, V_1, ... as columns on the nodes of a `SliceGrid`, in normalised units, shape
            (G, K + 1).
        noise: Variance of an image's Hartley coefficients in shells 0 .. radius, in normalised
            units, shape (radius + 1,).
        box_size: Image side D in pixels.
        pixel_size: Å per pixel.
        radius: Radius in Fourier pixels up to which images are compared.
        norm: Standard deviation that images are divided by.
        invert: Whether images are multiplied by -1.

    Raises:
        ValueError: If shapes disagree, or a value is not finite or not positive.
    """

    nodes: Tensor
    noise: Tensor
    box_size: int
    pixel_size: float
    radius: int
    norm: float = 1.0
    invert: bool = True

    def __post_init__(self) -> None:
        side = 2 * self.radius + 3
        if self.nodes.ndim != 2 or len(self.nodes) != side**3 or self.nodes.shape[1] < 1:
            raise ValueError(
                f"a subspace of radius {self.radius} has nodes of shape ({side**3}, K + 1), found "
                f"{tuple(self.nodes.shape)}"
            )
        if self.noise.shape != (self.radius + 1,) or not bool((self.noise > 0).all()):
            raise ValueError(
                f"a subspace of radius {self.radius} has a positive noise variance for each of "
                f"{self.radius + 1} shells, found {self.noise.tolist()}"
            )
        if not bool(self.nodes.isfinite().all()):
            raise ValueError("a subspace's volumes must be finite")

    @property
    def rank(self) -> int:
        """Number K of volumes besides the mean."""
        return self.nodes.shape[1] - 1

    @cached_property
    def grid(self) -> SliceGrid:
        """Where slices are read from."""
        return SliceGrid(self.box_size, self.radius).to(self.nodes.device)

    @cached_property
    def paired(self) -> Tensor:
        """The nodes as `SliceGrid.read` takes them, shape (G, 2 K + 2)."""
        return pair_nodes(self.nodes)

    @cached_property
    def point_noise(self) -> Tensor:
        """Variance of the noise at each point of a slice, shape (P,)."""
        return self.noise[self.grid.shell]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the volumes, the noise and what they are in units of, in hexadecimal."""
        head = f"{self.box_size} {self.pixel_size:.6g} {self.radius} {self.norm:.6g} {self.invert}"
        found = hashlib.sha256(head.encode())
        for values in (self.nodes, self.noise):
            found.update(values.contiguous().cpu().numpy().tobytes())
        return found.hexdigest()

    def to(self, device: torch.device) -> Subspace:
        """Copies the subspace to a device.

        Args:
            device: Where to.

        Returns:
            The subspace there; itself where it is there.
        """
        if self.nodes.device == device:
            return self
        return replace(self, nodes=self.nodes.to(device), noise=self.noise.to(device))

    def truncated(self, rank: int) -> Subspace:
        """Keeps the mean and the first volumes.

        Args:
            rank: How many besides the mean.

        Returns:
            A smaller subspace.

        Raises:
            ValueError: If there are fewer.
        """
        if not 1 <= rank <= self.rank:
            raise ValueError(f"rank must be from 1 to {self.rank}, found {rank}")
        return replace(self, nodes=self.nodes[:, : rank + 1].contiguous())

    def decoder(self) -> BasisDecoder:
        """Makes a decoder whose conformation is the coefficients c: a linear map, the identity.

        Returns:
            The decoder, in normalised units; volumes and slices are the subspace's.
        """
        decoder = BasisDecoder(self.box_size, self.rank, rank=self.rank, hidden=0)
        whole = self.grid.resized(self.nodes, SliceGrid(self.box_size, self.box_size // 2))
        with torch.no_grad():
            decoder.coefficients.copy_(whole / decoder.envelope)
            nn.init.eye_(decoder.mixture.weight)  # type: ignore[arg-type]
        return decoder

    @torch.no_grad()
    def volumes(self) -> Tensor:
        """Evaluates densities in normalised units, shape (K + 1, D, D, D), axes z, y, x."""
        decoder = self.decoder()
        mean = decoder.volume(torch.zeros(self.rank))
        others = [decoder.volume(row) - mean for row in torch.eye(self.rank)]
        return torch.stack([mean, *others])

    @classmethod
    def of_volumes(
        cls, volumes: Tensor, pixel_size: float, radius: int, norm: float, *, invert: bool = True
    ) -> Subspace:
        """Makes a subspace of densities, whose noise is not known yet (1 in every shell).

        Args:
            volumes: V_0, V_1, ... in normalised units, shape (K + 1, D, D, D), axes z, y, x.
            pixel_size: Å per pixel.
            radius: Radius in Fourier pixels up to which images are compared.
            norm: Standard deviation that images are divided by.
            invert: Whether images are multiplied by -1.

        Returns:
            The subspace.

        Raises:
            ValueError: If there are less than two volumes, or shapes make no sense.
        """
        if volumes.ndim != 4 or len(volumes) < 2:
            raise ValueError(
                "a subspace needs a mean and at least one more volume, found shape "
                f"{tuple(volumes.shape)}"
            )
        side, rank = volumes.shape[-1], len(volumes) - 1
        decoder = BasisDecoder(side, rank, rank=rank, hidden=0)
        decoder.load_volumes(volumes)
        whole = (decoder.coefficients * decoder.envelope).detach()
        nodes = SliceGrid(side, side // 2).resized(whole, SliceGrid(side, radius))
        return cls(nodes, torch.ones(radius + 1), side, pixel_size, radius, norm, invert)

    @classmethod
    def of_maps(
        cls, mean: str | Path, others: Sequence[str | Path], box_size: int, pixel_size: float
    ) -> Tensor:
        """Reads a mean and others, as cryoSPARC's 3D variability and RECOVAR write them.

        Args:
            mean: Map of the mean (.mrc).
            others: Maps of the components.
            box_size: Side of the particles' images in pixels.
            pixel_size: Å per pixel of the particles.

        Returns:
            V_0, V_1, ..., shape (K + 1, D, D, D), axes z, y, x, in the maps' units.

        Raises:
            FileNotFoundError: If a map is missing.
            ValueError: If one has another box or pixel size than the particles.
        """
        return torch.stack([_map(Path(path), box_size, pixel_size) for path in (mean, *others)])

    def save(self, path: str | Path) -> None:
        """Writes the subspace as a file that `open` reads without running code.

        Args:
            path: File to be written.
        """
        values: dict[str, Any] = {name: getattr(self, name) for name in self.__dataclass_fields__}
        with replacing(path) as temporary:
            torch.save(values, temporary)

    @classmethod
    def open(cls, path: str | Path) -> Subspace:
        """Reads what `save` wrote.

        Args:
            path: The file.

        Returns:
            The subspace.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it holds anything else.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f"{path}: no such file, expected a subspace")
        try:
            return cls(**torch.load(path, map_location="cpu", weights_only=True))
        except Exception as error:
            raise ValueError(f"{path}: not a subspace: {error}") from error


def _map(path: Path, box_size: int, pixel_size: float) -> Tensor:
    """A map that fits particles."""
    values, found = read_volume(path)
    if values.shape != (box_size,) * 3:
        raise ValueError(
            f"{path}: a map of {' x '.join(map(str, values.shape))} voxels, the particles' box is "
            f"{box_size} pixels: crop or resample the map to it"
        )
    if found is not None and abs(found - pixel_size) > _SAME_PIXEL_SIZE * pixel_size:
        raise ValueError(
            f"{path}: {found:.4g} Å per voxel, the particles have {pixel_size:.4g} Å per pixel: "
            "give the map that belongs to them, or resample it"
        )
    return torch.from_numpy(values)
