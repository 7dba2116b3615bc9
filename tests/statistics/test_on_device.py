"""Statistics made on a device are those made on the CPU, and nothing mixes the two."""

from pathlib import Path

import numpy as np
import pytest
import torch

from cryo_disentangle.statistics import StatisticsFolder, make_statistics
from cryo_disentangle.statistics.nuisance import Nuisance
from cryo_disentangle.statistics.settings import SubspaceSettings
from cryo_disentangle.statistics.subspace import Subspace
from tests import fake_device
from tests.statistics.simulated import Silent, open_rows, write_stack

pytestmark = pytest.mark.skipif(
    not fake_device.is_available(), reason="this torch has no backends in Python"
)

SETTINGS = SubspaceSettings(
    rank=1, radius=4, nuisance=Nuisance(shift=0.5, rotation=2.0, contrast=0.1), refine_poses=True
)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stack(tmp_path_factory.mktemp("stack"), count=100)


def _means(folder: StatisticsFolder) -> torch.Tensor:
    kept = folder.statistics
    return torch.linalg.solve(kept.precision + torch.eye(kept.rank), kept.information)


def test_a_device_makes_the_same(stack: Path) -> None:
    rows = open_rows(stack)
    expected = make_statistics(rows, stack / "cpu", SETTINGS, Silent())
    with fake_device.FakeDevice() as seen:
        found = make_statistics(rows, stack / "gpu", SETTINGS, Silent(), device=fake_device.DEVICE)
    # Images were taken there.
    assert any(kind == "h2d" and "views.py" in place for kind, place, _ in seen.found)
    assert expected is not None
    assert found is not None
    torch.testing.assert_close(_means(found).abs(), _means(expected).abs(), rtol=1e-2, atol=1e-2)
    first, second = (np.load(stack / name / "pose_error.npy") for name in ("cpu", "gpu"))
    np.testing.assert_allclose(first, second, atol=1e-2)


def test_maps_are_taken_on_a_device(stack: Path) -> None:
    rows = open_rows(stack)
    volumes = Subspace.open(stack / "cpu/subspace.pt").volumes()
    settings = SubspaceSettings(radius=4)
    expected = make_statistics(rows, stack / "maps", settings, Silent(), volumes)
    with fake_device.FakeDevice():
        found = make_statistics(
            rows, stack / "maps_gpu", settings, Silent(), volumes, fake_device.DEVICE
        )
    assert expected is not None
    assert found is not None
    torch.testing.assert_close(_means(found), _means(expected), rtol=1e-3, atol=1e-3)
