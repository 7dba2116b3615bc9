"""Views read from a stack are those of whole transforms."""

from pathlib import Path

import pytest
import torch

from cryo_disentangle.imaging import FourierDisc
from cryo_disentangle.particles import ParticleStack
from cryo_disentangle.statistics.views import ParticleViews, open_images
from cryo_disentangle.types import Pose
from tests.statistics.simulated import write_stack


@pytest.mark.parametrize("radius", [5, 8])
@pytest.mark.parametrize("invert", [True, False])
def test_stored_images_give_the_same_views(tmp_path: Path, radius: int, invert: bool) -> None:
    folder = write_stack(tmp_path, count=20)
    bare = ParticleStack.open(folder / "particles.mrcs", poses=folder / "poses.pkl")
    assert bare.rotation is not None
    shift = torch.randn(20, 2, generator=torch.Generator().manual_seed(1))
    pose = Pose(torch.from_numpy(bare.rotation), shift)
    images = open_images(
        ParticleStack.open(folder / "particles.mrcs", poses=pose), invert=invert, norm=None
    )
    disc, rows = FourierDisc(16, radius), torch.tensor([3, 0, 7])
    expected = ParticleViews.of(images.__getitems__(rows.tolist()), disc, 16)
    found = ParticleViews.of_stored(images, rows, disc)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
