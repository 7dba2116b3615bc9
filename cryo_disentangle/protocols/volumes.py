"""What is asked of a decoder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from torch import Tensor

from cryo_disentangle.imaging import FourierDisc

if TYPE_CHECKING:
    from cryo_disentangle.structures.atoms import Atoms

__all__ = [
    "HasMotion",
    "MovingStructure",
    "ReadsStructure",
    "SizedInAngstrom",
    "VolumeDecoder",
    "WritesStructures",
]


@runtime_checkable
class VolumeDecoder(Protocol):
    """The unknown volume v: a conformation's density, seen from any direction."""

    def render(self, conformation: Tensor, rotation: Tensor, disc: FourierDisc) -> Tensor:
        """Evaluates central slices, without CTF.

        Args:
            conformation: Shape (B, Z).
            rotation: As in `Pose`, shape (B, 3, 3).
            disc: Frequencies of the M coefficients.

        Returns:
            Hartley coefficients, shape (B, M).
        """
        ...

    def volume(self, conformation: Tensor, box_size: int | None = None) -> Tensor:
        """Evaluates the density of one conformation on a grid.

        Args:
            conformation: Shape (Z,).
            box_size: Side D of the grid in pixels; None is the model's.

        Returns:
            Density, shape (D, D, D), axes z, y, x.
        """
        ...


@runtime_checkable
class SizedInAngstrom(Protocol):
    """A decoder whose density has a size of its own, as atoms have, or a model that knows it.

    Attributes:
        pixel_size: Å per pixel of images and volumes.
    """

    pixel_size: float


@runtime_checkable
class MovingStructure(Protocol):
    """Where a conformation puts the atoms: an `AtomicDecoder`'s ``motion``.

    Attributes:
        reference: Positions at rest in Å, shape (N, 3).
    """

    reference: Tensor

    def forward(self, conformation: Tensor) -> Tensor:
        """Moves the atoms.

        Args:
            conformation: Shape (B, Z).

        Returns:
            Positions in Å, shape (B, N, 3).
        """
        ...


@runtime_checkable
class ReadsStructure(Protocol):
    """A motion that has to know the atoms it moves, for domains given by residues."""

    def bind(self, atoms: Atoms) -> None:
        """Takes notice of the atoms, once, before training.

        Args:
            atoms: The N atoms.
        """
        ...


@runtime_checkable
class HasMotion(Protocol):
    """A decoder that moves atoms."""

    @property
    def motion(self) -> object:
        """What moves them, a `MovingStructure`."""
        ...


@runtime_checkable
class WritesStructures(Protocol):
    """A decoder that moves atoms and writes where they are."""

    def write_structures(self, file: Path, conformation: Tensor) -> None:
        """Writes moved structures.

        Args:
            file: PDB or mmCIF file.
            conformation: A model each, shape (S, Z).
        """
        ...
