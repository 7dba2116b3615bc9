"""Images of many MRC files behind one pair of numbers: file and slot."""

from __future__ import annotations

import mmap
import os
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cryo_disentangle.files.mrc import MrcHeader

__all__ = ["MappedImages"]

# Well below the 256 open files that some systems allow a process.
_MAX_OPEN = 64
_RESIDENT_BYTES = 32 * 2**20
# Reading across a gap of some images is cheaper than another request.
_GAP = 16


class MappedImages:
    """Memory-mapped images of one box size.

    A bounded number of files is mapped at a time, and pages that were read are given back to the
    operating system, which keeps them in its cache: resident memory does not grow with the stack.

    Args:
        headers: Checked headers of the files.

    Raises:
        ValueError: If images are not square with an even side, or box sizes disagree.
    """

    def __init__(self, headers: Sequence[MrcHeader]) -> None:
        self.headers = list(headers)
        self.box_size = self.headers[0].shape[2]
        for header in self.headers:
            if header.is_volume:
                raise ValueError(
                    f"{header.path}: 3-D volume(s) of {' x '.join(map(str, header.shape))} (space "
                    f"group {header.space_group}), expected images; if it is a stack of images, "
                    f"say so by space group 0 and mz = 1 in its header"
                )
            _, rows, columns = header.shape
            if rows != columns or rows % 2:
                raise ValueError(
                    f"{header.path}: images are {rows} x {columns}, expected a square with an "
                    f"even side"
                )
            if rows != self.box_size:
                raise ValueError(
                    f"{header.path}: box size {rows} disagrees with {self.box_size} of "
                    f"{self.headers[0].path}"
                )
        self._maps: OrderedDict[int, tuple[mmap.mmap, npt.NDArray[Any]]] = OrderedDict()
        self._touched = 0

    def __getstate__(self) -> dict[str, Any]:
        """State for a worker process, which maps the files anew."""
        return self.__dict__ | {"_maps": OrderedDict(), "_touched": 0}

    def read(
        self, file: npt.NDArray[np.integer], slot: npt.NDArray[np.integer]
    ) -> npt.NDArray[np.float32]:
        """Copies images, file by file and front to back.

        Args:
            file: Which header, shape (B,).
            slot: 0-based section in that file, shape (B,).

        Returns:
            Shape (B, D, D), float32, in the order asked for.
        """
        images = np.empty((len(file), self.box_size, self.box_size), dtype=np.float32)
        order = np.lexsort((slot, file))
        bounds = np.flatnonzero(np.diff(file[order])) + 1
        for group in np.split(order, bounds):
            if group.size:
                view = self._view(int(file[group[0]]))
                run = _consecutive(group)
                if run is not None and (sections := _consecutive(slot[group])) is not None:
                    images[run] = view[sections]
                    continue
                for position, section in zip(group.tolist(), slot[group].tolist(), strict=True):
                    images[position] = view[section]
        self._release(images.nbytes)
        return images

    def prefetch(self, file: npt.NDArray[np.integer], slot: npt.NDArray[np.integer]) -> None:
        """Prefetches images into the operating system's cache, front to back, in background.

        Args:
            file: Which header, shape (B,).
            slot: 0-based section in that file, shape (B,).
        """
        if not hasattr(os, "posix_fadvise"):
            return
        order = np.lexsort((slot, file))
        file, slot = file[order], slot[order]
        # Few images that nobody wants (held-out ones) cost less than a request for each run.
        apart = (np.diff(file) != 0) | (np.diff(slot) > _GAP)
        for run in np.split(np.arange(len(order)), np.flatnonzero(apart) + 1):
            if run.size:
                header = self.headers[int(file[run[0]])]
                first, last = int(slot[run[0]]), int(slot[run[-1]])
                size = header.shape[1] * header.shape[2] * header.dtype.itemsize
                with header.path.open("rb") as handle:
                    os.posix_fadvise(
                        handle.fileno(),
                        header.offset + first * size,
                        (last + 1 - first) * size,
                        os.POSIX_FADV_WILLNEED,
                    )

    def _view(self, file: int) -> npt.NDArray[Any]:
        """The mapped values of a file, from the least-recently-used cache."""
        if file in self._maps:
            self._maps.move_to_end(file)
            return self._maps[file][1]
        header = self.headers[file]
        with header.path.open("rb") as handle:
            mapping = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
        count = header.shape[0] * header.shape[1] * header.shape[2]
        view = np.frombuffer(mapping, dtype=header.dtype, count=count, offset=header.offset)
        self._maps[file] = mapping, view.reshape(header.shape)
        if len(self._maps) > _MAX_OPEN:
            self._maps.popitem(last=False)
        return self._maps[file][1]

    def _release(self, n_bytes: int) -> None:
        """Drops resident pages once enough of them have been touched."""
        self._touched += n_bytes
        if self._touched > _RESIDENT_BYTES and hasattr(mmap, "MADV_DONTNEED"):
            for mapping, _ in self._maps.values():
                mapping.madvise(mmap.MADV_DONTNEED)
            self._touched = 0


def _consecutive(rows: npt.NDArray[np.integer]) -> slice | None:
    """Ascending rows without a gap as a slice, which is copied at once; None for others."""
    first = int(rows[0])
    return slice(first, first + len(rows)) if bool((np.diff(rows) == 1).all()) else None
