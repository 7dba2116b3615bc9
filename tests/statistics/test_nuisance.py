"""Errors of poses and contrast are derivatives of the image, and can be taken back."""

import math

import pytest
import torch

from cryo_disentangle.decoders.spline import pair_nodes
from cryo_disentangle.statistics.nuisance import Nuisance
from cryo_disentangle.statistics.posterior import residuals
from cryo_disentangle.statistics.views import ParticleViews
from tests.statistics.test_posterior import random_subspace, random_views


def _seen(views: ParticleViews) -> torch.Tensor:
    """The mean's slices at the views' poses, beside which they lie."""
    subspace = random_subspace()
    white = views.whitened(subspace.point_noise)
    return residuals(subspace.grid, subspace.paired, white).mean


@pytest.mark.parametrize(
    "nuisance", [Nuisance(shift=0.5), Nuisance(rotation=4.0), Nuisance(0.5, 4.0)]
)
def test_columns_are_what_correcting_a_pose_changes(nuisance: Nuisance) -> None:
    subspace = random_subspace()
    views = random_views(subspace, 6)
    white = views.whitened(subspace.point_noise)
    grid, mean = subspace.grid, pair_nodes(subspace.nodes[:, :1])
    columns = nuisance.columns(grid, mean, views.rotation, residuals(grid, subspace.paired, white))
    assert columns is not None
    assert columns.shape[2] == nuisance.count
    for number in range(nuisance.count):
        ends = []
        for sign in (1, -1):
            error = torch.zeros(6, nuisance.count)
            error[:, number] = sign * 1e-2
            # Residuals at the corrected pose; only slices move here, or only the image.
            moved = nuisance.corrected(white, error, grid)
            ends.append(residuals(grid, subspace.paired, moved).residual)
        change = (ends[1] - ends[0]) / 2e-2
        if number < 2 and nuisance.shift:
            # Moving the image changes its residual as moving the slice the other way would.
            image = white.coefficients.flip(2)
            step = 2 * math.pi * nuisance.shift / grid.box_size * grid.points[:, number]
            signed = torch.stack([step, -step], 1)
            torch.testing.assert_close(change, -(image * signed).flatten(1), rtol=2e-3, atol=2e-3)
        else:
            torch.testing.assert_close(columns[..., number], change, rtol=1e-2, atol=2e-2)


def test_shift_columns_are_shifts_of_the_slice() -> None:
    subspace = random_subspace()
    views = random_views(subspace, 3)
    white = views.whitened(subspace.point_noise)
    nuisance, grid = Nuisance(shift=0.5), subspace.grid
    seen = residuals(grid, subspace.paired, white)
    columns = nuisance.columns(grid, pair_nodes(subspace.nodes[:, :1]), views.rotation, seen)
    assert columns is not None
    error = torch.tensor([[1e-2, -2e-2]]).expand(3, 2)
    clean = white._replace(coefficients=seen.mean.unflatten(1, (-1, 2)))
    # An image whose translation is wrong by an error is the slice moved the other way.
    image = nuisance.corrected(clean, -error, grid).coefficients.flatten(1)
    change = (columns @ error[..., None])[..., 0]
    torch.testing.assert_close(image - seen.mean, change, rtol=1e-2, atol=2e-3)


def test_contrast_is_the_slice_itself() -> None:
    subspace = random_subspace()
    views = random_views(subspace, 3).whitened(subspace.point_noise)
    seen = residuals(subspace.grid, subspace.paired, views)
    found = Nuisance(contrast=0.2).columns(
        subspace.grid, pair_nodes(subspace.nodes[:, :1]), views.rotation, seen
    )
    assert found is not None
    torch.testing.assert_close(found[..., 0], 0.2 * seen.mean)


@pytest.mark.parametrize("name", ["shift", "rotation", "contrast"])
@pytest.mark.parametrize("value", [-1.0, math.inf, math.nan])
def test_refuses_what_is_no_deviation(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} must be a standard deviation, 0 or more, found"):
        Nuisance(**{name: value})
