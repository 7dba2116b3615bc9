"""A trained model as the molecule: particles whose true latents are known."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cryo_disentangle.files.checkpoints import read_tensors
from cryo_disentangle.imaging import FourierDisc, shift_hartley
from cryo_disentangle.imaging.hartley import desymmetrize, inverse_hartley2
from cryo_disentangle.particles.pickles import read_latents
from cryo_disentangle.protocols import VolumeDecoder
from cryo_disentangle.simulation.draws import Draws
from cryo_disentangle.simulation.processes import Conformations

__all__ = ["Invertibility", "LearnedMolecule", "PosteriorFactors", "measure_invertibility"]

_CHECKED_LATENTS = 64
_CHECKED_BOX = 24
# Below this share of the typical ratio, two latents are taken to give one volume.
_TOLERANCE = 0.02


@dataclass(frozen=True)
class Invertibility:
    """Invertibility of the map from latents to volumes.

    The ratio of a pair of latents is the distance of their volumes over their own distance.

    Attributes:
        smallest_ratio: Smallest ratio over the pairs.
        median_ratio: Median ratio.
        pair: The latents of the smallest ratio, shape (2, Z).
    """

    smallest_ratio: float
    median_ratio: float
    pair: Tensor

    @property
    def score(self) -> float:
        """Smallest ratio over the median: 1 is an isometry, 0 is not invertible."""
        return self.smallest_ratio / self.median_ratio if self.median_ratio > 0 else 0.0


@torch.no_grad()
def measure_invertibility(
    decoder: VolumeDecoder, latents: Tensor, box_size: int = _CHECKED_BOX
) -> Invertibility:
    """Compares the volumes of all pairs of latents that are not close together.

    Pairs closer than the lower quartile of distances are left out: they show how steep the map is
    at a point, not whether it folds.

    Args:
        decoder: The volume map.
        latents: Shape (P, Z), three or more.
        box_size: Side of the volumes that are compared.

    Returns:
        The report.

    Raises:
        ValueError: If there are fewer than three latents.
    """
    if len(latents) < 3:
        raise ValueError(f"three or more latents are needed to compare pairs, found {len(latents)}")
    volumes = torch.stack([decoder.volume(z, box_size).flatten() for z in latents])
    apart = torch.pdist(latents.double())
    ratios = torch.pdist(volumes.double()) / apart
    far = apart >= apart.quantile(0.25)
    ratios = torch.where(far, ratios, torch.inf)
    worst = int(ratios.argmin())
    pairs = torch.combinations(torch.arange(len(latents)))
    return Invertibility(
        float(ratios[worst]), float(ratios[far].median()), latents[pairs[worst]].clone()
    )


@lru_cache(maxsize=4)
def _disc(box_size: int) -> FourierDisc:
    """Keeps the disc of the stack at hand."""
    return FourierDisc(box_size)


@dataclass(frozen=True, eq=False)
class LearnedMolecule:
    """A decoder's volumes as the molecule, its latents as the coordinates.

    Give the simulation a process that samples the model's prior (`NormalFactors` of scale 1) or its
    posterior over a data set (`PosteriorFactors`). The volume map is first tested for invertibility
    on these latents: if two distant latents give the same volume, no method can distinguish them.

    Args:
        decoder: The volume map, a network on the CPU.
        dim: Number of latents Z.
        pixel_size: Å per pixel of the images it was trained on.
        checkpoint: Lightning checkpoint, or saved state dict, that holds the decoder's weights;
            none leaves the decoder as it is.
        prefix: Start of the decoder's names in it.
        allow_ambiguous: Whether to continue if the map is not invertible.

    Raises:
        FileNotFoundError: If there is no such checkpoint.
        ValueError: If the checkpoint lacks the decoder's weights.
    """

    decoder: VolumeDecoder
    dim: int
    pixel_size: float
    checkpoint: Path | None = None
    prefix: str = "decoder."
    allow_ambiguous: bool = False

    def __post_init__(self) -> None:
        if self.checkpoint is not None:
            self._load(Path(self.checkpoint))
        if isinstance(self.decoder, torch.nn.Module):
            self.decoder.eval()

    def _load(self, checkpoint: Path) -> None:
        """Takes the decoder's weights from a checkpoint."""
        if not isinstance(self.decoder, torch.nn.Module):
            raise ValueError(f"{checkpoint}: the decoder is no network that could be loaded")
        content = read_tensors(checkpoint, "a checkpoint")
        state = content.get("state_dict", content)
        own = {
            k.removeprefix(self.prefix): v for k, v in state.items() if k.startswith(self.prefix)
        }
        try:
            self.decoder.load_state_dict(own)
        except RuntimeError as error:
            raise ValueError(
                f"{checkpoint}: weights of the decoder expected under names that start with "
                f"{self.prefix!r}: {error}"
            ) from error

    def check(self, conformation: Tensor, box_size: int, pixel_size: float) -> None:
        """Refuses another pixel size, and latents that volumes cannot be told apart by.

        Args:
            conformation: Latents, shape (B, Z).
            box_size: Image side D in pixels.
            pixel_size: Å per pixel.

        Raises:
            ValueError: If the pixel size is not the model's, or distant latents give one volume.
        """
        if abs(pixel_size - self.pixel_size) > 1e-4 * self.pixel_size:
            raise ValueError(
                f"the model was trained at {self.pixel_size:g} Å per pixel, found pixel_size "
                f"{pixel_size:g}"
            )
        if self.allow_ambiguous:
            return
        box = min(box_size, _CHECKED_BOX)
        report = measure_invertibility(self.decoder, conformation[:_CHECKED_LATENTS], box)
        if report.score < _TOLERANCE:
            first, second = ([round(x, 3) for x in z.tolist()] for z in report.pair)
            raise ValueError(
                f"the model's volume map is not invertible: latents {first} and {second} give the "
                f"same volume (their ratio of volume to latent distance is {report.score:.2g} of "
                f"the median, at least {_TOLERANCE:g} expected), so true latents could not be "
                "identified from images; set allow_ambiguous to go on"
            )

    @torch.no_grad()
    def project(
        self,
        conformation: Tensor,
        rotation: Tensor,
        translation: Tensor,
        box_size: int,
        pixel_size: float,  # noqa: ARG002
    ) -> Tensor:
        """Renders the volumes' central slices.

        Args:
            conformation: Latents, shape (B, Z).
            rotation: As in `Pose`, shape (B, 3, 3).
            translation: (x, y) in pixels, as in `Pose`, shape (B, 2).
            box_size: Image side D in pixels.
            pixel_size: Å per pixel, which `check` has compared.

        Returns:
            Images before the CTF, of mean zero, shape (B, D, D).
        """
        disc = _disc(box_size)
        coefficients = self.decoder.render(conformation, rotation, disc)
        moved = shift_hartley(coefficients, disc.frequencies, -translation)
        return inverse_hartley2(desymmetrize(disc.scatter(moved)))


@dataclass(frozen=True)
class PosteriorFactors:
    """Latents drawn from a model's posterior over a data set.

    A row of the file is drawn at random, with replacement, and a latent from its normal posterior;
    from a file without log-variances, its mean.

    Args:
        file: ``z.pkl`` as cryoDRGN writes it: means, then log-variances.
    """

    file: Path

    @cached_property
    def _posterior(self) -> Tensor:
        """Means and standard deviations, shape (2, N, Z)."""
        mean, log_variance = read_latents(self.file)
        spread = np.zeros_like(mean) if log_variance is None else np.exp(0.5 * log_variance)
        return torch.from_numpy(np.stack([mean, spread])).double()

    @property
    def dim(self) -> int:
        """Number of latents Z."""
        return self._posterior.shape[2]

    def sample(self, draws: Draws) -> Conformations:
        """Draws latents (B, Z)."""
        count = self._posterior.shape[1]
        rows = (draws.uniform("posterior", 1)[:, 0] * count).long().clamp_max(count - 1)
        mean, spread = self._posterior[:, rows]
        return Conformations(mean + spread * draws.normal("factors", self.dim))
