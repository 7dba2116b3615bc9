"""Poses that are not known are found, and written with how sure they are."""

import math
from pathlib import Path

import numpy as np
import pytest
import roma
import torch
from torch import Tensor

from cryo_disentangle.geometry import in_plane_rotation
from cryo_disentangle.geometry.rotations import geodesic_distance
from cryo_disentangle.particles import ParticleStack
from cryo_disentangle.simulation import (
    AdenylateKinase,
    LaplacePairs,
    Microscope,
    Simulation,
    UniformViews,
    WhiteNoise,
)
from cryo_disentangle.statistics.hypotheses import PoseSearch
from cryo_disentangle.statistics.making import ParticleRows, half_sets, make_statistics
from cryo_disentangle.statistics.nuisance import Nuisance
from cryo_disentangle.statistics.searching import search_poses
from cryo_disentangle.statistics.settings import SubspaceSettings
from cryo_disentangle.statistics.views import open_images
from cryo_disentangle.types import Pose
from tests.statistics.simulated import Silent

COUNT, SEED = 400, 4
LEFT = Nuisance(rotation=3.0, shift=0.5)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> ParticleStack:
    folder = tmp_path_factory.mktemp("stack")
    simulation = Simulation(
        AdenylateKinase(),
        LaplacePairs(2, 0.2, 0.1),
        Microscope(UniformViews(), None, None, WhiteNoise(10.0)),
        n_images=COUNT,
        box_size=16,
        pixel_size=6.8,
        seed=SEED,
    )
    simulation.write(folder)
    return ParticleStack.open(folder / "particles.mrcs", poses=folder / "poses.pkl")


def _searched(stack: ParticleStack, pose: Pose, search: PoseSearch) -> tuple[Tensor, Tensor]:
    """Angles to the true poses in degrees, and translations."""
    settings = SubspaceSettings(rank=1, nuisance=LEFT, search=search)
    half = half_sets(COUNT, 0)
    images = open_images(stack.posed(pose), invert=True, norm=None)
    found = search_poses(images, half, settings, Silent())
    assert found.pose.translation is not None
    assert float(found.probability.min()) > 0
    assert float(found.probability.max()) <= 1
    # The inverted molecule has the same images, all turned by half a circle.
    inverted = in_plane_rotation(torch.tensor(math.pi)) @ found.pose.rotation
    angles = [_errors(rotation, _true(stack), half) for rotation in (found.pose.rotation, inverted)]
    return min(angles, key=lambda each: float(each.median())), found.pose.translation


def _errors(rotation: Tensor, truth: Tensor, half: Tensor) -> Tensor:
    """Angles in degrees up to a rotation of each half's frame."""
    rotation = rotation.clone()
    for number in (0, 1):
        mine = half == number
        rotation[mine] @= roma.special_procrustes((rotation[mine].mT @ truth[mine]).sum(0))
    return geodesic_distance(rotation, truth).rad2deg()


def _true(stack: ParticleStack) -> Tensor:
    return torch.from_numpy(stack.rotation)


def _coarse(stack: ParticleStack, degrees: float, pixels: float) -> Pose:
    """Poses that are wrong in every part."""
    generator = torch.Generator().manual_seed(SEED)
    turn = torch.randn(COUNT, 3, generator=generator) * math.radians(degrees)
    shift = torch.randn(COUNT, 2, generator=generator) * pixels
    return Pose(roma.rotvec_to_rotmat(turn) @ _true(stack), shift)


def _twisted(stack: ParticleStack) -> Pose:
    """Poses of the right directions, turned about the beam at random."""
    generator = torch.Generator().manual_seed(SEED)
    angle = 2 * math.pi * torch.rand(COUNT, generator=generator)
    return Pose(in_plane_rotation(angle) @ _true(stack))


def test_in_plane_angles_are_found_from_nothing(stack: ParticleStack) -> None:
    angles, _ = _searched(stack, _twisted(stack), PoseSearch(in_plane=True, radius=6))
    assert float(angles.median()) < 8
    assert float((angles > 30).float().mean()) < 0.3


def test_a_coarse_start_is_refined(stack: ParticleStack) -> None:
    search = PoseSearch(rotation=12.0, shift=1.0, radius=6)
    angles, shift = _searched(stack, _coarse(stack, 12.0, 1.0), search)
    # Three axes of 12 degrees are 18.5 in the median.
    assert float(angles.median()) < 9
    assert float((shift - shift.mean(0)).std()) < 0.5


def test_poses_found_are_written_and_kept(
    stack: ParticleStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = _twisted(stack)
    images = open_images(stack.posed(given), invert=True, norm=None)
    rows = ParticleRows(images, np.arange(COUNT), COUNT)
    settings = SubspaceSettings(
        rank=1, radius=6, nuisance=LEFT, search=PoseSearch(in_plane=True, radius=6)
    )
    out = tmp_path / "out"
    making = "cryo_disentangle.statistics.making"
    with monkeypatch.context() as patched:
        patched.setattr(f"{making}.estimate", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            make_statistics(rows, out, settings, Silent())
    monkeypatch.setattr(f"{making}.search_poses", _interrupted)
    folder = make_statistics(rows, out, settings, Silent())
    assert folder is not None
    written = ParticleStack.open(out / "refined.star")
    assert written.rotation is not None
    near = geodesic_distance(torch.from_numpy(written.rotation), folder.statistics.rotation)
    assert float(near.rad2deg().median()) < 3
    before = geodesic_distance(given.rotation, folder.statistics.rotation)
    assert float(before.rad2deg().median()) > 40
    assert "_disentanglePoseProbability" in (out / "refined.star").read_text()
    with np.load(out / "pose_uncertainty.npz") as uncertainty:
        assert uncertainty["probability"].shape == (COUNT,)
        assert uncertainty["rotation_deg"].shape == (COUNT, 3)
    # They are of the particles as they were given.
    assert folder.origin.n_particles == COUNT
    assert not out.with_name(".out.subspace").exists()


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("search", "nuisance"),
    [
        (PoseSearch(in_plane=True), Nuisance()),
        (PoseSearch(rotation=8.0), Nuisance(shift=1.0)),
        (PoseSearch(rotation=8.0, shift=1.0), Nuisance(rotation=3.0)),
    ],
)
def test_refuses_a_search_whose_errors_are_not_integrated_out(
    search: PoseSearch, nuisance: Nuisance
) -> None:
    with pytest.raises(ValueError, match="a search leaves errors of a few degrees"):
        SubspaceSettings(search=search, nuisance=nuisance)
