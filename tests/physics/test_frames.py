from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cryo_disentangle.cli import main
from cryo_disentangle.held_out.oracle import posterior_of_stack
from cryo_disentangle.held_out.sources import SimulatedFolder
from cryo_disentangle.physics.collective import hinge_angles
from cryo_disentangle.physics.frames import DynamicsFrames, DynamicsPairs, DynamicsResidues
from cryo_disentangle.physics.trajectories import hinges_of, open_trajectories
from cryo_disentangle.simulation import (
    LinearMixing,
    Microscope,
    Simulation,
    UniformViews,
    WhiteNoise,
)
from cryo_disentangle.simulation.draws import Draws

DRAWS = Draws.consecutive((3,), 0, 3000)


def test_factors_are_the_hinge_angles_of_what_is_seen() -> None:
    found = DynamicsFrames().sample(DRAWS)
    assert found.coordinates is not None
    centres = DynamicsResidues().centres(found.coordinates[:50])
    np.testing.assert_allclose(hinge_angles(centres.numpy()), found.factors[:50], atol=1e-3)


def test_temperatures_are_those_of_the_runs() -> None:
    everything = DynamicsFrames().sample(DRAWS)
    assert everything.temperature is not None
    levels, counts = everything.temperature.unique(return_counts=True)
    assert levels.tolist() == open_trajectories().kelvin.tolist()
    assert counts.min() > 500
    two = DynamicsFrames((330.0, 270.0)).sample(DRAWS)
    assert two.temperature is not None
    assert two.temperature.unique().tolist() == [270.0, 330.0]
    hot = two.factors[two.temperature == 330.0]
    assert torch.isin(hot[:, 0].float(), torch.from_numpy(hinges_of()[4, :, 0])).all()
    with pytest.raises(ValueError, match="of 270, 285, 300, 315, 330 K, found 310 K"):
        DynamicsFrames((310.0,))


def test_pairs_are_frames_a_lag_apart() -> None:
    process = DynamicsPairs(lag_ps=30.0)
    found = process.sample(DRAWS)
    assert found.time is not None
    assert found.trajectory is not None
    assert found.time[:4].tolist() == [0, 30, 0, 30]
    assert found.trajectory[:4].tolist() == [0, 0, 1, 1]
    run = torch.from_numpy(hinges_of()[2]).double()
    for pair in found.factors[:20].split(2):
        first = int((run - pair[0]).abs().sum(1).argmin())
        torch.testing.assert_close(run[first + 5], pair[1])
    part = process.sample(Draws.consecutive((3,), 101, 7))
    torch.testing.assert_close(part.factors, found.factors[101:108])
    still = DynamicsPairs(lag_ps=0.0).sample(DRAWS)
    torch.testing.assert_close(still.factors[0::2], still.factors[1::2], rtol=0, atol=0)
    for lag in (-6.0, 7.0, 1e6):
        with pytest.raises(ValueError, match="multiple of 6 ps and shorter than the run of 30000"):
            DynamicsPairs(lag_ps=lag)


def test_a_simulation_refuses_what_the_factors_do_not_determine() -> None:
    simulation = Simulation(
        DynamicsResidues(),
        DynamicsFrames(),
        Microscope(UniformViews()),
        n_images=8,
        box_size=64,
        pixel_size=1.7,
    )
    assert not simulation.determined
    with pytest.raises(ValueError, match="DynamicsFrames do not determine the coordinates"):
        simulation.hinges(torch.zeros(2, 2))
    with pytest.raises(ValueError, match="mixing null expected, found LinearMixing"):
        replace(simulation, mixing=LinearMixing(2, 45.0, 0.5))


def test_there_is_no_oracle_of_factors_that_determine_nothing(tmp_path: Path) -> None:
    scope = Microscope(UniformViews(), noise=WhiteNoise(1.0))
    parts = (DynamicsResidues(), DynamicsFrames(), scope)
    Simulation(*parts, n_images=4, box_size=64, pixel_size=1.7).write(tmp_path / "stack")
    with pytest.raises(ValueError, match="2 true factors do not determine the 60 coordinates"):
        posterior_of_stack(SimulatedFolder(tmp_path / "stack"), np.arange(4))


def test_stacks_are_simulated_from_a_configuration(tmp_path: Path) -> None:
    config = Path(__file__).parents[2] / "configs/simulate/adk_dynamics.yaml"
    out = tmp_path / "stack"
    main(["simulate", "--config", str(config), "--out", str(out), "--n_images=60"])
    truth = np.load(out / "truth.npz")
    assert truth["factors"].shape == (60, 2)
    assert truth["hinges"].shape == (60, DynamicsResidues().dim)
    assert set(truth["temperature"]) <= set(open_trajectories().kelvin)
    assert (out / "contact_sheet.png").stat().st_size > 10_000
