"""From a stack with known poses to named axes, a judgement and a model of images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cryo_disentangle.cli import main
from cryo_disentangle.evaluation.training_runs import open_training_run
from cryo_disentangle.modules import SubspaceReconstruction
from cryo_disentangle.simulation import (
    LaplacePairs,
    Microscope,
    Simulation,
    TwoArms,
    UniformViews,
    WhiteNoise,
)
from cryo_disentangle.statistics import StatisticsData
from cryo_disentangle.statistics.settings import SubspaceSettings
from tests import tiny

CONFIG = Path(__file__).parents[1] / "configs/particles.yaml"
_COUNT = 800
QUIET = ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers", "ignore:.*LeafSpec", "ignore:.*tensorboardX"
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a simulated stack, ``data``, and a run of two processes on it, ``run``.

    Both begin at once, and the second waits for statistics.
    """
    folder = tmp_path_factory.mktemp("road")
    Simulation(
        TwoArms(),
        LaplacePairs(),
        Microscope(UniformViews(), None, None, WhiteNoise(2.0)),
        n_images=_COUNT,
        box_size=16,
        pixel_size=8.5,
        seed=3,
    ).write(folder / "data")
    said = tiny.succeed_together(
        *("fit", "--config", CONFIG),
        f"--data.particles={folder / 'data/particles.star'}",
        f"--data.labels={folder / 'data/truth.npz'}",
        "--data.settings.rank=2",
        "--trainer.max_steps=120",
        "--trainer.devices=2",
        "--trainer.strategy=ddp",
        "--trainer.log_every_n_steps=10",
        f"--trainer.default_root_dir={folder / 'run'}",
        *QUIET,
    )
    assert said.count("Axes: ") == 1
    return folder


def test_one_command_ends_with_named_axes(run: Path) -> None:
    assert (run / "run/statistics/statistics.json").is_file()
    assert not list((run / "run").glob(".statistics.subspace"))
    report = json.loads((run / "run/report/report.json").read_text())
    assert "verdict" in report
    assert report["MCC, best under the true molecule"] > report["MCC, best in these volumes"] > 0.6
    assert "by time" in (run / "run/axes/axes.txt").read_text()
    with np.load(run / "run/axes/latents.npz") as found:
        assert found["latents"].shape == (_COUNT, 2)
        assert found["row"].tolist() == list(range(_COUNT))
    for name in ("axes.png", "motions.png", "axis1.cxc", "axis2_07.mrc"):
        assert (run / "run/axes" / name).is_file(), name


def test_the_run_opens_from_its_folder(run: Path) -> None:
    opened = open_training_run(run / "run")
    assert isinstance(opened.module, SubspaceReconstruction)
    # The schedule is as long as the training.
    assert "total_steps: 120" in (run / "run/config.yaml").read_text()
    data: Any = opened.data
    assert Path(data.statistics) == run / "run/statistics"
    assert data.n_particles == _COUNT


def test_axes_takes_the_run_and_maps_its_ends(run: Path, tmp_path: Path) -> None:
    out, stack = tmp_path / "axes", run / "data/particles.star"
    words = ("--axis", "1", f"--out={out}", f"--particles={stack}")
    main(["axes", str(run / "run"), *words])
    # Pairs of frames and half sets come with the run, and full covariances with its model.
    assert "by time" in (out / "axes.txt").read_text()
    with np.load(out / "latents.npz") as found, np.load(run / "run/axes/latents.npz") as own:
        assert found["row"].tolist() == list(range(_COUNT))
        assert found["covariance"].shape == (_COUNT, 2, 2)
        together = np.corrcoef(found["latents"].T, own["latents"].T)[:2, 2:]
        np.testing.assert_allclose(np.abs(together).max(1), 1, atol=0.02)
    assert (out / "landscape.npz").is_file()
    numbers = json.loads((out / "maps/maps.json").read_text())["axis1"]
    assert numbers["significant"]
    assert "posteriors" in numbers["words"]
    assert (out / "maps/axis1_low_half1.mrc").is_file()
    assert "Both ends of axis1" in (out / "report.html").read_text()


def test_statistics_of_others_are_refused(run: Path, tmp_path: Path) -> None:
    files: Any = {"particles": run / "data/particles.star", "statistics": run / "run/statistics"}
    data = StatisticsData(**files, settings=SubspaceSettings(rank=2))
    data.setup("fit")
    with pytest.raises(ValueError, match=r"made with rank 2, expected None \(data.settings.rank\)"):
        StatisticsData(**files).setup("fit")
    np.save(tmp_path / "some.npy", np.arange(_COUNT // 2))
    with pytest.raises(ValueError, match=r"are of other particles .* than .*particles.star"):
        StatisticsData(**files, indices=tmp_path / "some.npy").setup("fit")
    with pytest.raises(ValueError, match=r"expected a folder \(data.statistics\), found none"):
        _ = StatisticsData().folder


def test_the_run_goes_on(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["cryo-disentangle"])
    monkeypatch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
    few = ["--resamples=0", "--sample=200", "--device=cpu"]
    main(["evaluate", str(run / "run"), *few, f"--truth={run / 'data/truth.npz'}"])
    found = json.loads((run / "run/evaluation/metrics.json").read_text())
    reached = found["scores"]["disentanglement"]["r2_linear"]["value"]
    for group, least in (("oracle", 0.8), ("subspace_oracle", 0.6)):
        best = found["scores"][group]["r2_linear"]["value"]
        share = found["scores"][f"{group}_share"]["r2_linear"]["value"]
        assert least < best < 1
        assert share == pytest.approx(reached / best)
    assert found["scores"]["decoding"]["decoding_p_value"]["value"] < 0.01
    assert found["run"]["inference"] == "run"
    main(["report", str(run / "run")])
    assert (run / "run/evaluation/report.html").is_file()
    config = ["--config", str(run / "run/config.yaml")]
    one = ("--trainer.devices=1", "--trainer.strategy=auto")
    there = tmp_path / "there"
    words = ("--prediction.kmeans=2", f"--prediction.folder={there}")
    main(["predict", *config, *one, *words, *QUIET])
    assert len(list((there / "volumes").glob("*.mrc"))) == 2
    # Axes of two processes are those of the latents that one infers.
    with (
        np.load(there / "latents.npz") as latents,
        np.load(run / "run/axes/axes.npz") as axes,
        np.load(run / "run/axes/latents.npz") as named,
    ):
        along = (latents["mean"] - axes["offset"]) @ axes["matrix"].T
        np.testing.assert_allclose(named["latents"], along, atol=1e-3)

    images = str(tmp_path / "images")
    stack = f"--particles={run / 'data/particles.star'}"
    main(["assemble", str(run / "run"), "--out", images, stack])
    main(["evaluate", images, "--inference=statistics", *few])
    found = json.loads((tmp_path / "images/evaluation/metrics.json").read_text())
    assert found["run"]["inference"] == "statistics"
    assert found["scores"]["decoding"]["decoding_p_value"]["value"] < 0.01
    assert "coefficients of" in found["run"]["z"]
    with pytest.raises(SystemExit):
        main(["export", images, "--inference=statistics", "--out", str(tmp_path / "no")])
    with pytest.raises(SystemExit, match="takes a run on a particle stack, found StatisticsData"):
        main(["evaluate", str(run / "run"), "--inference=statistics"])
