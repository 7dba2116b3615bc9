"""From a stack to a folder of statistics: whole, resumed, and in two processes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.multiprocessing.spawn import start_processes

from cryo_disentangle.cli import main
from cryo_disentangle.files import read_volume, write_volume
from cryo_disentangle.metrics.functional.correlation import r2_linear
from cryo_disentangle.particles import ParticleStack
from cryo_disentangle.particles.pickles import write_indices
from cryo_disentangle.statistics import StatisticsFolder, make_statistics
from cryo_disentangle.statistics.making import known_half_sets
from cryo_disentangle.statistics.nuisance import Nuisance
from cryo_disentangle.statistics.settings import SubspaceSettings
from cryo_disentangle.statistics.subspace import Subspace
from cryo_disentangle.statistics.views import open_images
from cryo_disentangle.statistics.writing import StatisticsWriter
from tests.statistics.simulated import Silent, open_rows, write_stack

SETTINGS = SubspaceSettings(rank=2, radius=6)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stack(tmp_path_factory.mktemp("stack"))


@pytest.fixture(scope="module")
def made(stack: Path) -> StatisticsFolder:
    folder = make_statistics(open_rows(stack), stack / "statistics", SETTINGS, Silent())
    assert folder is not None
    return folder


def _posterior_means(folder: StatisticsFolder) -> torch.Tensor:
    kept = folder.statistics
    return torch.linalg.solve(kept.precision + torch.eye(kept.rank), kept.information)


def test_posterior_means_are_the_conformation(stack: Path, made: StatisticsFolder) -> None:
    factors = torch.from_numpy(np.load(stack / "truth.npz")["factors"]).float()
    assert float(r2_linear(_posterior_means(made), factors)) > 0.6


def test_the_folder_says_what_was_found(made: StatisticsFolder) -> None:
    report = json.loads((made.path / "report.json").read_text())
    assert report["rank"] == 2
    assert 0 < report["held_out_gain"][0] < report["held_out_gain"][1]
    low, high = report["calibration"]["covariance"]
    assert 0.7 < low < high < 1.3
    assert Subspace.open(made.path / "subspace.pt").digest == made.origin.subspace
    names = ("mean.mrc", "volume_2.mrc", "half1_mean.mrc", "held_out_gain.png", "fsc.png")
    assert all((made.path / name).stat().st_size for name in names)
    assert not made.path.with_name(".statistics.subspace").exists()


def test_an_interrupted_pass_goes_on_to_the_same(
    stack: Path, made: StatisticsFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, calls = StatisticsWriter.write, []

    def interrupted(*args: Any) -> None:
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        write(*args)

    out = stack / "resumed"
    with monkeypatch.context() as patched:
        patched.setattr(StatisticsWriter, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            make_statistics(open_rows(stack), out, SETTINGS, Silent())
    assert not out.exists()
    monkeypatch.setattr("cryo_disentangle.statistics.making.estimate", _never)
    folder = make_statistics(open_rows(stack), out, SETTINGS, Silent())
    assert folder is not None
    for name in ("precision", "information", "offset", "index", "half"):
        found, expected = (getattr(each.statistics, name) for each in (folder, made))
        torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_a_pass_that_only_had_to_be_finished_is(
    stack: Path, made: StatisticsFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = stack / "written"
    with monkeypatch.context() as patched:
        patched.setattr(StatisticsWriter, "finish", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            make_statistics(open_rows(stack), out, SETTINGS, Silent())
    monkeypatch.setattr("cryo_disentangle.statistics.making.estimate", _never)
    folder = make_statistics(open_rows(stack), out, SETTINGS, Silent())
    assert folder is not None
    assert torch.equal(folder.statistics.information, made.statistics.information)


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def _never(*_: object) -> None:
    raise AssertionError("the subspace was kept")


def _worker(rank: int, stack: Path, store: Path, outs: list[Path]) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=2
    )
    for out in outs:
        make_statistics(open_rows(stack), out, SETTINGS, Silent())
    torch.distributed.destroy_process_group()


def test_two_processes_make_the_same(
    stack: Path, made: StatisticsFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, begun = tmp_path / "whole", tmp_path / "begun"
    with monkeypatch.context() as patched:
        # The subspace of one process, so that sums in another order don't change it.
        patched.setattr(StatisticsWriter, "write", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            make_statistics(open_rows(stack), begun, SETTINGS, Silent())
    start_processes(_worker, (stack, tmp_path / "store", [whole, begun]), 2)
    for out, tolerance in ((begun, 1e-6), (whole, 1e-3)):
        both = StatisticsFolder.open(out).statistics
        for name in ("precision", "information", "offset"):
            found, expected = getattr(both, name), getattr(made.statistics, name)
            assert float((found - expected).norm() / expected.norm()) < tolerance, name


def _with_half_sets(stack: Path, subset: np.ndarray) -> Path:
    """The stack's STAR file with a column more."""
    lines = (stack / "particles.star").read_text().splitlines()
    first = next(n for n, line in enumerate(lines) if "particles.mrcs" in line)
    for number, value in enumerate(subset):
        lines[first + number] += f" {value}"
    lines.insert(first, "_rlnRandomSubset")
    path = stack / "halves.star"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_the_command_takes_a_selection_and_half_sets_and_refines_poses(
    stack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen, subset = np.arange(0, 1200, 2), np.arange(1200) % 3 // 2 + 1
    write_indices(tmp_path / "chosen.pkl", chosen)
    poses = _with_half_sets(stack, subset)
    assert known_half_sets(ParticleStack.open(stack / "particles.star"), 0)[1].endswith(
        "(no file has any)"
    )
    words = f"statistics {stack}/particles.mrcs --poses {poses} --rank 1 --radius 5"
    words += f" --indices {tmp_path}/chosen.pkl --nuisance.rotation 2 --nuisance.shift 0.5"
    main([*words.split(), "--refine_poses", "true", "--out", str(tmp_path / "out")])
    said = capsys.readouterr().out
    assert "half sets as in" in said
    assert "halves.star, _rlnRandomSubset: 400 and 200 particles" in said
    folder = StatisticsFolder.open(tmp_path / "out")
    np.testing.assert_array_equal(folder.statistics.index, chosen)
    np.testing.assert_array_equal(folder.statistics.half, subset[chosen] - 1)
    assert folder.origin.n_particles == 1200
    refined = ParticleStack.open(tmp_path / "out" / "refined.star")
    again = ParticleStack.open(
        stack / "particles.mrcs", poses=tmp_path / "out" / "poses.pkl", indices=chosen
    )
    assert refined.rotation is not None
    assert again.rotation is not None
    np.testing.assert_allclose(refined.rotation, again.rotation, atol=1e-4)
    with np.load(tmp_path / "out" / "pose_uncertainty.npz") as uncertainty:
        assert uncertainty["rotation_deg"].shape == (600, 3)
        assert (uncertainty["shift_px"] > 0).all()
        assert (uncertainty["shift_px"] < 0.5).all()


def test_maps_from_elsewhere_serve(stack: Path, made: StatisticsFolder, tmp_path: Path) -> None:
    # Half as dense and in another basis, as another program may have them.
    volumes = Subspace.open(made.path / "subspace.pt").volumes() / 2
    turned = [volumes[0], volumes[1] + volumes[2], volumes[1] - 2 * volumes[2]]
    for number, volume in enumerate(turned):
        write_volume(tmp_path / f"{number}.mrc", volume, made.origin.pixel_size)
    words = f"statistics {stack}/particles.mrcs --poses {stack}/poses.pkl --radius 6"
    words += f" --mean {tmp_path}/0.mrc --components {tmp_path}/1.mrc {tmp_path}/2.mrc"
    main([*words.split(), "--out", str(tmp_path / "out")])
    folder = StatisticsFolder.open(tmp_path / "out")
    agreement = r2_linear(_posterior_means(folder), _posterior_means(made))
    assert float(agreement) > 0.9
    low, high = json.loads((folder.path / "report.json").read_text())["calibration"]["covariance"]
    assert 0.8 < low < high < 1.2


def test_refuses_components_without_their_mean(stack: Path, tmp_path: Path) -> None:
    words = ["statistics", f"{stack}/particles.mrcs", "--poses", f"{stack}/poses.pkl"]
    words += ["--components", "1.mrc", "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit, match="give both --mean and --components, or neither"):
        main(words)


def test_refuses_a_mean_that_is_of_something_else(
    stack: Path, made: StatisticsFolder, tmp_path: Path
) -> None:
    rows = open_rows(stack)
    dark = -torch.from_numpy(read_volume(made.path / "mean.mrc")[0])
    volumes = torch.stack([dark, dark.flip(0)])
    with pytest.raises(ValueError, match="the mean volume does not look like the images"):
        make_statistics(rows, tmp_path / "out", SETTINGS, Silent(), volumes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rank": 9}, "rank 9 is more than the data support: .* grows up to [2-8] volumes"),
        ({"radius": 9}, "radius 9 exceeds half the box of 16 pixels; give at most 8"),
    ],
)
def test_refuses_what_data_do_not_support(
    stack: Path, tmp_path: Path, changes: dict[str, int], message: str
) -> None:
    settings = SubspaceSettings(**({"radius": 6} | changes))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=message):
        make_statistics(open_rows(stack), tmp_path / "out", settings, Silent())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 0}, "rank must be at least 1, found 0"),
        ({"mask_radius": 1.5}, "mask_radius must be above 0 and at most 1, found 1.5"),
        ({"refine_poses": True}, "give the standard deviation of shifts or rotations"),
        ({"refine_poses": True, "nuisance": Nuisance(contrast=0.1)}, "poses are refined by"),
    ],
)
def test_refuses_options_without_sense(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SubspaceSettings(**options)  # type: ignore[arg-type]


def test_refuses_particles_without_poses(stack: Path) -> None:
    bare = ParticleStack.open(stack / "particles.mrcs")
    with pytest.raises(ValueError, match="no poses found; images are used at the poses"):
        open_images(bare, invert=True, norm=None)


def test_refuses_a_folder_that_exists(stack: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"exists: choose another folder"):
        main(["statistics", str(stack / "particles.mrcs"), "--out", str(tmp_path)])


def test_refuses_an_empty_half(stack: Path, tmp_path: Path) -> None:
    rows = open_rows(stack, np.arange(1))
    with pytest.raises(ValueError, match="half sets of 1 and 0 particles: both are needed"):
        make_statistics(rows, tmp_path / "out", SETTINGS, Silent())
