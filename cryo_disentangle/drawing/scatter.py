"""What a touchable page shows of particles, in few bytes: axes, colours, images."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from cryo_disentangle.files.paths import replacing

__all__ = ["ScatterColumn", "ScatterData"]

Array = npt.NDArray[Any]
Kind = Literal["linear", "cyclic", "category"]

# An 8-bit palette.
_COLOURS = 256
# Ends of a colour scale, so that a few far values do not take it all.
_ENDS = (0.5, 99.5)


@dataclass(frozen=True)
class ScatterColumn:
    """Numbers of particles, rounded to whole codes.

    Attributes:
        codes: Shape (N,), uint8 or uint16.
        start: Value of code 0.
        step: Difference between two codes.
        kind: How they are coloured: ``linear``, ``cyclic`` or ``category``.
    """

    codes: Array
    start: float
    step: float
    kind: Kind = "linear"

    @classmethod
    def axis(cls, values: Array) -> ScatterColumn:
        """Rounds a coordinate to 65,536 codes.

        Args:
            values: Shape (N,).

        Returns:
            The column.
        """
        return _coded(values, float(values.min()), float(values.max()), np.uint16)

    @classmethod
    def colour(cls, values: Array, kind: Kind = "linear") -> ScatterColumn:
        """Rounds what particles are coloured by to 256 codes.

        Args:
            values: Shape (N,); whole numbers from 0 of categories, degrees of a full turn where
                they are cyclic.
            kind: How they are coloured.

        Returns:
            The column.
        """
        if kind == "category":
            return cls((values % _COLOURS).astype(np.uint8), 0.0, 1.0, kind)
        ends = (-180.0, 180.0) if kind == "cyclic" else np.percentile(values, _ENDS)
        found = _coded(values, float(ends[0]), float(ends[1]), np.uint8)
        return cls(found.codes, found.start, found.step, kind)

    def values(self) -> npt.NDArray[np.float32]:
        """The rounded numbers, shape (N,)."""
        return (self.start + self.step * self.codes).astype(np.float32)

    def ends(self) -> tuple[str, str]:
        """First and last value of the colour scale, in words."""
        if self.kind == "category":
            return "", ""
        last = self.start + self.step * (_COLOURS - 1)
        return f"{self.start:.3g}", f"{last:.3g}"


def _coded(values: Array, low: float, high: float, kind: type[np.unsignedinteger]) -> ScatterColumn:
    levels = np.iinfo(kind).max
    step = (high - low) / levels if high > low else 1.0
    codes = np.clip(np.rint((np.asarray(values, np.float64) - low) / step), 0, levels)
    return ScatterColumn(codes.astype(kind), low, step)


@dataclass(frozen=True)
class ScatterData:
    """Particles of a touchable page.

    Attributes:
        axes: Coordinates by name, at least one.
        colours: What particles can be coloured by, by name.
        lasso: What a saved lasso says besides its positions, as `select` takes it.
        places: Position of each drawn particle among the latents, shape (N,), or None where all
            are drawn.
        pictured: Which of the drawn particles have an image, shape (P,).
        images: Their images, 0 to 255, shape (P, S, S), uint8.
    """

    axes: dict[str, ScatterColumn]
    colours: dict[str, ScatterColumn]
    lasso: dict[str, Any]
    places: Array | None = None
    pictured: Array = field(default_factory=lambda: np.zeros(0, np.int64))
    images: Array = field(default_factory=lambda: np.zeros((0, 1, 1), np.uint8))

    def __len__(self) -> int:
        """Number of particles that are drawn."""
        return len(next(iter(self.axes.values())).codes)

    def write(self, path: Path) -> None:
        """Writes an archive that `read` takes.

        Args:
            path: ``.npz`` file to write.
        """
        columns = {**{f"axis {k}": v for k, v in self.axes.items()}}
        columns |= {f"colour {k}": v for k, v in self.colours.items()}
        kept = {
            name: {"start": column.start, "step": column.step, "kind": column.kind}
            for name, column in columns.items()
        }
        arrays = {f"codes {k}": column.codes for k, column in enumerate(columns.values())}
        if self.places is not None:
            arrays["places"] = self.places
        about = json.dumps({"columns": kept, "lasso": self.lasso})
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(
                file,
                allow_pickle=False,
                about=np.array(about),
                pictured=self.pictured,
                images=self.images,
                **arrays,
            )

    @classmethod
    def read(cls, path: Path) -> ScatterData:
        """Reads what `write` wrote.

        Args:
            path: ``.npz`` file.

        Returns:
            The particles.

        Raises:
            ValueError: If it is no such file.
        """
        try:
            with np.load(path, allow_pickle=False) as archive:
                about = json.loads(str(archive["about"]))
                columns = {
                    name: ScatterColumn(archive[f"codes {k}"], **kept)
                    for k, (name, kept) in enumerate(about["columns"].items())
                }
                places = archive["places"] if "places" in archive.files else None
                pictured, images = archive["pictured"], archive["images"]
        except (KeyError, ValueError, TypeError, BadZipFile) as error:
            raise ValueError(
                f"{path}: particles that `cryo-disentangle evaluate` has written expected; "
                "evaluate the run again"
            ) from error
        parts = {
            kind: {n.removeprefix(f"{kind} "): c for n, c in columns.items() if n.startswith(kind)}
            for kind in ("axis", "colour")
        }
        return cls(parts["axis"], parts["colour"], about["lasso"], places, pictured, images)
