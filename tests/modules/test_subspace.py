"""Trainings on statistics, from the command line's configuration to weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
import yaml
from lightning.pytorch.callbacks import ModelCheckpoint

from cryo_disentangle.callbacks import AtomicCheckpointIO
from cryo_disentangle.losses import PoseIntervention, PosteriorDistance, TotalCorrelation
from cryo_disentangle.modules import SubspaceReconstruction
from cryo_disentangle.particles.pickles import read_latents
from cryo_disentangle.statistics import StatisticsData
from tests import tiny
from tests.statistics.synthetic import BOX_SIZE, statistics_of, write

_COUNT, _CONFIG = 400, Path(__file__).resolve().parents[2] / "configs/statistics.yaml"
_QUIET = (
    "ignore:.*does not have many workers",
    "ignore:.*tensorboardX",
    "ignore:.*LeafSpec",
    "ignore:.*lr_scheduler.step",
    "ignore:Checkpoint directory",
)
pytestmark = pytest.mark.filterwarnings(*_QUIET)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Statistics of two factors in a plane of three volumes, and labels of pairs."""
    folder = tmp_path_factory.mktemp("statistics")
    generator = torch.Generator().manual_seed(0)
    factors = torch.randn(_COUNT, 2, generator=generator)
    mixed = factors @ torch.tensor([[1.0, 0.5, 0.0], [-0.5, 0.8, 0.6]])
    write(folder / "statistics", statistics_of(mixed))
    np.savez(
        folder / "truth.npz",
        factors=factors.numpy(),
        time=np.arange(_COUNT) % 2,
        trajectory=np.arange(_COUNT) // 2,
        temperature=np.repeat([200.0, 400.0], _COUNT // 2),
    )
    return folder


def _train(
    folder: Path, steps: int, checkpoint: Path | None = None, **trainer: Any
) -> SubspaceReconstruction:
    """Trains with an intervention; 36 batches an epoch."""
    torch.manual_seed(0)
    penalties: dict[str, Any] = {
        "poses": PoseIntervention(
            1.0, distance=PosteriorDistance(), sampled_conformations=True, gradient="encoder"
        ),
        "tc": TotalCorrelation(_COUNT, 0.1),
    }
    module = SubspaceReconstruction(folder / "statistics", 2, penalties=penalties)
    data = StatisticsData(folder / "statistics", folder / "truth.npz", batch_size=10)
    quiet: dict[str, Any] = dict.fromkeys(
        ("logger", "enable_progress_bar", "enable_model_summary"), False
    )
    made = {"enable_checkpointing": False, "max_epochs": -1} | trainer
    io = AtomicCheckpointIO()
    runner = L.Trainer(accelerator="cpu", max_steps=steps, plugins=[io], **quiet, **made)
    runner.fit(module, data, ckpt_path=checkpoint)
    return module


def test_a_resumed_run_ends_with_the_weights_of_a_whole_one(folder: Path, tmp_path: Path) -> None:
    whole = _train(folder, 60)
    keep = ModelCheckpoint(tmp_path, save_last=True, every_n_train_steps=1)
    kept: dict[str, Any] = {"enable_checkpointing": True, "callbacks": [keep]}
    _train(folder, 43, **kept)
    resumed = _train(folder, 60, tmp_path / "last.ckpt", **kept)
    expected = whole.state_dict()
    for name, value in resumed.state_dict().items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, expected[name]), name


def test_training_finds_the_factors(folder: Path) -> None:
    """Nearly what an encoder that knows the mixing could."""
    module = _train(folder, 400).eval()
    data = StatisticsData(folder / "statistics", folder / "truth.npz", batch_size=_COUNT)
    batch = next(iter(data.predict_dataloader()))
    with torch.no_grad():
        found = module.infer(batch).mean
    residual = torch.linalg.lstsq(torch.cat([found, torch.ones(_COUNT, 1)], 1), batch["factors"])
    left = batch["factors"] - torch.cat([found, torch.ones(_COUNT, 1)], 1) @ residual.solution
    assert float(1 - left.var() / batch["factors"].var()) > 0.75


def test_volumes_are_those_of_the_subspace(folder: Path) -> None:
    module = SubspaceReconstruction(folder / "statistics", 2)
    data = StatisticsData(folder / "statistics")
    subspace = data.folder.subspace()
    assert (module.box_size, module.pixel_size) == (BOX_SIZE, data.pixel_size)
    assert data.norm_std == module.intensity_scale == subspace.norm
    weights = module.decoder.mixture(torch.tensor([[0.3, -1.0]]))[0]
    volumes = subspace.volumes()
    expected = volumes[0] + torch.einsum("k,kzyx->zyx", weights.detach(), volumes[1:])
    torch.testing.assert_close(module.volume(torch.tensor([0.3, -1.0])), expected)


def test_another_subspace_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "s", statistics_of(torch.randn(6, 2)), subspace="other")
    with pytest.raises(ValueError, match=r"are of another subspace than subspace.pt beside them"):
        SubspaceReconstruction(tmp_path / "s")


def test_statistics_that_were_made_again_are_refused(folder: Path) -> None:
    module = SubspaceReconstruction(folder / "statistics", 2)
    checkpoint = {"state_dict": {name: v.clone() for name, v in module.state_dict().items()}}
    module.on_load_checkpoint(checkpoint)
    checkpoint["state_dict"]["decoder.coefficients"] *= 1.01
    with pytest.raises(ValueError, match="of a model trained in another subspace than that of"):
        module.on_load_checkpoint(checkpoint)


def _configuration(folder: Path, out: Path, **changes: Any) -> Path:
    """The shipped configuration on the statistics at hand."""
    config = yaml.safe_load(_CONFIG.read_text())
    config["trainer"] |= {
        "max_steps": 20,
        "default_root_dir": str(out / "run"),
        "enable_progress_bar": False,
        "log_every_n_steps": 1,
    }
    config["data"]["init_args"] |= {
        "statistics": str(folder / "statistics"),
        "labels": str(folder / "truth.npz"),
        "batch_size": 20,
    }
    for key, value in changes.items():
        section = config["data" if key == "pairs" else "model"]
        section["init_args"][key] = value
    path = out / "run.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.mark.parametrize(
    "changes",
    [
        {
            "pairs": True,
            "prior": {
                "class_path": "LaplaceTransition",
                "init_args": {"learnable": True, "conformation_dim": 2},
            },
        },
        {"prior": {"class_path": "Boltzmann", "init_args": {"conformation_dim": 2}}},
    ],
    ids=["pairs", "temperature"],
)
def test_the_shipped_configuration_is_trained(
    folder: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    config = _configuration(folder, tmp_path, **changes)
    tiny.call("fit", "--config", config)
    run = tmp_path / "run"
    losses = tiny.read_metrics(run, "train/loss")
    assert len(losses) == 20
    assert np.isfinite(losses).all()
    report = json.loads((run / "report/report.json").read_text())
    assert any(name.endswith("verdict") for name in report)
    assert (run / "report/volumes.png").is_file()
    tiny.call("predict", "--config", config, "--ckpt_path", run / "checkpoints/last.ckpt")
    mean, log_variance = read_latents(run / "prediction/z.pkl")
    assert mean.shape == (_COUNT, 2)
    assert log_variance is not None


def test_two_processes_train(folder: Path, tmp_path: Path) -> None:
    config = _configuration(folder, tmp_path)
    two = ("--trainer.devices=2", "--trainer.strategy=ddp")
    tiny.succeed_together("fit", "--config", config, *two)
    assert np.isfinite(tiny.read_metrics(tmp_path / "run", "train/loss")).all()
    checkpoint = tmp_path / "run/checkpoints/last.ckpt"
    words = ("--config", config, "--ckpt_path", checkpoint)
    found = {}
    for name, run, more in (("one", tiny.call, ()), ("two", tiny.succeed_together, two)):
        out = tmp_path / name
        run("validate", *words, f"--trainer.default_root_dir={out}", *more)
        found[name] = tiny.read_metrics(out, "val/kl")
    assert found["two"] == pytest.approx(found["one"], rel=1e-5)
