from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from cryo_disentangle.geometry import euler_zyz_to_rotation
from cryo_disentangle.geometry.rotations import geodesic_distance
from cryo_disentangle.particles.pickles import write_poses
from cryo_disentangle.simulation import (
    ConcentratedViews,
    ContrastTransferFromFile,
    InPlaneViews,
    NormalShifts,
    ShiftsFromFile,
    UniformShifts,
    UniformViews,
    ViewsFromFile,
)
from cryo_disentangle.simulation.draws import Draws
from tests.helpers import shared

DRAWS = Draws.consecutive((11,), 0, 20_000)
ROTATION_ANGLE = stats.rv_histogram(
    (
        1 - np.cos((np.arange(2000) + 0.5) * np.pi / 2000),
        np.linspace(0, np.pi, 2001),
    ),
    density=True,
)


def assert_rotations(rotation: Tensor) -> None:
    identity = torch.eye(3, dtype=rotation.dtype).expand_as(rotation)
    torch.testing.assert_close(rotation @ rotation.transpose(1, 2), identity, atol=1e-9, rtol=0)
    assert bool((torch.linalg.det(rotation) > 0).all())


def test_uniform_views_are_haar_distributed() -> None:
    rotation = UniformViews().rotations(DRAWS)
    assert_rotations(rotation)
    for fixed in (torch.eye(3).double(), rotation[17]):
        # The angle to any fixed rotation has the density (1 - cos a) / pi.
        angle = geodesic_distance(rotation[18:], fixed.expand(len(rotation) - 18, 3, 3))
        assert stats.kstest(angle.numpy(), ROTATION_ANGLE.cdf).pvalue > 1e-3
    # On the sphere each component is uniform (Archimedes).
    for entry in (rotation[:, 2, 0], rotation[:, 2, 2], rotation[:, 0, 1]):
        assert stats.kstest(entry.numpy(), stats.uniform(-1, 2).cdf).pvalue > 1e-3


@pytest.mark.parametrize("concentration", [0.3, 4.0, 200.0])
def test_concentrated_views_are_von_mises_fisher(concentration: float) -> None:
    mean = (1.0, -2.0, 0.5)
    rotation = ConcentratedViews(concentration, mean).rotations(DRAWS)
    assert_rotations(rotation)
    direction = torch.tensor(mean, dtype=torch.float64)
    direction /= direction.norm()
    cosine = rotation[:, 2] @ direction

    # The distribution function of mean·v.
    none = np.exp(-2 * concentration)
    probability = (np.exp(concentration * (cosine.numpy() - 1)) - none) / (1 - none)
    assert stats.kstest(probability, "uniform").pvalue > 1e-3
    # About the mean, and in the plane, all directions alike.
    side = torch.linalg.cross(direction, torch.tensor([0.0, 0.0, 1.0]).double())
    side /= side.norm()
    other = torch.linalg.cross(direction, side)
    azimuth = torch.atan2(rotation[:, 2] @ other, rotation[:, 2] @ side)
    in_plane = torch.atan2(rotation[:, 1] @ direction, rotation[:, 0] @ direction)
    for angle in (azimuth, in_plane):
        assert stats.kstest(angle.numpy(), stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > 1e-3


def test_mean_view_may_be_a_pole() -> None:
    rotation = ConcentratedViews(1e4, (0, 0, -1)).rotations(DRAWS)
    assert float(rotation[:, 2, 2].max()) < -0.99


def test_in_plane_views_turn_one_view() -> None:
    angles = (30.0, 70.0, 110.0)
    view = euler_zyz_to_rotation(torch.tensor(angles, dtype=torch.float64))
    rotation = InPlaneViews(angles, 60).rotations(DRAWS)
    turn = rotation @ view.T
    torch.testing.assert_close(turn[:, 2], torch.eye(3).double()[2].expand(len(turn), 3))
    angle = torch.rad2deg(torch.atan2(turn[:, 1, 0], turn[:, 0, 0]))
    assert stats.kstest(angle.numpy(), stats.uniform(-60, 120).cdf).pvalue > 1e-3


def test_shifts_have_their_distributions() -> None:
    normal = NormalShifts(1.5).translations(DRAWS, 64)
    assert stats.kstest(normal.flatten().numpy(), stats.norm(0, 1.5).cdf).pvalue > 1e-3
    uniform = UniformShifts(3.0).translations(DRAWS, 64)
    assert stats.kstest(uniform.flatten().numpy(), stats.uniform(-3, 6).cdf).pvalue > 1e-3


def test_real_views_shifts_and_ctf_come_from_one_row() -> None:
    file = shared("data/poses/empiar_poses_ctf.npz")
    with np.load(file) as archive:
        quaternion = archive["quat_xyzw_10076"]
        fraction = archive["trans_fraction_10076"]
        defocus = archive["ctf_10076"][:, 2]
    draws = Draws.consecutive((1,), 0, 500)
    views = ViewsFromFile(file, "quat_xyzw_10076")
    rotation = views.rotations(draws)
    assert_rotations(rotation)
    shift = ShiftsFromFile(file, "trans_fraction_10076").translations(draws, 64)
    ctf = ContrastTransferFromFile(file, "ctf_10076").rows(draws, 64, 2.5)
    assert ctf[:, :2].unique(dim=0).tolist() == [[64, 2.5]]
    distance = geodesic_distance(rotation[0].expand_as(views.table), views.table)
    row = int(distance.argmin())
    np.testing.assert_allclose(shift[0] / 64, fraction[row], atol=1e-9)
    assert float(ctf[0, 2]) == defocus[row]
    assert quaternion.shape == (20_000, 4)
    # The preferred views of this set: eigenvalues 0.23, 0.26, 0.51.
    directions = views.rotations(DRAWS)[:, 2]
    moments = torch.linalg.eigvalsh(directions.T @ directions / len(directions))
    np.testing.assert_allclose(moments, [0.23, 0.26, 0.51], atol=0.015)


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("relion31.star", None),
        ("cryosparc_P12_J24_001_particles.cs", None),
        ("toy_rot_trans.pkl", 1000),
    ],
)
def test_views_are_read_from_the_usual_files(name: str, rows: int | None) -> None:
    views = ViewsFromFile(shared(f"data/cryodrgn_tests/{name}"))
    assert views.rotations(Draws.consecutive((1,), 0, 50)).shape == (50, 3, 3)
    assert rows is None or len(views.table) == rows
    shifts = ShiftsFromFile(shared(f"data/cryodrgn_tests/{name}"))
    assert float(shifts.translations(Draws.consecutive((1,), 0, 50), 30).abs().max()) < 15


def test_bad_arguments_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"max_angle_deg must be in \(0, 180\], found 0"):
        InPlaneViews(max_angle_deg=0)
    with pytest.raises(ValueError, match="concentration must be positive, found 0"):
        ConcentratedViews(0)
    with pytest.raises(ValueError, match="mean viewing direction has zero length"):
        ConcentratedViews(1, (0, 0, 0))
    with pytest.raises(ValueError, match="std_px must not be negative, found -1"):
        NormalShifts(-1)
    with pytest.raises(ValueError, match="max_px must not be negative, found -1"):
        UniformShifts(-1)
    write_poses(tmp_path / "r.pkl", np.eye(3)[None], None, 32)
    with pytest.raises(ValueError, match="translations expected, found rotations only"):
        _ = ShiftsFromFile(tmp_path / "r.pkl").table
    np.savez(tmp_path / "m.npz", rotation=2 * np.eye(3)[None])
    with pytest.raises(ValueError, match="not a rotation matrix"):
        _ = ViewsFromFile(tmp_path / "m.npz").table
