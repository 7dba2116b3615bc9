"""A simulation as true generator, and as judge of how particles are turned."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor

from cryo_disentangle.decoders import ImplicitDecoder
from cryo_disentangle.encoders import MLPEncoder
from cryo_disentangle.metrics.functional.rotation import rotate_particles
from cryo_disentangle.metrics.permutations import TrueGenerator
from cryo_disentangle.metrics.pose_conformation import PoseConformationMetrics
from cryo_disentangle.modules import HeterogeneousReconstruction
from cryo_disentangle.particles import HartleyPreprocessing
from cryo_disentangle.simulation import (
    ContrastTransferRange,
    Microscope,
    NormalShifts,
    SimulatedDataset,
    Simulation,
    TwoArms,
    UniformFactors,
    UniformViews,
)
from cryo_disentangle.simulation.particles import Particles
from cryo_disentangle.types import ParticleBatch, Pose

BOX = 64
SIMULATION = Simulation(
    TwoArms(),
    UniformFactors(2),
    Microscope(UniformViews(), NormalShifts(0.5), ContrastTransferRange(), None),
    n_images=24,
    box_size=BOX,
    pixel_size=4.0,
)
PREPROCESSING = HartleyPreprocessing(norm=(0.0, 30.0))


def render(factors: Tensor, pose: Pose, batch: ParticleBatch) -> Tensor:
    """What the data would show of true factors."""
    assert pose.translation is not None
    hinges = SIMULATION.hinges(factors)
    particles = Particles(factors, hinges, pose.rotation, pose.translation, batch["ctf"])
    return PREPROCESSING(SIMULATION.clean(particles))


@pytest.fixture(scope="module")
def batch() -> ParticleBatch:
    return SimulatedDataset(SIMULATION, PREPROCESSING, 2).__getitems__(list(range(24)))


def test_the_true_generator_makes_the_data(batch: ParticleBatch) -> None:
    images = TrueGenerator(render).generate(
        batch["factors"], Pose(batch["rotation"], batch["translation"]), batch
    )
    torch.testing.assert_close(images, batch["images"])


@pytest.mark.parametrize(("angle", "floor"), [(90, 2e-4), (180, 1e-5), (270, 2e-4), (35, 5e-3)])
def test_turned_data_are_data_of_turned_particles(
    batch: ParticleBatch, angle: float, floor: float
) -> None:
    turned = rotate_particles(batch, angle)

    def error(pose: Pose, believed: ParticleBatch) -> float:
        """Distance of the rotated images from what another belief predicts."""
        expected = render(batch["factors"], pose, believed)
        return float((turned["images"] - expected).norm() / expected.norm())

    rotation, translation = turned["rotation"], turned["translation"]
    assert error(Pose(rotation, translation), turned) < floor
    assert error(Pose(batch["rotation"], translation), turned) > 0.2
    assert error(Pose(rotation, batch["translation"]), turned) > 0.2
    if angle % 180:
        assert error(Pose(rotation, translation), batch) > 2 * floor


def test_a_model_is_measured_against_the_simulation(batch: ParticleBatch) -> None:
    metric = PoseConformationMetrics(TrueGenerator(render), noise_std=0.3)
    model = HeterogeneousReconstruction(
        BOX,
        conformation_dim=2,
        encoder=partial(MLPEncoder, width=8, layers=1),
        decoder=partial(ImplicitDecoder, width=8, layers=1),
    )
    metric.update(model, batch)
    scores = metric.compute()
    assert all(bool(value.isfinite()) for value in scores.values())
    assert float(scores["conformation_encoder_consistency_normalized"]) > 0.3
    assert "conformation_encoder_consistency_unaligned_normalized" in scores
