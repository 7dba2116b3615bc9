"""Held-out particles: which, how they are prepared, and what they were made by."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import lightning as L
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cryo_disentangle.decoders import ImplicitDecoder
from cryo_disentangle.held_out.particles import HeldOutParticles
from cryo_disentangle.particles import HartleyPreprocessing, ParticleData, RealPreprocessing
from cryo_disentangle.simulation import (
    LearnedMolecule,
    Microscope,
    NormalFactors,
    SimulatedParticles,
    Simulation,
    UniformViews,
    WhiteNoise,
)
from cryo_disentangle.types import Pose
from tests.callbacks import scored_runs

SIMULATION = scored_runs.simulation(1, n_images=30)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated stack."""
    path = tmp_path_factory.mktemp("held_out") / "stack"
    SIMULATION.write(path)
    return path


def process(
    data: L.LightningDataModule | None = None, rank: int = 0, world_size: int = 1
) -> L.Trainer:
    """All that is asked of a Trainer."""
    known = SimpleNamespace(datamodule=data, global_rank=rank, world_size=world_size)
    return cast(L.Trainer, known)


def opened(trainer: L.Trainer, *arguments: Any) -> HeldOutParticles:
    particles = HeldOutParticles(*arguments)
    particles.open(trainer)
    return particles


@given(count=st.integers(2, 40), batch_size=st.integers(2, 12), processes=st.integers(1, 5))
@settings(max_examples=15)
def test_processes_share_whole_batches(count: int, batch_size: int, processes: int) -> None:
    def indices(rank: int, world_size: int) -> list[tuple[int, ...]]:
        trainer = process(None, rank, world_size)
        held_out = opened(trainer, SIMULATION, count, batch_size, HartleyPreprocessing())
        return [tuple(batch["index"].tolist()) for batch in held_out.batches(trainer)]

    whole = indices(0, 1)
    assert sorted(chain(*whole)) == list(range(count))
    sizes = {len(batch) for batch in whole}
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1
    shares = [indices(rank, processes) for rank in range(processes)]
    assert all(shares)
    assert set(chain(*shares)) == set(whole)
    if len(whole) >= processes:
        assert sum(map(len, shares)) == len(whole)


def test_a_stack_is_read_evenly_and_with_its_truth(folder: Path) -> None:
    trainer = process()
    held_out = opened(trainer, folder, 7, 4, RealPreprocessing())
    batches = list(held_out.batches(trainer))
    index = torch.cat([batch["index"] for batch in batches])
    assert index.tolist() == [0, 4, 8, 12, 17, 21, 25]
    with np.load(folder / "truth.npz") as truth:
        factors = torch.cat([batch["factors"] for batch in batches])
        assert torch.equal(factors, torch.from_numpy(truth["factors"][index]))
    assert len(list(opened(trainer, folder, 4000, 64, RealPreprocessing()).batches(trainer))) == 1


def test_images_are_prepared_as_the_runs_are(folder: Path) -> None:
    files: dict[str, Any] = {"poses": folder / "poses.pkl", "ctf": folder / "ctf.pkl"}
    data = ParticleData(
        folder / "particles.mrcs", **files, preprocessing=RealPreprocessing(norm=(0.5, 3.0))
    )
    own = SimulatedParticles(SIMULATION, RealPreprocessing(norm=(0.0, 7.0)))
    raw = SIMULATION.images(SIMULATION.stack_draws(0, 30))[0]

    def first(source: Any, data: Any, preprocessing: Any = None) -> torch.Tensor:
        trainer = process(data)
        held_out = opened(trainer, source, 30, 30, preprocessing)
        return next(iter(held_out.batches(trainer)))["images"]

    expected = data.preprocessing(raw)
    torch.testing.assert_close(first(folder, data), expected, rtol=1e-4, atol=1e-4)
    # (x - 0.5) / 3 by the run, else x / 7 by itself, both inverted; the window is 1 in the middle.
    apart = 3.0 * first(own, data) - 7.0 * first(own, None)
    assert float(apart[:, 8, 8].mean()) == pytest.approx(0.5, abs=1e-3)
    given = RealPreprocessing(window_radius=None)
    assert abs(float(first(folder, data, given).std()) - 1) < 0.1
    assert abs(float(first(own, data, given).std()) - 1) < 0.1


@pytest.mark.parametrize("preprocessing", [HartleyPreprocessing(), RealPreprocessing()])
@pytest.mark.parametrize("kind", ["folder", "simulation"])
def test_the_true_generator_makes_what_lies_below_the_noise(
    folder: Path, kind: str, preprocessing: Any
) -> None:
    trainer = process()
    source = folder if kind == "folder" else SIMULATION
    held_out = opened(trainer, source, 30, 30, preprocessing)
    batch = next(iter(held_out.batches(trainer)))
    true = held_out.true_generator(trainer)
    pose = Pose(batch["rotation"], batch["translation"])
    noise = batch["images"] - true.generate(batch["factors"], pose, batch)
    other = batch["images"] - true.generate(batch["factors"].flip(0), pose, batch)
    assert float(noise.square().mean()) < 0.95 * float(other.square().mean())
    assert held_out.noise_std(trainer) == pytest.approx(float(noise.square().mean().sqrt()))
    # Noise alone is left: in real space, within the window, that of the stack.
    if isinstance(preprocessing, RealPreprocessing):
        middle = noise[:, 6:10, 6:10].std() * held_out._fitted(trainer).fitted_norm[1]
        assert float(middle) == pytest.approx(SIMULATION.noise_std, rel=0.15)


def test_a_learned_model_is_a_simulation_like_others() -> None:
    torch.manual_seed(0)
    decoder = ImplicitDecoder(16, 2, width=16, layers=1)
    microscope = Microscope(UniformViews(), None, None, WhiteNoise(1.0))
    simulation = Simulation(
        LearnedMolecule(decoder, 2, 8.5, allow_ambiguous=True),
        NormalFactors(2),
        microscope,
        n_images=8,
        box_size=16,
        pixel_size=8.5,
    )
    trainer = process()
    held_out = opened(trainer, simulation, 8, 8, HartleyPreprocessing())
    batch = next(iter(held_out.batches(trainer)))
    assert batch["factors"].shape == (8, 2)
    images = held_out.true_generator(trainer).generate(
        batch["factors"], Pose(batch["rotation"]), batch
    )
    assert images.shape == batch["images"].shape


@pytest.mark.parametrize("name", ["particles.mrcs", "poses.pkl", "truth.npz"])
def test_a_folder_without_its_files_is_refused(folder: Path, tmp_path: Path, name: str) -> None:
    for file in ("particles.mrcs", "poses.pkl", "ctf.pkl", "truth.npz"):
        if file != name:
            (tmp_path / file).symlink_to(folder / file)
    with pytest.raises(FileNotFoundError, match=f"{name}: no such file; held_out must be a folder"):
        opened(process(), tmp_path, 10, 10, HartleyPreprocessing())


def test_a_folder_without_factors_is_refused(folder: Path, tmp_path: Path) -> None:
    for file in ("particles.mrcs", "poses.pkl"):
        (tmp_path / file).symlink_to(folder / file)
    np.savez(tmp_path / "truth.npz", time=np.arange(30))
    with pytest.raises(ValueError, match=r"truth\.npz: an array named factors expected, found no"):
        opened(process(), tmp_path, 10, 10, HartleyPreprocessing())


@pytest.mark.parametrize("change", [{"pixel_size": 8.7}, {"box_size": 18}])
def test_particles_of_another_grid_are_refused(change: dict[str, Any]) -> None:
    other = scored_runs.simulation(1, **change)
    with pytest.raises(ValueError, match="held-out particles of the simulation have box size"):
        opened(process(scored_runs.data()), other, 10, 10)


def test_images_that_nobody_knows_how_to_prepare_are_refused() -> None:
    with pytest.raises(
        ValueError, match="it is not known how to prepare held-out images for the mo"
    ):
        opened(process(), SIMULATION, 10, 10)


@pytest.mark.parametrize("numbers", [(1, 10), (10, 1)])
def test_too_few_particles_are_refused(numbers: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="particles and batch_size must be at least 2, found"):
        HeldOutParticles(SIMULATION, *numbers)


def test_closed_particles_are_told() -> None:
    with pytest.raises(ValueError, match=r"not open yet: call open\(trainer\) first"):
        next(iter(HeldOutParticles(SIMULATION, 10, 10).batches(process())))
