"""What all estimators of axes share: the linear map that they find, its interval and verdict."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from cryo_disentangle.axes.noisy import NoisyLatents
from cryo_disentangle.metrics.functional.codes import Array, check_columns

__all__ = [
    "LARGEST_ANGLE",
    "SINGLE",
    "FloatArray",
    "LinearAxes",
    "axis_angles",
    "bootstrap_weights",
    "in_words",
    "match_axes",
]

FloatArray = npt.NDArray[np.float64]

_RESAMPLES = 100
# Axes that are known less well than this are of no use: a tenth of the variance is another's.
LARGEST_ANGLE = 20.0
_LEVEL = 0.95
SINGLE = "Determined: there is a single coordinate, which nothing can be mixed with."


class LinearAxes:
    """A linear change of coordinates of a latent space, found by a subclass's ``fit``.

    Attributes:
        matrix_: Rows are the axes, shape (Z, Z): new coordinates are ``(z - offset_) @ matrix_.T``,
            each of mean 0 and variance 1 over the latents that were fitted.
        offset_: Mean of the latents, shape (Z,).
        angle_: Within how many degrees each axis is known, at 95 %, by the bootstrap, shape (Z,):
            the angle whose cosine is the correlation of the coordinates of two resamples.
        determined_: Whether the data determine the axes.
        verdict_: The finding in words.
        half_angle_: Angle in degrees between each axis in one half set and in the other, shape
            (Z,); None where half sets were not compared (`compare_halves`).
    """

    matrix_: FloatArray
    offset_: FloatArray
    angle_: FloatArray
    determined_: bool
    verdict_: str
    half_angle_: FloatArray | None = None

    @property
    def straight(self) -> LinearAxes:
        """The axes before they were bent; of straight axes these themselves."""
        return self

    def transform(self, latents: Array) -> FloatArray:
        """Expresses latents in the new coordinates.

        Args:
            latents: Shape (N, Z).

        Returns:
            Shape (N, Z).

        Raises:
            AttributeError: If axes have not been fitted.
            ValueError: If the shape is another, or a number is not finite.
        """
        columns = check_columns(latents, "latents", minimum=1).cpu().numpy()
        if columns.shape[1] != len(self.offset_):
            raise ValueError(
                f"latents must have {len(self.offset_)} coordinates as those that were fitted, got "
                f"{columns.shape[1]}"
            )
        return np.asarray((columns - self.offset_) @ self.matrix_.T)

    def transform_covariance(
        self,
        covariance: npt.NDArray[Any],
        latents: Array | None = None,  # noqa: ARG002 - of bent axes alone
    ) -> FloatArray:
        """Expresses covariances of latents in the new coordinates.

        Args:
            covariance: Shape (N, Z, Z), or variances (N, Z).
            latents: That they are of, shape (N, Z); straight axes do not need them.

        Returns:
            Shape (N, Z, Z).
        """
        matrices = np.asarray(covariance, dtype=np.float64)
        if matrices.ndim == 2:
            matrices = matrices[:, :, None] * np.eye(matrices.shape[1])
        return np.asarray(self.matrix_ @ matrices @ self.matrix_.T)

    def inverse_transform(self, coordinates: npt.NDArray[Any]) -> FloatArray:
        """Brings new coordinates back to the latents'.

        Args:
            coordinates: Shape (N, Z).

        Returns:
            Shape (N, Z).
        """
        return np.linalg.solve(self.matrix_, np.asarray(coordinates).T).T + self.offset_

    def compare_halves(
        self, halves: tuple[LinearAxes, LinearAxes], covariance: npt.NDArray[Any]
    ) -> None:
        """Adds to the finding whether half sets have these axes, and takes them back if not.

        Axes may differ as far as `LARGEST_ANGLE`, or as resampled particles of both allow.

        Args:
            halves: Axes of each half set.
            covariance: Of the latents, shape (Z, Z).
        """
        spread = torch.from_numpy(covariance)
        here = torch.from_numpy(self.matrix_)
        matrices = torch.stack([torch.from_numpy(half.matrix_) for half in halves])
        places = match_axes(matrices, here, spread)
        one, other = (m[place] for m, place in zip(matrices, places, strict=True))
        own = [half.angle_[place.numpy()] for half, place in zip(halves, places, strict=True)]
        cosine = _cosines(one[None], other, spread)[0].diagonal()
        self.half_angle_ = torch.rad2deg(torch.arccos(cosine)).numpy()
        allowed = np.maximum(LARGEST_ANGLE, np.hypot(*own))
        apart = ", ".join(f"{angle:.0f}°" for angle in self.half_angle_)
        if (self.half_angle_ <= allowed).all():
            self.verdict_ += f" Axes of the two half sets are {apart} apart."
            return
        self.determined_ = False
        self.verdict_ = (
            f"Not determined: axes of the two half sets are {apart} apart, more than resampling "
            "explains: what they follow is in "
            "one half of the data only."
        )

    def _settle(self, axes: Tensor, order: Tensor, latents: NoisyLatents, raw: Tensor) -> Tensor:
        """Keeps axes, found in the frame of noisy latents, in an order and in a latent's units.

        Args:
            axes: Rows are the axes, shape (Z, Z).
            order: Which come first, shape (Z,).
            latents: What they were found from.
            raw: Latents as they were given, shape (N, Z).

        Returns:
            The axes in their order, in the frame of the noisy latents, signed as those kept.
        """
        matrix = axes[order] @ latents.frame
        offset = raw.mean(0)
        matrix = matrix / ((raw - offset) @ matrix.T).std(0, correction=0)[:, None]
        largest = matrix.gather(1, matrix.abs().argmax(1, keepdim=True))
        matrix = matrix * largest.sign()
        self.matrix_ = matrix.cpu().numpy()
        self.offset_ = offset.cpu().numpy()
        return matrix @ torch.linalg.inv(latents.frame)

    def _spread_of(
        self, resamples: Tensor, axes: Tensor, covariance: Tensor, scale: float = 1.0
    ) -> None:
        """Keeps the angles within which resampled axes lie, times a factor."""
        angles = scale * axis_angles(resamples, axes, covariance)
        self.angle_ = torch.quantile(angles, _LEVEL, dim=0).cpu().numpy()


def match_axes(found: Tensor, reference: Tensor, covariance: Tensor) -> Tensor:
    """Finds which axis is which of a reference.

    Args:
        found: Rows are axes, shape (R, Z, Z).
        reference: Likewise, shape (Z, Z).
        covariance: Of the latents, shape (Z, Z): axes are compared by the correlation of the
            coordinates along them.

    Returns:
        Row of each of the reference's axes, shape (R, Z), int64.
    """
    cosine = _cosines(found, reference, covariance).cpu().numpy()
    rows = [linear_sum_assignment(-one.T)[1] for one in cosine]
    return torch.from_numpy(np.stack(rows)).to(found.device)


def axis_angles(found: Tensor, reference: Tensor, covariance: Tensor) -> Tensor:
    """Measures angles between axes and those of a reference that they match best.

    Args:
        found: As in `match_axes`.
        reference: As in `match_axes`.
        covariance: As in `match_axes`: a correlation is the cosine of the angle.

    Returns:
        Degrees, shape (R, Z), in the reference's order.
    """
    cosine = _cosines(found, reference, covariance)
    rows = match_axes(found, reference, covariance)
    return torch.rad2deg(torch.arccos(cosine.gather(1, rows[:, None]).squeeze(1)))


def _cosines(found: Tensor, reference: Tensor, covariance: Tensor) -> Tensor:
    """Size of the correlation of each found axis with each of the reference, (R, Z, Z)."""

    def units(axes: Tensor) -> Tensor:
        return axes / (axes @ covariance * axes).sum(-1, keepdim=True).sqrt()

    return (units(found) @ covariance @ units(reference).T).abs().clamp(max=1)


def bootstrap_weights(count: int, seed: int = 0) -> Iterator[Tensor]:
    """Counts each particle in each bootstrap resample.

    Args:
        count: Number N of particles, or of blocks of them.
        seed: Of the resamples.

    Yields:
        Shape (N,), float64, of sum N, once for each of the resamples.
    """
    generator = torch.Generator().manual_seed(seed)
    for _ in range(_RESAMPLES):
        drawn = torch.randint(count, (count,), generator=generator)
        yield torch.bincount(drawn, minlength=count).double()


def in_words(angle: FloatArray) -> str:
    """Describes in words how well axes are known.

    Args:
        angle: Degrees, shape (Z,).

    Returns:
        A sentence.
    """
    degrees = ", ".join(f"{value:.0f}°" for value in angle)
    return f"Resampled particles move the axes by up to {degrees} (95 %)."
