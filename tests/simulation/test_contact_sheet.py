from __future__ import annotations

from pathlib import Path

import matplotlib.image
import pytest
import torch

from cryo_disentangle.simulation import (
    Microscope,
    Simulation,
    TwoArms,
    UniformFactors,
    UniformViews,
    WhiteNoise,
)
from cryo_disentangle.simulation.contact_sheet import _corners, draw_contact_sheet


@pytest.mark.parametrize(("arms", "rows"), [(2, 4), (3, 8), (4, 8), (5, 10)])
def test_there_is_a_row_for_each_corner_or_each_extreme(arms: int, rows: int) -> None:
    factors = torch.rand(500, arms, generator=torch.Generator().manual_seed(0))
    corners = _corners(factors)
    assert corners.shape == (rows, arms)
    assert len(corners.unique(dim=0)) == rows


@pytest.mark.usefixtures("whole_pictures")
@pytest.mark.parametrize("noise", [None, WhiteNoise(1.0)])
def test_a_picture_is_written(noise: WhiteNoise | None, tmp_path: Path) -> None:
    simulation = Simulation(
        TwoArms(), UniformFactors(), Microscope(UniformViews(), noise=noise), n_images=3
    )
    draw_contact_sheet(simulation, tmp_path / "sheet.png")
    picture = matplotlib.image.imread(tmp_path / "sheet.png")
    height, width = picture.shape[:2]
    assert width > (1000 if noise else 600)
    assert height > 500
    assert len(torch.from_numpy(picture).flatten().unique()) > 50
