"""What was learned on statistics goes on as a model of images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from cryo_disentangle.evaluation.assembling import assemble_run
from cryo_disentangle.evaluation.training_runs import open_training_run
from cryo_disentangle.imaging import contrast_transfer, shift_hartley
from cryo_disentangle.modules import HeterogeneousReconstruction
from cryo_disentangle.particles import ParticleStack
from cryo_disentangle.statistics.image_posterior import SubspacePosterior
from cryo_disentangle.statistics.origin import digest_particles
from tests import tiny
from tests.statistics.synthetic import statistics_of, subspace_of, write

_COUNT = 40
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers", "ignore:.*LeafSpec", "ignore:.*tensorboardX"
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A run on statistics that pretend to be of a tiny stack, and the stack's files."""
    folder = tmp_path_factory.mktemp("assembling")
    made = tiny.write_stack(folder / "data", count=_COUNT)
    files: dict[str, Any] = {name: Path(made[name]) for name in ("particles", "poses", "ctf")}
    stack = ParticleStack.open(**files)
    statistics = statistics_of(torch.randn(_COUNT, 3, generator=torch.Generator().manual_seed(0)))
    write(folder / "statistics", statistics, digest=digest_particles(stack))
    config = {
        "trainer": {
            "accelerator": "cpu",
            "max_steps": 3,
            "default_root_dir": str(folder / "run"),
            "enable_progress_bar": False,
        },
        "model": {"class_path": "SubspaceReconstruction", "init_args": {"hidden": 8}},
        "data": {
            "class_path": "StatisticsData",
            "init_args": {"statistics": str(folder / "statistics"), "batch_size": 10},
        },
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(config))
    tiny.call("fit", "--config", folder / "run.yaml")
    return folder, files


def test_the_assembled_model_is_the_trained_one(
    trained: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    folder, files = trained
    assemble_run(folder / "run", tmp_path / "images", **files)
    before = open_training_run(folder / "run").module
    found = open_training_run(tmp_path / "images")
    after: Any = found.module
    assert isinstance(after, HeterogeneousReconstruction)
    z = torch.tensor([0.4, -0.7])
    torch.testing.assert_close(after.volume(z), before.volume(z))  # type: ignore[operator]
    assert all(p.requires_grad for p in after.parameters())

    batch = next(iter(found.data.predict_dataloader()))
    subspace = subspace_of(3)
    disc, box = subspace.grid.disc, subspace.box_size
    decoder = subspace.decoder()
    points = torch.cat([torch.zeros(1, 3), torch.eye(3)])
    seen = torch.stack(
        [
            decoder.render(p.expand(len(batch["index"]), -1), batch["rotation"], disc)
            * contrast_transfer(disc.frequencies, batch["ctf"], box)
            for p in points
        ],
        2,
    ).detach()
    columns = seen[..., 1:] - seen[..., :1]
    images = shift_hartley(disc.select(batch["images"]), disc.frequencies, batch["translation"])
    information = (columns.mT @ (images - seen[..., 0])[..., None])[..., 0]
    encoder = after.encoder
    assert isinstance(encoder, SubspacePosterior)
    expected = before.encoder(information, columns.mT @ columns)  # type: ignore[operator]
    with torch.no_grad():
        torch.testing.assert_close(after.infer(batch).mean, expected.mean, rtol=1e-3, atol=1e-3)


def test_a_model_of_images_trains_on(trained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder, files = trained
    out = tmp_path / "images"
    words = [f"--{name}={path}" for name, path in files.items()]
    tiny.call("assemble", folder / "run", "--out", out, *words)
    more = ("--trainer.max_steps=3", "--trainer.accelerator=cpu", "--trainer.log_every_n_steps=1")
    tiny.call(
        "fit",
        "--config",
        out / "config.yaml",
        "--ckpt_path",
        out / "checkpoints/last.ckpt",
        f"--trainer.default_root_dir={tmp_path / 'further'}",
        *more,
    )
    assert np.isfinite(tiny.read_metrics(tmp_path / "further", "train/loss")).all()


def test_what_does_not_belong_together_is_refused(
    trained: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    folder, files = trained
    other = tiny.write_stack(tmp_path / "other", count=20)
    with pytest.raises(ValueError, match=r"other particles .*than the statistics are of"):
        assemble_run(folder / "run", tmp_path / "o", particles=Path(other["particles"]))
    with pytest.raises(FileExistsError, match="exists: choose another folder"):
        assemble_run(folder / "run", tmp_path, **files)
    (tmp_path / "images").mkdir()
    config = tiny.write_config(tmp_path / "images", other, max_epochs=1)
    tiny.call("fit", "--config", config, "--trainer.enable_progress_bar=false")
    with pytest.raises(ValueError, match="takes a run of SubspaceReconstruction, found one of"):
        assemble_run(tmp_path / "images/run", tmp_path / "p", **files)
