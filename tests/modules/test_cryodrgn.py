"""Models of cryoDRGN's runs: their loss, their optimiser, and bad input."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from cryo_disentangle.cli import main
from cryo_disentangle.encoders import RenderedPosterior
from cryo_disentangle.interop import CryoDRGNParticles, CryoDRGNRun
from cryo_disentangle.interop.adam import continue_adam
from cryo_disentangle.modules import CryoDRGNReconstruction
from tests import tiny
from tests.callbacks import watched
from tests.helpers import shared
from tests.interop import runs

pytestmark = [
    *(pytest.mark.filterwarnings(quiet) for quiet in watched.QUIET),
    pytest.mark.filterwarnings("ignore:The dirpath has changed:UserWarning"),
]


@pytest.mark.parametrize("name", runs.MODELS)
def test_golden_loss(name: str, tmp_path: Path) -> None:
    folder = runs.golden_run(tmp_path, name)
    model = CryoDRGNReconstruction(folder)
    assert (model.encoder_disc.radius, model.start_epoch) == (16, 2)
    batch = next(iter(CryoDRGNParticles(folder, batch_size=8).predict_dataloader()))
    terms = model.loss_terms(batch, step=0, sample=False)
    found = torch.stack([terms[key] for key in ("loss", "reconstruction", "kl")])
    with np.load(shared(f"golden/cryodrgn/{name}/expected.npz")) as archive:
        np.testing.assert_allclose(found.detach().numpy(), archive["batch_loss"], rtol=1e-5)


def test_the_optimiser_goes_on(tmp_path: Path) -> None:
    """A step from the run's moments is not that of a fresh Adam."""
    folder = runs.golden_run(tmp_path)
    state = CryoDRGNRun.open(folder).optimizer_state
    assert state is not None
    model = CryoDRGNReconstruction(folder)
    adam = model.configure_optimizers()
    assert adam.param_groups[0]["lr"] == 1e-3
    first = state["state"][0]["exp_avg"].clone()
    parameters = [*model.encoder.parameters(), *model.decoder.parameters()]  # type: ignore[attr-defined]
    assert len(adam.state) == len(state["state"]) == len(parameters) - 1
    theirs = torch.optim.Adam([p.detach().clone().requires_grad_() for p in parameters])
    theirs.load_state_dict(state)
    mirrored = theirs.param_groups[0]["params"]
    for one, other in zip(parameters, mirrored, strict=True):
        if one.requires_grad:
            one.grad, other.grad = torch.ones_like(one), torch.ones_like(other)
    adam.step()
    theirs.step()
    for one, other in zip(parameters, mirrored, strict=True):
        assert torch.equal(one, other)
    # What was read is not changed by training, which may begin again.
    assert torch.equal(model.configure_optimizers().state_dict()["state"][0]["exp_avg"], first)


def test_what_does_not_fit_starts_afresh() -> None:
    layers = [torch.nn.Linear(3, 2), torch.nn.Linear(2, 2)]
    parameters = [p for layer in layers for p in layer.parameters()]
    moments = {"step": 5, "exp_avg": torch.ones(2, 3), "exp_avg_sq": torch.ones(2, 3)}
    state = {"state": {0: moments, 1: moments, 2: {}}}
    adam = torch.optim.Adam(parameters)
    assert continue_adam(adam, state, layers) == 1
    assert set(adam.state) == {parameters[0]}
    assert continue_adam(torch.optim.SGD(parameters), state, layers) == 0
    assert continue_adam(adam, {}, layers) == 0


def test_an_adam_and_a_schedule_of_ones_own(tmp_path: Path) -> None:
    model = CryoDRGNReconstruction(
        runs.golden_run(tmp_path),
        optimizer=partial(torch.optim.Adam, lr=1e-5),
        lr_scheduler=partial(torch.optim.lr_scheduler.StepLR, step_size=1),
    )
    made = model.configure_optimizers()
    assert made["optimizer"].param_groups[0]["lr"] == 1e-5
    assert made["optimizer"].state


def test_runs_without_an_encoder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a run of train_dec has no encoder that could be trained"):
        CryoDRGNReconstruction(runs.decoder_run(tmp_path))


def test_data_of_another_box_size(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="run is of box size 32, the particles have box size 64"):
        CryoDRGNReconstruction(runs.golden_run(tmp_path), box_size=64)


def test_fine_tuning_from_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("SLURM_NTASKS", "SLURM_JOB_NAME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("sys.argv", ["cryo-disentangle"])
    monkeypatch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
    run, out = runs.golden_run(tmp_path), tmp_path / "out"
    config = Path(__file__).resolve().parents[2] / "configs/cryodrgn_finetune.yaml"
    quiet = ["--trainer.callbacks", "CryoDRGNExport", "--trainer.enable_progress_bar=false"]
    short = ["--trainer.max_epochs=1", "--trainer.accelerator=cpu", "--data.batch_size=8"]
    where = ["--model.checkpoint", str(run), "--trainer.default_root_dir", str(out)]
    main(["fit", "--config", str(config), *where, *short, *quiet])
    exported = CryoDRGNRun.open(out / "cryodrgn")
    assert exported.epoch == 1
    before = CryoDRGNRun.open(run)
    assert exported.networks == before.networks
    assert exported.config.images.norm == before.config.images.norm
    assert not torch.equal(
        *(next(iter(r.decoder.decoder.parameters())) for r in (before, exported))
    )
    saved = yaml.safe_load((out / "config.yaml").read_text())
    assert saved["model"]["init_args"]["checkpoint"] == str(run)
    # The saved configuration alone is enough to go on.
    checkpoint = str(out / "checkpoints/last.ckpt")
    again = ["--ckpt_path", checkpoint, "--trainer.default_root_dir", str(tmp_path / "again")]
    main(["validate", "--config", str(out / "config.yaml"), *again, "--trainer.callbacks=null"])


def test_rendering_in_the_place_of_the_runs_encoder(tmp_path: Path) -> None:
    """The decoder alone is trained; the encoder is kept for folders of cryoDRGN."""
    folder = tmp_path / "begun"
    main(["export", str(runs.golden_run(tmp_path)), "--out", str(folder)])
    words = ["fit", "--model", "CryoDRGNReconstruction", "--model.checkpoint", str(folder)]
    words += ["--model.encoder", "RenderedPosterior", "--data", "CryoDRGNParticles"]
    words += ["--data.batch_size", "8", "--trainer.max_epochs", "1", "--trainer.accelerator", "cpu"]
    words += ["--trainer.default_root_dir", str(tmp_path / "run")]
    tiny.call(*words, "--trainer.callbacks+=CryoDRGNExport")
    before = CryoDRGNRun.open(folder)
    after = CryoDRGNRun.open(tmp_path / "run/cryodrgn")
    assert before.encoder is not None
    assert after.encoder is not None
    for name, value in before.encoder.state_dict().items():
        assert torch.equal(value, after.encoder.state_dict()[name])
    moved = [
        not torch.equal(value, after.decoder.state_dict()[name])
        for name, value in before.decoder.state_dict().items()
    ]
    assert any(moved)
    found = before.latents()[0]
    assert after.latents()[0].shape == found.shape
    module = CryoDRGNReconstruction(folder, encoder=RenderedPosterior)
    mean, log_variance = before.latents()
    assert log_variance is not None
    spread = np.sqrt(mean.var(0, ddof=1) + np.exp(log_variance).mean(0))
    assert isinstance(module.encoder, RenderedPosterior)
    np.testing.assert_allclose(module.encoder.prior_std.numpy(), spread, rtol=1e-4)
