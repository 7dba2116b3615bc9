"""The command line from particles to latents and volumes, and what it says of bad input."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest
import torch
import yaml

from cryo_disentangle.cli import main
from cryo_disentangle.cli.run_folder import refuse_other_run
from cryo_disentangle.embeddings import open_embedding
from cryo_disentangle.files.locks import alone_in
from cryo_disentangle.particles.pickles import read_latents
from tests import tiny

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*GPU available but not used:UserWarning"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists:UserWarning"),
    pytest.mark.filterwarnings("ignore:The dirpath has changed:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*treespec.*:FutureWarning"),
]


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_NTASKS", "SLURM_JOB_NAME", "CRYO_DISENTANGLE_TRACEBACK"):
        monkeypatch.delenv(name, raising=False)
    # The command puts its words into sys.argv, and seeding leaves a variable behind.
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    for name in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS"):
        monkeypatch.setenv(name, "0")
    # Lightning's own calls of jsonargparse.
    monkeypatch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")


def call(*words: str | Path) -> None:
    main([str(word) for word in words])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with ``data``, ``run.yaml`` and the finished ``run``."""
    folder = tmp_path_factory.mktemp("trained")
    config = tiny.write_config(folder, tiny.write_stack(folder / "data"))
    tiny.call("fit", "--config", config, "--trainer.max_epochs", "4")
    return folder


def predict(trained: Path, out: Path, *words: str | Path) -> Path:
    """Predicts into another folder, since the run is shared; returns where things lie."""
    config = trained / "run/config.yaml"
    checkpoint = trained / "run/checkpoints/last.ckpt"
    root = ("--trainer.default_root_dir", out)
    call("predict", "--config", config, "--ckpt_path", checkpoint, *root, *words)
    return out / "prediction"


def test_fit_leaves_a_run_and_the_loss_falls(trained: Path) -> None:
    run = trained / "run"
    saved = yaml.safe_load((run / "config.yaml").read_text())
    assert saved["trainer"]["max_epochs"] == 4
    assert saved["model"]["class_path"].endswith("HeterogeneousReconstruction")
    assert (run / "checkpoints/last.ckpt").is_file()
    assert len(list(run.glob("checkpoints/epoch=*-step=*.ckpt"))) == 1
    assert len(list(run.glob("tensorboard/**/events.out.tfevents.*"))) == 1
    assert not list(run.rglob("*.partial"))
    train, held_out = (tiny.read_metrics(run, f"{stage}/loss") for stage in ("train", "val"))
    assert len(train) == 20
    assert len(held_out) == 4
    assert np.mean(train[-5:]) < np.mean(train[:5])
    assert held_out[-1] < held_out[0]
    for name in ("train/reconstruction", "train/kl", "val/reconstruction", "val/kl"):
        assert all(np.isfinite(tiny.read_metrics(run, name)))


def test_resuming_goes_on_where_the_run_ended(tmp_path: Path) -> None:
    config = tiny.write_config(tmp_path, tiny.write_stack(tmp_path / "data"), max_epochs=1)
    call("fit", "--config", config)
    last = tmp_path / "run/checkpoints/last.ckpt"
    assert torch.load(last, weights_only=False)["global_step"] == 5
    call("fit", "--config", config, "--ckpt_path", "last", "--trainer.max_epochs", "2")
    assert torch.load(last, weights_only=False)["global_step"] == 10
    assert len(tiny.read_metrics(tmp_path / "run", "train/loss")) == 5


@pytest.mark.parametrize("stage", ["validate", "test"])
def test_validation_from_the_saved_configuration(
    trained: Path, tmp_path: Path, stage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config, last = trained / "run/config.yaml", trained / "run/checkpoints/last.ckpt"
    words = ("--config", config, "--ckpt_path", last, "--trainer.default_root_dir", tmp_path)
    call(stage, *words)
    assert "val/loss" in capsys.readouterr().out
    found = tiny.read_metrics(tmp_path, "val/loss")
    assert found == pytest.approx(tiny.read_metrics(trained / "run", "val/loss")[-1:], rel=1e-5)
    assert not (tmp_path / "config.yaml").exists()


@pytest.mark.parametrize("stage", ["validate", "test", "predict"])
def test_without_a_checkpoint_a_trained_model_is_that_of_the_run(
    trained: Path, tmp_path: Path, stage: str
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained / "run/checkpoints", run / "checkpoints")
    words = ("--config", trained / "run/config.yaml", "--trainer.default_root_dir", run)
    call(stage, *words, "--prediction.kmeans", "0")
    if stage == "predict":
        named = predict(trained, tmp_path / "named", "--prediction.kmeans", "0")
        assert (run / "prediction/z.pkl").read_bytes() == (named / "z.pkl").read_bytes()
    else:
        known = tiny.read_metrics(trained / "run", "val/loss")[-1:]
        assert tiny.read_metrics(run, "val/loss") == pytest.approx(known, rel=1e-5)
    shutil.copy(run / "checkpoints/last.ckpt", run / "checkpoints/last-v1.ckpt")
    with pytest.raises(SystemExit, match=r"has last-v1\.ckpt, last\.ckpt: name the one"):
        call(stage, *words)
    shutil.rmtree(run / "checkpoints")
    for more in ((), ("--ckpt_path", "last")):
        with pytest.raises(SystemExit, match=f"{stage} needs a trained model, and .* holds no run"):
            call(stage, *words, *more)


def test_two_trainings_never_share_a_folder(tmp_path: Path) -> None:
    config = tiny.write_config(tmp_path, tiny.write_stack(tmp_path / "data", count=20))
    with (
        alone_in(tmp_path / "run", "it is mine"),
        pytest.raises(SystemExit, match=f"{tmp_path / 'run'}: another process trains here"),
    ):
        call("fit", "--config", config)
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]


def test_prediction_writes_latents_and_volumes(trained: Path, tmp_path: Path) -> None:
    folder = predict(trained, tmp_path, "--prediction.kmeans", "3")
    mean, log_variance = read_latents(folder / "z.pkl")
    with np.load(folder / "latents.npz") as archive:
        assert archive["index"].tolist() == list(range(60))
        assert np.array_equal(archive["mean"], mean)
        assert log_variance is not None
        assert np.array_equal(archive["log_variance"], log_variance)
        cluster = archive["cluster"]
    assert mean.shape == (60, 2)
    chosen = np.loadtxt(folder / "volumes/z_values.txt", dtype=np.float32, ndmin=2)
    assert chosen.shape == (3, 2)
    for number, latent in enumerate(chosen, start=1):
        nearest = np.abs(mean - latent).max(axis=1)
        assert nearest.min() < 1e-6
        assert cluster[nearest.argmin()] == number
    counts = np.bincount(cluster)[1:].tolist()
    table = (folder / "volumes/clusters.csv").read_text().splitlines()
    assert table[1:] == [f"vol_{k:03d}.mrc,{count}" for k, count in enumerate(counts, start=1)]
    names = sorted(path.name for path in folder.glob("volumes/*.mrc"))
    assert names == ["vol_001.mrc", "vol_002.mrc", "vol_003.mrc"]
    with mrcfile.open(folder / "volumes/vol_001.mrc") as file:
        assert file.data.shape == (tiny.BOX_SIZE,) * 3
        assert float(file.voxel_size.x) == pytest.approx(tiny.PIXEL_SIZE)
        assert np.isfinite(file.data).all()


def test_prediction_at_chosen_latents_and_a_smaller_box(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "z.txt").write_text("0 0\n1.5 -0.5\n")
    words = ("--prediction.latents", tmp_path / "z.txt", "--prediction.volume_box_size", "8")
    folder = predict(trained, tmp_path, *words)
    assert np.loadtxt(folder / "volumes/z_values.txt").tolist() == [[0, 0], [1.5, -0.5]]
    assert len(list(folder.glob("volumes/*.mrc"))) == 2
    with mrcfile.open(folder / "volumes/vol_002.mrc") as file:
        assert file.data.shape == (8, 8, 8)
        assert float(file.voxel_size.x) == pytest.approx(2 * tiny.PIXEL_SIZE)


def test_a_second_round_takes_the_same_particles(trained: Path, tmp_path: Path) -> None:
    chosen = [5, 17, 30, 31, 32, 33, 34, 39]
    np.savetxt(tmp_path / "first.txt", chosen, fmt="%d")
    words = ("--prediction.kmeans", "0", "--data.indices")
    folder = predict(trained, tmp_path / "one", *words, tmp_path / "first.txt")
    with np.load(folder / "latents.npz") as archive:
        first = {name: archive[name] for name in archive.files}
    assert first["index"].tolist() == chosen
    assert first["position"].tolist() == list(range(8))
    assert first["image"][1] == "000018@stack.mrcs"
    np.savetxt(tmp_path / "second.txt", first["index"][[6, 1]], fmt="%d")
    folder = predict(trained, tmp_path / "two", *words, tmp_path / "second.txt")
    with np.load(folder / "latents.npz") as second:
        assert second["index"].tolist() == [34, 17]
        np.testing.assert_allclose(second["mean"], first["mean"][[6, 1]], atol=1e-5)
    rows = open_embedding(folder / "latents.npz").rows
    assert rows is not None
    assert rows.tolist() == [34, 17]


def test_optics_and_alignments_are_options(trained: Path, tmp_path: Path) -> None:
    words = ("--data.optics.voltage_kv", "120", "--data.alignments", "alignments_class_0")
    call("fit", "--config", trained / "run.yaml", *words, "--trainer.default_root_dir", tmp_path)
    saved = yaml.safe_load((tmp_path / "config.yaml").read_text())["data"]["init_args"]
    assert saved["optics"]["voltage_kv"] == 120
    assert saved["alignments"] == "alignments_class_0"
    with pytest.raises(SystemExit):
        call("fit", "--config", trained / "run.yaml", "--data.optics.voltage_kv", "300000")


def test_prediction_without_volumes(trained: Path, tmp_path: Path) -> None:
    folder = predict(trained, tmp_path, "--prediction.kmeans", "0")
    assert sorted(path.name for path in folder.iterdir()) == ["latents.npz", "z.pkl"]


def test_prediction_needs_no_poses(trained: Path, tmp_path: Path) -> None:
    """The encoder reads images alone; volumes come in the units of training."""
    folder = predict(trained, tmp_path, "--data.poses", "null", "--prediction.kmeans", "1")
    assert read_latents(folder / "z.pkl")[0].shape == (60, 2)


def test_module_prints_the_configuration(tmp_path: Path) -> None:
    data = tiny.write_stack(tmp_path / "data", count=4)
    printed = tiny.succeed("fit", "--config", tiny.write_config(tmp_path, data), "--print_config")
    printed = yaml.safe_load(printed)
    assert printed["data"]["init_args"]["particles"] == data["particles"]
    assert printed["checkpoint"]["save_last"] is True
    assert not (tmp_path / "run").exists()


def test_simulate_is_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        call("simulate", "--help")
    assert stop.value.code == 0
    assert "usage: cryo-disentangle simulate" in capsys.readouterr().out


def test_unknown_key_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tiny.write_config(tmp_path, tiny.write_stack(tmp_path / "data", count=4))
    text = config.read_text()
    config.write_text(text.replace("conformation_dim: 2", "conformation_dims: 2"))
    with pytest.raises(SystemExit) as stop:
        call("fit", "--config", config)
    assert stop.value.code not in (0, None)
    assert "conformation_dims" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_missing_file_is_told_in_one_line(tmp_path: Path) -> None:
    data = tiny.write_stack(tmp_path / "data", count=4) | {"particles": "absent.mrcs"}
    with pytest.raises(SystemExit) as stop:
        call("fit", "--config", tiny.write_config(tmp_path, data))
    assert stop.value.code == "cryo-disentangle: error: absent.mrcs: no such file"


def refused(folder: Path, data: dict[str, Any], *words: str | Path) -> str:
    """What the command says of a run that it refuses."""
    config = tiny.write_config(folder, data, enable_progress_bar=False)
    with pytest.raises(SystemExit) as stop:
        call("fit", "--config", config, *words)
    message = str(stop.value.code)
    assert message.startswith("cryo-disentangle: error: ")
    assert "\n" not in message
    return message


def test_a_folder_that_holds_a_run_is_refused(tmp_path: Path) -> None:
    data = tiny.write_stack(tmp_path / "data", count=20)
    call("fit", "--config", tiny.write_config(tmp_path, data, max_epochs=1))
    before = (tmp_path / "run/checkpoints/last.ckpt").read_bytes()
    message = refused(tmp_path, data)
    assert f"{tmp_path / 'run'} already holds a run: resume it with --ckpt_path last" in message
    assert (tmp_path / "run/checkpoints/last.ckpt").read_bytes() == before


def test_last_is_not_taken_for_a_new_run_where_there_are_others(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    refuse_other_run(tmp_path, "last")
    (folder / "epoch=0-step=2.ckpt").write_text("x")
    with pytest.raises(FileExistsError, match=r"has no last\.ckpt .*, but epoch=0-step=2\.ckpt"):
        refuse_other_run(tmp_path, "last")
    (folder / "last-v1.ckpt").write_text("x")
    refuse_other_run(tmp_path, "last")


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    data = tiny.write_stack(tmp_path / "data", count=20)
    message = refused(tmp_path, data, "--trainer.default_root_dir", tmp_path / "file/run")
    assert str(tmp_path / "file") in message


def test_predictions_that_cannot_be_written_are_refused(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "prediction").write_text("in the way")
    with pytest.raises(SystemExit, match=r"cannot write predictions to .*/prediction"):
        predict(trained, tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2 3\n", "expected 2 coordinates a row, the model's conformation_dim, found 3"),
        ("one two\n", "expected a text file of latents, one a row"),
    ],
)
def test_latents_of_another_kind_are_refused(
    trained: Path, tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "z.txt").write_text(text)
    with pytest.raises(SystemExit, match=message):
        predict(trained, tmp_path, "--prediction.latents", tmp_path / "z.txt")
    assert not (tmp_path / "prediction/z.pkl").exists()


def test_training_without_poses_is_refused(tmp_path: Path) -> None:
    data = tiny.write_stack(tmp_path / "data", count=20, tables=False)
    assert "the particles have no poses and this model needs known ones" in refused(tmp_path, data)


def test_counts_that_disagree_are_refused(tmp_path: Path) -> None:
    data = tiny.write_stack(tmp_path / "data", count=20)
    other = tiny.write_stack(tmp_path / "other", count=19)
    message = refused(tmp_path, data | {"poses": other["poses"]})
    assert f"{other['poses']}: 19 rows, expected one for each image: 20" in message


def test_particles_of_another_box_size_are_refused(trained: Path, tmp_path: Path) -> None:
    other = tiny.write_stack(tmp_path / "other", count=20, box_size=12)
    words = [f"--data.{name}={other[name]}" for name in ("particles", "poses", "ctf")]
    with pytest.raises(SystemExit, match="a model for box size 16, the particles have box size 12"):
        predict(trained, tmp_path, *words)
    assert not (tmp_path / "prediction/z.pkl").exists()


def test_a_trial_run_leaves_nothing_that_a_run_would_be_refused_for(tmp_path: Path) -> None:
    config = tiny.write_config(tmp_path, tiny.write_stack(tmp_path / "data", count=20))
    call("fit", "--config", config, "--trainer.fast_dev_run", "true")
    assert not list(tmp_path.rglob("*.ckpt"))
    call("fit", "--config", config, "--trainer.max_epochs", "1")


def test_a_traceback_is_there_for_who_wants_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYO_DISENTANGLE_TRACEBACK", "1")
    data = tiny.write_stack(tmp_path / "data", count=4) | {"particles": "absent.mrcs"}
    with pytest.raises(FileNotFoundError, match=r"absent\.mrcs: no such file"):
        call("fit", "--config", tiny.write_config(tmp_path, data))
