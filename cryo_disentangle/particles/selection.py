"""Which images of a file are taken, and which rows of other files belong to them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from cryo_disentangle.particles.pickles import read_indices

__all__ = ["Selection"]

Rows = npt.NDArray[np.int64]


class Selection:
    """A selection of the images of a particle file.

    Args:
        indices: 0-based rows, order kept: an array, or a file as `read_indices` takes it; None for
            all.
        total: Number of images in the file.
        particles: The file, for messages.

    Raises:
        FileNotFoundError: If there is no such file of indices.
        ValueError: If the indices are no selection of the images.
    """

    def __init__(
        self, indices: str | Path | npt.ArrayLike | None, total: int, particles: Path
    ) -> None:
        self.total = total
        chosen = None if indices is None else _read(indices, total, particles)
        whole = chosen is None or np.array_equal(chosen, np.arange(total))
        self._chosen = None if whole else chosen

    def __len__(self) -> int:
        """Number of selected images."""
        return self.total if self._chosen is None else len(self._chosen)

    @property
    def whole(self) -> bool:
        """Whether all images are taken, in their order."""
        return self._chosen is None

    @property
    def rows(self) -> Rows:
        """Row in the particle file of each selected image, shape (N,)."""
        return np.arange(self.total) if self._chosen is None else self._chosen

    def of(self, n_rows: int, path: str | Path, *, of_whole_file: bool = False) -> slice | Rows:
        """Finds the rows of another file that belong to the selected images.

        Args:
            n_rows: Number of its rows: one for each image of the particle file, or for each
                selected one.
            path: The file, for messages.
            of_whole_file: Whether a file with a row for each image is meant to be of the whole
                particle file even where as many are selected, as cryoDRGN's ``ctf.pkl`` always is.

        Returns:
            Its rows, in the order of the selection.

        Raises:
            ValueError: If there are not as many rows, or as many images are selected as the file
                has and nothing tells whose rows they are.
        """
        count = len(self)
        if self._chosen is not None and n_rows == self.total:
            if count == n_rows and not of_whole_file:
                raise ValueError(
                    f"{path}: {n_rows} rows, and as many images are selected as the particle file "
                    "has: are they in the order of the file or of the selection? Give them in the "
                    "particle file, or as a .star or .cs, or give no indices"
                )
            return self._chosen
        if n_rows == count:
            return slice(None)
        expected = f"{self.total}"
        if count != self.total:
            expected = f"{count} (selected) or {self.total} (all)"
        raise ValueError(f"{path}: {n_rows} rows, expected one for each image: {expected}")


def _read(indices: str | Path | npt.ArrayLike, total: int, particles: Path) -> Rows:
    """Reads and checks a selection of images."""
    if isinstance(indices, str | Path):
        origin, values = str(indices), read_indices(indices)
    else:
        if np.ma.is_masked(indices):
            raise ValueError("indices: some are masked; leave them out (compressed())")
        origin, array = "indices", np.asarray(indices)
        if array.shape == (0,):
            raise ValueError("indices: no image is selected")
        if array.ndim != 1 or array.dtype.kind not in "iu":
            raise ValueError(
                f"indices must be integers in one dimension, found shape {array.shape} of "
                f"{array.dtype}"
            )
        # Of unsigned numbers, those that are out of range stay so.
        values = array.clip(max=np.iinfo(np.int64).max).astype(np.int64)
    if not values.size:
        raise ValueError(f"{origin}: no image is selected")
    bad = np.flatnonzero((values < 0) | (values >= total))
    if bad.size:
        raise ValueError(
            f"{origin}, entry {bad[0] + 1}: index {values[bad[0]]} is out of range, {particles} "
            f"has {total} images (0 to {total - 1})"
        )
    return values
