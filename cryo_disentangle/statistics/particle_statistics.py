"""What an image tells of its particle's coefficients in a subspace of volumes."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

__all__ = ["ParticleStatistics"]

_ASYMMETRY, _NEGATIVE = 1e-4, 1e-4
_CHECKED_AT_ONCE = 2**16


@dataclass(frozen=True, eq=False)
class ParticleStatistics:
    """Gaussian likelihoods of N particles' coefficients c (K,), in information form.

    log p(image_i | c) = -½ cᵀ Λ_i c + b_iᵀ c - ½ |r_i|² + const, with the whitened slices A_i of
    the K volumes as particle i shows them and the whitened image r_i without the mean's slice:
    Λ_i = A_iᵀ A_i and b_i = A_iᵀ r_i.

    Args:
        precision: Λ, shape (N, K, K), symmetric positive semidefinite.
        information: b, shape (N, K).
        offset: |r|², shape (N,).
        index: Row of each particle in the particle file, shape (N,), int64.
        half: Half set, 0 or 1, shape (N,), int64.
        rotation: Rotation that the slices were taken at, as in `Pose`, shape (N, 3, 3).

    References:
        Tipping and Bishop 1999, Probabilistic principal component analysis, for equal A_i; Punjani
        and Fleet 2021, 3D variability analysis.
    """

    precision: Tensor
    information: Tensor
    offset: Tensor
    index: Tensor
    half: Tensor
    rotation: Tensor

    @property
    def rank(self) -> int:
        """Number K of volumes besides the mean."""
        return self.information.shape[-1]

    def __len__(self) -> int:
        """Number of particles."""
        return len(self.information)

    def take(self, rows: slice | Tensor) -> ParticleStatistics:
        """Selects particles.

        Args:
            rows: Positions among the N, a slice or shape (M,), int64.

        Returns:
            Their statistics, in that order.
        """
        return ParticleStatistics(*(getattr(self, field.name)[rows] for field in fields(self)))

    def check(self, source: str) -> None:
        """Refuses statistics that are none.

        Args:
            source: Where they come from, for messages.

        Raises:
            ValueError: If shapes disagree, a value is not finite, a precision matrix is not
                symmetric positive semidefinite, an offset is negative, a row of the particle file
                is negative or named twice, or half sets are not 0 and 1, both with particles.
        """
        self._check_shapes(source)
        _check_rows(self.index, source)
        _check_halves(self.half, source)
        for start in range(0, len(self), _CHECKED_AT_ONCE):
            self.take(slice(start, start + _CHECKED_AT_ONCE))._check_values(source, start)

    def _check_shapes(self, source: str) -> None:
        """Refuses arrays of other shapes than the information's."""
        if self.information.ndim != 2 or 0 in self.information.shape:
            raise ValueError(
                f"{source}: information must have shape (N, K), found "
                f"{tuple(self.information.shape)}"
            )
        count, rank = self.information.shape
        expected = {
            "precision": (count, rank, rank),
            "offset": (count,),
            "index": (count,),
            "half": (count,),
            "rotation": (count, 3, 3),
        }
        for name, shape in expected.items():
            found = tuple(getattr(self, name).shape)
            if found != shape:
                raise ValueError(
                    f"{source}: {name} must have shape {shape}, for information of shape "
                    f"{(count, rank)}, found {found}"
                )

    def _check_values(self, source: str, first: int) -> None:
        """Refuses values of a block whose first particle is at position ``first``."""
        for name in ("precision", "information", "offset", "rotation"):
            values = getattr(self, name)
            bad = ~values.isfinite().reshape(len(self), -1).all(1)
            _refuse(bad, source, first, f"{name} is not finite")
        _refuse(self.offset < 0, source, first, "offset, a squared norm, is negative")
        size = self.precision.diagonal(dim1=1, dim2=2).abs().amax(1)
        tilted = (self.precision - self.precision.mT).abs().amax((1, 2)) > _ASYMMETRY * size
        _refuse(tilted, source, first, "precision is not symmetric")
        # Rounding may leave a singular matrix with eigenvalues a little below zero.
        lift = (_NEGATIVE * size).clamp_min(torch.finfo(size.dtype).tiny)
        eye = torch.eye(self.rank, dtype=size.dtype, device=size.device)
        failed = torch.linalg.cholesky_ex(self.precision + lift[:, None, None] * eye).info > 0
        _refuse(failed, source, first, "precision has a negative eigenvalue")


def _refuse(bad: Tensor, source: str, first: int, what: str) -> None:
    """Refuses a block some of whose particles are bad, naming the first of them."""
    if bool(bad.any()):
        row = first + int(bad.nonzero()[0, 0]) + 1
        raise ValueError(
            f"{source}, row {row}: {what} ({int(bad.sum())} such rows from row {first + 1} on); "
            "make the statistics again"
        )


def _check_rows(index: Tensor, source: str) -> None:
    """Refuses rows of the particle file that cannot be, or are named twice."""
    if index.is_floating_point() or bool((index < 0).any()):
        raise ValueError(
            f"{source}: index must be rows of the particle file, whole numbers from 0 on, found "
            f"{index.dtype} from {index.min().item()}"
        )
    rows, counts = index.unique(return_counts=True)
    if bool((counts > 1).any()):
        raise ValueError(
            f"{source}: row {int(rows[counts > 1][0])} of the particle file (counted from 0) has "
            "more than one statistic"
        )


def _check_halves(half: Tensor, source: str) -> None:
    """Refuses half sets that are not two."""
    found = half.unique().tolist()
    if found not in ([0, 1], [False, True]):
        raise ValueError(
            f"{source}: half must be 0 or 1, both with particles, found {found}: statistics of a "
            "half set come from the other half's subspace, so that both are needed"
        )
