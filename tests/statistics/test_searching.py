"""Poses that are not known are found, and written with how sure they are."""

import math

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
from cryo_disentangle.statistics import StatisticsFolder
from cryo_disentangle.statistics.hypotheses import PoseSearch
from cryo_disentangle.statistics.making import ParticleRows, half_sets, make_statistics
from cryo_disentangle.statistics.nuisance import Nuisance
from cryo_disentangle.statistics.searching import search_poses
from cryo_disentangle.statistics.settings import SubspaceSettings
from cryo_disentangle.statistics.views import open_images
from cryo_disentangle.types import Pose
from tests.statistics.simulated import Silent

COUNT, SEED = 300, 4
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


@pytest.fixture(scope="module")
def made(stack: ParticleStack, tmp_path_factory: pytest.TempPathFactory) -> StatisticsFolder:
    """Statistics at angles found from nothing, made in two goes."""
    images = open_images(stack.posed(_twisted(stack)), invert=True, norm=None)
    rows = ParticleRows(images, np.arange(COUNT), COUNT)
    search = PoseSearch(in_plane=True, radius=6)
    settings = SubspaceSettings(rank=1, radius=6, nuisance=LEFT, search=search)
    out = tmp_path_factory.mktemp("made") / "out"
    making = "cryo_disentangle.statistics.making"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(f"{making}.estimate", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            make_statistics(rows, out, settings, Silent())
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(f"{making}.search_poses", _interrupted)
        folder = make_statistics(rows, out, settings, Silent())
    assert folder is not None
    return folder


def test_in_plane_angles_are_found_from_nothing(
    stack: ParticleStack, made: StatisticsFolder
) -> None:
    found, half = made.statistics.rotation, made.statistics.half
    # The inverted molecule has the same images, all turned by half a circle.
    inverted = in_plane_rotation(torch.tensor(math.pi)) @ found
    angles = [_errors(rotation, _true(stack), half) for rotation in (found, inverted)]
    best = min(angles, key=lambda each: float(each.median()))
    assert float(_errors(_twisted(stack).rotation, _true(stack), half).median()) > 40
    assert float(best.median()) < 8
    assert float((best > 30).float().mean()) < 0.3


def test_a_coarse_start_is_refined(stack: ParticleStack) -> None:
    search = PoseSearch(rotation=12.0, shift=1.0, radius=6)
    settings = SubspaceSettings(rank=1, nuisance=LEFT, search=search)
    images = open_images(stack.posed(_coarse(stack, 12.0, 1.0)), invert=True, norm=None)
    half = half_sets(COUNT, 0)
    pose, probability = search_poses(images, half, settings, Silent())
    # Three axes of 12 degrees are 18.5 in the median.
    assert float(_errors(pose.rotation, _true(stack), half).median()) < 9
    assert pose.translation is not None
    assert float((pose.translation - pose.translation.mean(0)).std()) < 0.5
    assert 0 < float(probability.min()) < float(probability.max()) <= 1


def test_poses_found_are_written_with_how_sure_they_are(made: StatisticsFolder) -> None:
    written = ParticleStack.open(made.path / "refined.star")
    assert written.rotation is not None
    near = geodesic_distance(torch.from_numpy(written.rotation), made.statistics.rotation)
    assert float(near.rad2deg().median()) < 3
    assert "_disentanglePoseProbability" in (made.path / "refined.star").read_text()
    with np.load(made.path / "pose_uncertainty.npz") as uncertainty:
        assert uncertainty["probability"].shape == (COUNT,)
        assert uncertainty["rotation_deg"].shape == (COUNT, 3)
    assert not made.path.with_name(".out.subspace").exists()


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
