"""Latents of a finished run of any program, a row for each particle that it embedded."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Embedding", "LinearVolumes", "ParticlePoses"]

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class ParticlePoses:
    """Poses as the run ended with them.

    Attributes:
        rotation: Shape (n, 3, 3), as in `Pose`.
        translation: Shape (n, 2), (x, y), as in `Pose`, or None.
        unit: Unit of translations: ``px``, ``box`` (fractions of the box) or ``angstrom``.
        source: File they come from.
    """

    rotation: Array
    translation: Array | None
    unit: str
    source: Path

    def take(self, order: Array) -> ParticlePoses:
        """Chooses particles.

        Args:
            order: Positions, shape (m,), or a mask, shape (n,).

        Returns:
            Their poses.
        """
        moved = self.translation
        return replace(
            self,
            rotation=self.rotation[order],
            translation=None if moved is None else moved[order],
        )


@dataclass(frozen=True)
class LinearVolumes:
    """Maps whose sum, weighted by the latents, is a particle's volume.

    Attributes:
        mean: Map at z = 0.
        components: A map for each coordinate of z.
    """

    mean: Path
    components: tuple[Path, ...]


@dataclass(frozen=True)
class Embedding:
    """Latents of n particles and what joins them to a particle file.

    Rows are joined by ``uids`` or ``image_names`` where the program keeps them, else by ``rows``;
    never by count.

    Attributes:
        tool: Program, for example ``cryoSPARC 3DVA``.
        source: File of the latents.
        latents: Shape (n, Z), finite.
        coordinates: Name of each coordinate, Z of them.
        covariance: Posterior covariance of each particle's latents, shape (n, Z, Z), or None.
        errors: Whether covariances are those of errors of estimates, rather than of posteriors.
        rows: Row of each in the particle file that the run was given, shape (n,), int64, or None.
        counted: Whether ``rows`` only count from 0, because the file names no particle.
        uids: cryoSPARC's identifiers, shape (n,), uint64, or None.
        image_names: RELION's image names, shape (n,), or None.
        left_out: Number of particles of the run that have no latents.
        poses: Poses that the run ended with, or None.
        particles: Particle file that the run names, or None; as the run writes it.
        volumes: Maps that are linear in the latents, or None.
        mind: What to mind when the latents are judged, in a sentence, or nothing.
        extra: Further numbers of each particle by name, shape (n,): RECOVAR's ``contrast``.

    Raises:
        ValueError: If latents are no finite numbers of shape (n, Z), or a column has other rows.
    """

    tool: str
    source: Path
    latents: Array
    coordinates: tuple[str, ...] = ()
    covariance: Array | None = None
    errors: bool = False
    rows: Array | None = None
    counted: bool = False
    uids: Array | None = None
    image_names: Array | None = None
    left_out: int = 0
    poses: ParticlePoses | None = None
    particles: str | None = None
    volumes: LinearVolumes | None = None
    mind: str = ""
    extra: dict[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        latents = self.latents
        if latents.ndim != 2 or latents.dtype.kind not in "fiu" or 0 in latents.shape:
            raise ValueError(
                f"{self.source}: latents must be numbers of shape (N, Z), found {latents.dtype} of "
                f"shape {latents.shape}"
            )
        bad = np.flatnonzero(~np.isfinite(latents).all(axis=1))
        if bad.size:
            raise ValueError(
                f"{self.source}: {bad.size} of {len(latents)} latents are not finite, the first in "
                f"row {bad[0] + 1}"
            )
        if not self.coordinates:
            names = tuple(f"z{k + 1}" for k in range(latents.shape[1]))
            object.__setattr__(self, "coordinates", names)
        for name, values in self._columns():
            if len(values) != len(latents):
                raise ValueError(
                    f"{self.source}: {len(latents)} latents, but {len(values)} rows of {name}"
                )

    def __len__(self) -> int:
        """Number of particles that have latents."""
        return len(self.latents)

    def take(self, order: Array) -> Embedding:
        """Chooses particles.

        Args:
            order: Positions, shape (m,), or a mask, shape (n,).

        Returns:
            The embedding of these alone; the others count as left out.
        """
        chosen: dict[str, Any] = {
            name: values[order]
            for name, values in self._columns()
            if name not in ("rotation", "translation") and name not in self.extra
        }
        if self.poses is not None:
            chosen["poses"] = self.poses.take(order)
        chosen["extra"] = {name: values[order] for name, values in self.extra.items()}
        chosen["latents"] = self.latents[order]
        left_out = self.left_out + len(self) - len(chosen["latents"])
        return replace(self, **chosen, left_out=left_out)

    def _columns(self) -> list[tuple[str, Array]]:
        """What has a row for each particle, besides the latents."""
        columns = {
            entry.name: getattr(self, entry.name)
            for entry in fields(self)
            if entry.name in ("covariance", "rows", "uids", "image_names")
        }
        if self.poses is not None:
            columns |= {"rotation": self.poses.rotation, "translation": self.poses.translation}
        columns |= self.extra
        return [(name, values) for name, values in columns.items() if values is not None]
