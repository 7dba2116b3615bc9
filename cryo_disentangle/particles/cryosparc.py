"""cryoSPARC's particle tables."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from cryo_disentangle.files.cs import CsTable
from cryo_disentangle.files.paths import MissingColumnError
from cryo_disentangle.particles.bounds import check_whole

__all__ = ["CryosparcParticles"]


class CryosparcParticles(CsTable):
    """The particles of a ``.cs`` file."""

    def paths(self) -> Iterator[str]:
        """Reads the stack of each particle.

        Returns:
            One text a row: ``blob/path`` without the mark ``>`` of imported files.

        Raises:
            MissingColumnError: If there is no such field.
            ValueError: If it holds no text.
        """
        if "blob/path" not in self:
            raise MissingColumnError(
                f"{self.path}: no field blob/path, so no images: give the job's passthrough file "
                "as particles, and this one as poses"
            )
        return (text.lstrip(">") for text in self.strings("blob/path"))

    def pose_groups(self) -> list[str]:
        """Names the groups of fields that hold poses in three dimensions.

        Returns:
            For example ``alignments_class_0``, in the file's order.
        """
        return [
            name.removesuffix("/pose")
            for name in self.fields
            if name.endswith("/pose") and self[name].shape[1:] == (3,)
        ]

    def slots(self) -> npt.NDArray[np.int64]:
        """Reads the 0-based place of each image in its stack.

        Returns:
            Shape (N,).

        Raises:
            MissingColumnError: If there is no ``blob/idx``.
            ValueError: If one is not a whole number.
        """
        values = self.numbers("blob/idx")
        check_whole(values, str(self.path), "blob/idx")
        return values.clip(-1, 2**31).astype(np.int64)

    def uid(self) -> npt.NDArray[np.uint64] | None:
        """Reads the numbers that name particles in all files of a project.

        Returns:
            Shape (N,), or None where there are none.

        Raises:
            ValueError: If they are no whole numbers.
        """
        if "uid" not in self:
            return None
        values = np.array(self["uid"])
        if values.dtype.kind not in "iu" or values.ndim != 1:
            raise ValueError(
                f"{self.path}: field uid must hold whole numbers, found {values.dtype}"
            )
        return values.astype(np.uint64)

    def positive(self) -> npt.NDArray[np.bool_] | None:
        """Reads the sign of the contrast.

        With +1 an image is the CTF times the projection: dark, as micrographs are. With -1 it is
        the negative of that: white, as RELION keeps particles.

        Returns:
            Whether ``blob/sign`` is +1, shape (N,); None where it is missing.

        Raises:
            ValueError: If it is neither +1 nor -1.
        """
        if "blob/sign" not in self:
            return None
        sign = self.numbers("blob/sign")
        bad = np.flatnonzero(np.abs(sign) != 1)
        if bad.size:
            raise ValueError(
                f"{self.path}, row {bad[0] + 1}: blob/sign is {sign[bad[0]]:g}, expected 1 or -1"
            )
        return sign > 0
