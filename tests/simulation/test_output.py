from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest
import starfile
import torch

from cryo_disentangle.files.stacks import MrcsWriter
from cryo_disentangle.particles import ParticleStack, RealPreprocessing
from cryo_disentangle.particles.dataset import ParticleDataset
from cryo_disentangle.simulation import (
    ContrastTransferFromFile,
    ContrastTransferRange,
    LaplaceWalk,
    LinearMixing,
    Microscope,
    NormalShifts,
    Simulation,
    TemperatureNormal,
    TwoArms,
    UniformFactors,
    UniformViews,
    WhiteNoise,
    load_molecule,
)
from tests.forked import alone, forked, peak_memory

SIMULATION = Simulation(
    TwoArms(),
    LaplaceWalk(frames=7),
    Microscope(UniformViews(), NormalShifts(0.5), ContrastTransferRange(), WhiteNoise(0.5)),
    n_images=2500,
    mixing=LinearMixing(),
    seed=4,
)
_CHUNK = 1024  # images of 32 pixels that are simulated at once
FILES = {
    "particles.mrcs",
    "particles.star",
    "poses.pkl",
    "ctf.pkl",
    "truth.npz",
    "molecule.yaml",
    "simulation.yaml",
    "contact_sheet.png",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("simulation") / "new" / "two_arm"
    SIMULATION.write(out)
    return out


def test_a_folder_holds_all_files_and_nothing_else(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == FILES


def test_the_stack_is_the_simulation(folder: Path) -> None:
    with mrcfile.open(folder / "particles.mrcs") as file:
        images = file.data.copy()
        assert file.voxel_size.x == pytest.approx(4.25)
    assert mrcfile.validate(folder / "particles.mrcs")
    expected, _ = SIMULATION.images(SIMULATION.stack_draws(0, 2500))
    np.testing.assert_allclose(images, expected.numpy(), atol=1e-5)


def test_truth_is_what_was_simulated(folder: Path) -> None:
    truth = np.load(folder / "truth.npz")
    particles = SIMULATION.describe(SIMULATION.stack_draws(0, 2500))
    for name in ("factors", "hinges", "rotation", "translation", "ctf", "time", "trajectory"):
        np.testing.assert_array_equal(truth[name], getattr(particles, name))
    assert "temperature" not in truth
    assert truth["seed"] == 4
    assert truth["pixel_size"] == 4.25
    assert truth["noise_std"] == SIMULATION.noise_std
    molecule, mixing = load_molecule(folder)
    assert isinstance(molecule, TwoArms)
    assert mixing is not None
    hinges = mixing.mix(torch.from_numpy(truth["factors"]).double())
    np.testing.assert_allclose(hinges, truth["hinges"], atol=1e-6)


def test_star_and_pickles_are_read_as_the_truth(folder: Path) -> None:
    truth = np.load(folder / "truth.npz")
    star = ParticleStack.open(folder / "particles.star")
    pickles = ParticleStack.open(
        folder / "particles.mrcs", poses=folder / "poses.pkl", ctf=folder / "ctf.pkl"
    )
    for stack in (star, pickles):
        assert len(stack) == 2500
        assert stack.pixel_size == pytest.approx(4.25)
        assert stack.rotation is not None
        assert stack.translation is not None
        assert stack.ctf is not None
        np.testing.assert_allclose(stack.rotation, truth["rotation"], atol=1e-5)
        np.testing.assert_allclose(stack.translation, truth["translation"], atol=1e-5)
        np.testing.assert_allclose(stack.ctf, truth["ctf"], rtol=1e-5)
    np.testing.assert_array_equal(star.read([0, 2499]), pickles.read([0, 2499]))
    tables = starfile.read(folder / "particles.star")
    assert set(tables) == {"optics", "particles"}
    assert tables["particles"]["rlnImageName"].iloc[41] == "000042@particles.mrcs"
    np.testing.assert_allclose(
        tables["particles"]["rlnOriginXAngst"], 4.25 * truth["translation"][:, 0], atol=1e-4
    )


def test_what_our_data_set_delivers_is_the_positive_density(folder: Path) -> None:
    stack = ParticleStack.open(folder / "particles.star")
    batch = ParticleDataset(stack, RealPreprocessing(window_radius=None)).__getitems__([3])
    clean = replace(SIMULATION, microscope=Microscope(UniformViews()))
    particles = SIMULATION.describe(SIMULATION.stack_draws(3, 1))
    # Inverted, an image is the projection times cryoDRGN's CTF.
    flipped = clean.clean(particles).neg()
    correlation = torch.corrcoef(torch.stack([batch["images"].flatten(), flipped.flatten()]))
    assert float(correlation[0, 1]) > 0.1


def test_another_or_a_finished_simulation_is_not_touched(folder: Path, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    with pytest.raises(FileExistsError, match="already holds a finished simulation"):
        SIMULATION.write(folder)
    with pytest.raises(FileExistsError, match="already holds another simulation"):
        replace(SIMULATION, seed=5).write(folder)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    (tmp_path / "particles.mrcs").write_bytes(b"somebody's data")
    with pytest.raises(FileExistsError, match=r"another simulation \(particles\.mrcs\)"):
        SIMULATION.write(tmp_path)
    assert (tmp_path / "particles.mrcs").read_bytes() == b"somebody's data"


def test_overwriting_replaces_everything(tmp_path: Path) -> None:
    replace(SIMULATION, n_images=20).write(tmp_path)
    (tmp_path / "notes.txt").write_text("kept")
    other = replace(SIMULATION, n_images=30, seed=5, microscope=Microscope(UniformViews()))
    other.write(tmp_path, overwrite=True)
    assert {path.name for path in tmp_path.iterdir()} == FILES - {"ctf.pkl"} | {"notes.txt"}
    assert len(ParticleStack.open(tmp_path / "particles.star")) == 30
    assert np.load(tmp_path / "truth.npz")["seed"] == 5


def test_a_failure_leaves_no_finished_stack_and_can_be_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = []
    original = Simulation.images

    def fails_later(self: Simulation, draws: object) -> object:
        done.append(1)
        if len(done) > 1:
            raise OSError("disk full")
        return original(self, draws)  # type: ignore[arg-type]

    monkeypatch.setattr(Simulation, "images", fails_later)
    with pytest.raises(OSError, match="disk full"):
        SIMULATION.write(tmp_path)
    assert not (tmp_path / "particles.mrcs").exists()
    with pytest.raises(FileExistsError, match="another simulation"):
        replace(SIMULATION, seed=1).write(tmp_path)
    monkeypatch.setattr(Simulation, "images", original)
    SIMULATION.write(tmp_path)
    expected, _ = SIMULATION.images(SIMULATION.stack_draws(0, 2500))
    found = ParticleStack.open(tmp_path / "particles.mrcs").read(np.arange(2500))
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)


def small(n_images: int, box_size: int) -> Simulation:
    scope = Microscope(UniformViews(), ctf=ContrastTransferRange(), noise=WhiteNoise(0.5))
    return Simulation(TwoArms(), UniformFactors(), scope, n_images, box_size, 136 / box_size)


def write_until_killed(out: Path) -> None:
    """Is killed when three of eight chunks are written."""
    write = MrcsWriter.write

    def killed(self: MrcsWriter, images: Any) -> None:
        if self.n_written == 3 * _CHUNK:
            os.kill(os.getpid(), signal.SIGKILL)
        write(self, images)

    MrcsWriter.write = killed  # type: ignore[method-assign]
    small(8 * _CHUNK, 32).write(out)


def test_a_killed_process_is_continued_to_the_same_files(tmp_path: Path) -> None:
    simulation = small(8 * _CHUNK, 32)
    assert simulation.chunk_size == _CHUNK
    partial = tmp_path / "particles.mrcs.partial"
    with forked(write_until_killed, tmp_path) as process:
        assert process.wait() == -signal.SIGKILL, process.said()
    # As a process that is killed in mid-write leaves it.
    os.truncate(partial, partial.stat().st_size - 1000)
    assert not (tmp_path / "particles.mrcs").exists()
    left = partial.read_bytes()
    assert len(left) == 1024 + 3 * _CHUNK * 4096 - 1000
    simulation.write(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == FILES
    whole = (tmp_path / "particles.mrcs").read_bytes()
    # What was there was kept, but for the header and an image cut short.
    kept = 1024 + (len(left) - 1024) // 4096 * 4096
    assert whole[1024:kept] == left[1024:kept]
    stack = ParticleStack.open(tmp_path / "particles.star")
    rows = np.arange((kept - 1024) // 4096 - 500, (kept - 1024) // 4096 + 500)
    expected, particles = simulation.images(simulation.stack_draws(int(rows[0]), len(rows)))
    # Chunks begin elsewhere, which moves the last bit of a sum.
    np.testing.assert_allclose(stack.read(rows), expected.numpy(), atol=1e-5)
    truth = np.load(tmp_path / "truth.npz")
    np.testing.assert_array_equal(truth["factors"][rows], particles.factors)


def write_and_tell(out: Path, n_images: int) -> None:
    """Writes a stack, and tells the largest resident set in KiB."""
    small(n_images, 16).write(out)
    print(peak_memory())


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read in /proc")
def test_memory_does_not_grow_with_the_stack(tmp_path: Path) -> None:
    peaks_kib = []
    for count in (5000, 50_000):
        said = alone(write_and_tell, tmp_path / str(count), count)
        peaks_kib.append(int(said.split()[-1]))
        (tmp_path / str(count) / "particles.mrcs").unlink()
    # Ten times the images are 45 MB more of pixels; poses, CTF and truth are 0.2 kB a particle.
    assert peaks_kib[1] - peaks_kib[0] < 36_000


def test_optics_groups_and_temperatures_are_written(tmp_path: Path) -> None:
    rows = np.zeros((2, 9), dtype=np.float32)
    rows[:] = [64, 1, 1e4, 1.2e4, 20, 300, 2.7, 0.1, 0]
    rows[1, 5:7] = [200, 2.0]
    np.savez(tmp_path / "ctf.npz", ctf=rows)
    simulation = Simulation(
        TwoArms(),
        TemperatureNormal([100.0, 300.0], [[0.1, 0.2], [0.3, 0.4]]),
        Microscope(UniformViews(), ctf=ContrastTransferFromFile(tmp_path / "ctf.npz")),
        n_images=50,
    )
    simulation.write(tmp_path / "out")
    assert len(starfile.read(tmp_path / "out" / "particles.star")["optics"]) == 2
    stack = ParticleStack.open(tmp_path / "out" / "particles.star")
    truth = np.load(tmp_path / "out" / "truth.npz")
    assert stack.ctf is not None
    np.testing.assert_allclose(stack.ctf, truth["ctf"], rtol=1e-6)
    assert set(truth["temperature"]) == {100, 300}


def test_a_missing_file_is_told_before_anything_is_written(tmp_path: Path) -> None:
    scope = Microscope(UniformViews(), ctf=ContrastTransferFromFile(tmp_path / "none.npz"))
    with pytest.raises(FileNotFoundError, match=r"none\.npz: no such file"):
        Simulation(TwoArms(), UniformFactors(), scope).write(tmp_path / "out")
    assert not (tmp_path / "out").exists()
