"""Maps at both ends of latent axes, and what is said of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cryo_disentangle.files import write_volume
from cryo_disentangle.files.paths import replacing
from cryo_disentangle.maps.difference import MapDifference, compare_maps
from cryo_disentangle.maps.ends import AxisEnd, axis_ends, chosen_noise
from cryo_disentangle.maps.half_maps import DensityMaps, make_half_maps
from cryo_disentangle.maps.picture import draw_ends
from cryo_disentangle.particles.dataset import ParticleDataset
from cryo_disentangle.selection.description import view_share
from cryo_disentangle.statistics.making import half_sets
from cryo_disentangle.traversals import chimerax_script

__all__ = ["AxisMaps", "map_axis"]

Array = npt.NDArray[Any]


class AxisMaps(NamedTuple):
    """Maps at both ends of an axis.

    Attributes:
        name: Of the axis, as files are called.
        ends: Particles at the low and at the high end.
        maps: Their maps.
        difference: Of the two.
        views: What is to be said of an end that is not seen from everywhere, a sentence each.
        noise: Share of the difference that is noise particles were chosen by, or None where widths
            are unknown.
        pixel_size: Å per voxel.
    """

    name: str
    ends: tuple[AxisEnd, AxisEnd]
    maps: tuple[DensityMaps, DensityMaps]
    difference: MapDifference
    views: tuple[str, ...]
    noise: float | None
    pixel_size: float

    @property
    def words(self) -> str:
        """What was found, in sentences."""
        return " ".join([self._finding(), *self._warnings(), *self.views])

    def _finding(self) -> str:
        """Whether the ends differ, and where."""
        counts = " and ".join(f"{len(end.rows):,}" for end in self.ends)
        sizes = " and ".join(f"{each.resolution:.1f} Å" for each in self.maps)
        found = self.difference
        begin = f"{self.name}: maps of the {counts} particles at its ends (resolution {sizes})"
        if not found.significant:
            return (
                f"{begin} do not differ: by at most {found.peak:.1f} σ, which noise reaches "
                f"({found.limit:.1f} σ)."
            )
        side = found.low.shape[0]
        place = ", ".join(
            f"{(index - side // 2) * self.pixel_size:.0f}" for index in reversed(found.place)
        )
        return (
            f"{begin} differ by {found.peak:.1f} σ at ({place}) Å from the centre (x, y, z); noise "
            f"reaches {found.limit:.1f} σ."
        )

    def _warnings(self) -> list[str]:
        """What the finding should not be believed for."""
        warnings = []
        for end, each in zip(self.ends, self.maps, strict=True):
            if not each.resolves:
                warnings.append(
                    f"Warning: the half maps of the {end.name} end show no molecule in common "
                    f"(FSC below 0.143 at {each.resolution:.1f} Å): too few particles, or wrong "
                    "poses; its difference means nothing."
                )
        if self.noise is None:
            warnings.append(
                "All particles have equal weight, because the latents have no uncertainties."
            )
        else:
            warnings.append(
                "Particles are weighted by the probability that they lie at the "
                "end. According to the posteriors, "
                f"{100 * self.noise:.0f} % of the difference along the axis is noise by which the "
                "particles were selected."
            )
        return warnings

    def as_dict(self) -> dict[str, Any]:
        """Returns the numbers as JSON has them."""
        found = self.difference
        return {
            "particles": [len(end.rows) for end in self.ends],
            "limits": [end.limit for end in self.ends],
            "resolution": [each.resolution for each in self.maps],
            "resolves": [each.resolves for each in self.maps],
            "fsc": [each.correlation.tolist() for each in self.maps],
            "peak_sigma": found.peak,
            "peak_voxel_zyx": list(found.place),
            "limit_sigma": found.limit,
            "significant": found.significant,
            "noise_share": self.noise,
            "words": self.words,
        }

    def write(self, folder: Path, rotation: Array) -> None:
        """Writes the maps, a script for ChimeraX and a picture.

        Args:
            folder: Where to; it must exist.
            rotation: Of all particles, shape (N, 3, 3), as in `Pose`.

        Raises:
            OSError: If a file can't be written.
        """
        found = self.difference
        volumes: dict[str, Array] = {
            "low": found.low,
            "high": found.high,
            "difference": found.difference,
            "significance": found.significance,
        }
        for end, each in zip(self.ends, self.maps, strict=True):
            for number, half in enumerate(each.halves, start=1):
                volumes[f"{end.name}_half{number}"] = half.numpy()
        for name, volume in volumes.items():
            write_volume(folder / f"{self.name}_{name}.mrc", volume, self.pixel_size)
        with replacing(folder / f"{self.name}.cxc") as temporary:
            temporary.write_text(self._script(), encoding="utf-8")
        seen = [rotation[end.rows] for end in self.ends]
        correlations = [each.correlation.numpy() for each in self.maps]
        figure = draw_ends(self.name, found, seen, correlations, self.pixel_size)
        with replacing(folder / f"{self.name}.png") as temporary:
            figure.savefig(temporary, format="png", dpi=120)

    def _script(self) -> str:
        """Both ends played to and fro, and where they differ beyond noise."""
        low, limit = self.difference.low, self.difference.limit
        names = [f"{self.name}_low.mrc", f"{self.name}_high.mrc"]
        played = chimerax_script(names, float(low.mean() + 3 * low.std()))
        return (
            f"{played}# More density at the high end is red, less is blue.\n"
            f"open {self.name}_significance.mrc id 9\n"
            f"volume #9 style mesh step 1 level {-limit:.3g} color #0072B2 level {limit:.3g} "
            "color #D55E00\n"
        )


@dataclass(frozen=True)
class _Images:
    """Images, their half sets, and what receives the progress."""

    images: ParticleDataset
    half: Tensor
    told: Callable[[int], None] = field(default=lambda _: None)


def map_axis(
    name: str,
    value: Array,
    width: Array | None,
    images: ParticleDataset,
    *,
    share: float = 0.2,
    half: Tensor | None = None,
    told: Callable[[int], None] = lambda _: None,
) -> AxisMaps:
    """Makes maps at both ends of an axis by back-projection.

    Args:
        name: Of the axis, as files are to be called.
        value: Coordinate of each particle, shape (N,).
        width: Standard deviation of each coordinate's posterior, shape (N,), or None.
        images: The particles, in this order.
        share: Share of the particles that each end's limit leaves outside.
        half: Half set of each particle, 0 or 1, shape (N,); None draws them at random.
        told: Called with the number of particles of each batch.

    Returns:
        The maps.

    Raises:
        ValueError: If the axis has no ends, or an end has too few particles for two halves.
    """
    ends = axis_ends(value, width, share)
    seen = _Images(images, half_sets(len(images), 0) if half is None else half, told)
    low, high = (_mapped(name, end, width is not None, seen) for end in ends)
    size = images.stack.pixel_size
    difference = compare_maps(low, high, max(low.resolution, high.resolution) / size)
    noise = None if width is None else chosen_noise(value, width)
    views = tuple(_view(end, images.stack.rotation) for end in ends)
    return AxisMaps(name, ends, (low, high), difference, tuple(filter(None, views)), noise, size)


def _mapped(name: str, end: AxisEnd, weighted: bool, seen: _Images) -> DensityMaps:
    """Maps of the particles at an end."""
    weight = torch.from_numpy(end.weight) if weighted else None
    rows = torch.from_numpy(end.rows)
    try:
        return make_half_maps(seen.images, seen.half, rows, weight, seen.told)
    except ValueError as error:
        if "half sets of" not in str(error):
            raise
        raise ValueError(
            f"{name}: {len(rows)} particles at the {end.name} end are too few for two half maps; "
            "take a larger share by --ends"
        ) from error


def _view(end: AxisEnd, rotation: npt.NDArray[np.float32] | None) -> str:
    """What is to be said of an end that is not seen from everywhere."""
    if rotation is None:
        return ""
    chosen = np.zeros(len(rotation), dtype=bool)
    chosen[end.rows] = True
    with contextlib.suppress(ValueError):
        found = view_share(chosen, rotation)
        if found.depends:
            return found.words.replace("The set", f"The {end.name} end", 1)
    return ""
