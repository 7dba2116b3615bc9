"""Simulated particles, as images and as files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryo_disentangle.simulation.images import SimulatedImages
from cryo_disentangle.simulation.output import write_simulation

__all__ = ["Simulation"]


@dataclass(frozen=True)
class Simulation(SimulatedImages):
    """A stack of particles that is a function of these arguments alone.

    An image is x = -CTF ⊙ projection + noise: with cryoDRGN's CTF, which is negative at low
    frequency, protein is white, as stacks are kept for RELION; without CTF it is dark. Either way a
    reader that inverts the contrast, as cryoDRGN and `ParticleData` do unless told otherwise,
    reconstructs a positive density. Noise has one standard deviation for the whole stack, fixed
    from 256 other particles of the same simulation: a level for each image would reveal its pose.

    Args:
        molecule: Density as a function of coordinates.
        process: Distribution of true factors.
        microscope: Poses, CTF and noise.
        n_images: Number of particles.
        box_size: Image side D in pixels, even.
        pixel_size: Å per pixel.
        mixing: Map of true factors to the molecule's coordinates; none takes them as they are.
        seed: Another seed gives another stack.

    Raises:
        ValueError: If a size is not positive, the box is odd, numbers of factors differ, or the
            molecule cannot be shown, for example does not fit into the box.
    """

    def write(self, out: Path, overwrite: bool = False) -> None:
        """Writes the stack, its truth and pictures to a folder; continues a broken-off one.

        Args:
            out: Folder: ``particles.mrcs``, ``particles.star``, ``poses.pkl``, ``ctf.pkl``,
                ``truth.npz``, ``molecule.yaml``, ``simulation.yaml`` and ``contact_sheet.png``.
            overwrite: Whether to replace another simulation there.

        Raises:
            FileExistsError: If the folder holds another, or a finished, simulation.
        """
        write_simulation(self, Path(out), overwrite)
