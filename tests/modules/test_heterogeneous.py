"""Heterogeneous reconstruction: its loss, its contract and its randomness."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
import yaml
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from cryo_disentangle.decoders import ImplicitDecoder
from cryo_disentangle.encoders import MLPEncoder
from cryo_disentangle.imaging import FourierDisc, contrast_transfer, shift_hartley
from cryo_disentangle.imaging.lattice import lattice_frequencies
from cryo_disentangle.losses import LinearSchedule
from cryo_disentangle.modules import HeterogeneousReconstruction
from cryo_disentangle.protocols.models import LatentImageModel
from cryo_disentangle.types import Inference, ParticleBatch, Pose
from tests.helpers import shared
from tests.small_model import COUNT, DIM, SIDE, make_batch, make_model


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What modules log, without a trainer."""
    values: dict[str, Any] = {}

    def log(_: nn.Module, name: str, value: Tensor, **__: object) -> None:
        values[name] = value

    monkeypatch.setattr(HeterogeneousReconstruction, "log", log)
    return values


def reference_terms(
    model: HeterogeneousReconstruction, batch: ParticleBatch, encoder_disc: FourierDisc
) -> tuple[Tensor, Tensor]:
    """cryoDRGN's training step on the whole lattice; draws z from the global generator."""
    disc, frequencies = FourierDisc(SIDE), lattice_frequencies(SIDE)
    y = batch["images"].flatten(1)
    if "translation" in batch:
        y = shift_hartley(y, frequencies, batch["translation"])
    c = torch.ones_like(y)
    if "ctf" in batch:
        c = contrast_transfer(frequencies, batch["ctf"], SIDE)
    mean, log_variance = model.encoder((y * c.sign())[:, encoder_disc.index])
    z = mean + torch.exp(0.5 * log_variance) * torch.empty(COUNT, DIM).normal_()
    rendered = model.decoder.render(z, batch["rotation"], disc) * c[:, disc.index]
    reconstruction = (rendered - y[:, disc.index]).square().mean()
    kl = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(-1).mean()
    return reconstruction, kl


@pytest.mark.parametrize("ctf", [True, False])
@pytest.mark.parametrize("translation", [True, False])
@pytest.mark.parametrize("radius", [None, 8, 5, -1])
def test_training_loss_is_that_of_cryodrgn(
    ctf: bool, translation: bool, radius: int | None, logged: dict[str, Any]
) -> None:
    model = make_model(encoder_radius=radius, kl_weight=0.7)
    batch = make_batch(ctf=ctf, translation=translation)
    torch.manual_seed(3)
    reconstruction, kl = reference_terms(model, batch, FourierDisc(SIDE, radius))
    torch.manual_seed(3)
    loss = model.training_step(batch, 0)
    expected = reconstruction + 0.7 * kl / len(FourierDisc(SIDE))
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(logged["train/loss"], loss)
    torch.testing.assert_close(logged["train/reconstruction"], reconstruction, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(logged["train/kl"], kl, rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("logged")
def test_weight_of_the_divergence(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = make_batch()

    def loss(weight: float | LinearSchedule | None, step: int = 0) -> Tensor:
        model = make_model(kl_weight=weight)
        monkeypatch.setattr(HeterogeneousReconstruction, "global_step", step)
        torch.manual_seed(3)
        return model.training_step(batch, 0).detach()

    torch.testing.assert_close(loss(None), loss(1 / DIM))
    schedule = LinearSchedule(0.0, 50.0, last_step=10)
    for step, weight in [(0, 0.0), (4, 20.0), (10, 50.0), (11, 50.0)]:
        torch.testing.assert_close(loss(schedule, step), loss(weight))
    assert float(loss(50.0)) > float(loss(0.0))


class _Recorder(nn.Module):
    """An encoder that keeps what it sees."""

    def __init__(self, coefficients: int, conformation_dim: int) -> None:
        super().__init__()
        self.shape = (coefficients, conformation_dim)
        self.seen = torch.empty(0)

    def forward(self, coefficients: Tensor) -> tuple[Tensor, Tensor]:
        assert coefficients.shape[1] == self.shape[0]
        self.seen = coefficients
        zeros = coefficients.new_zeros(len(coefficients), self.shape[1])
        return zeros, zeros


@torch.no_grad()
@pytest.mark.parametrize("ctf", [True, False])
@pytest.mark.parametrize("radius", [None, 5, -1])
def test_inference_centres_what_generation_moved(ctf: bool, radius: int | None) -> None:
    model = make_model(encoder=_Recorder, encoder_radius=radius)
    batch = make_batch(ctf=ctf)
    z = torch.randn(COUNT, DIM)
    images = model.generate(z, Pose(batch["rotation"], batch["translation"]), batch)
    assert images.shape == batch["images"].shape
    model.infer({**batch, "images": images})

    rendered_disc = FourierDisc(SIDE, None if radius == -1 else radius)
    expected = model.decoder.render(z, batch["rotation"], rendered_disc)
    if ctf:
        transfer = contrast_transfer(rendered_disc.frequencies, batch["ctf"], SIDE)
        expected = expected * transfer.abs()
    whole = rendered_disc.scatter(expected)
    read = FourierDisc(SIDE, radius).select(whole)
    assert isinstance(model.encoder, _Recorder)
    torch.testing.assert_close(model.encoder.seen, read, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_generation_moves_content_by_the_opposite_of_the_translation() -> None:
    model, batch = make_model(), make_batch()
    z, disc = torch.randn(COUNT, DIM), FourierDisc(SIDE)
    moved = model.generate(z, Pose(batch["rotation"], batch["translation"]), batch)
    centred = disc.select(model.generate(z, Pose(batch["rotation"]), batch))
    expected = shift_hartley(centred, disc.frequencies, -batch["translation"])
    torch.testing.assert_close(disc.select(moved), expected)


def test_satisfies_the_contract_of_losses_and_metrics() -> None:
    model = make_model()
    assert isinstance(model, LatentImageModel)
    inference = model.infer(make_batch())
    assert inference.pose is None
    assert inference.mean.shape == inference.log_variance.shape == (COUNT, DIM)


class _Spread(nn.Module):
    """A penalty on the posterior means, with a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(2.0))

    def forward(
        self, model: LatentImageModel, batch: ParticleBatch, inference: Inference
    ) -> Tensor:
        assert isinstance(model, LatentImageModel)
        assert len(batch["index"]) == len(inference.mean)
        return self.weight * (1 + inference.mean.square().sum())


def test_penalties_are_added_and_logged(logged: dict[str, Any]) -> None:
    batch = make_batch()
    torch.manual_seed(3)
    plain = make_model()
    penalized = make_model(penalties={"spread": _Spread()})
    torch.manual_seed(3)
    without = plain.training_step(batch, 0)
    torch.manual_seed(3)
    loss = penalized.training_step(batch, 0)
    expected = 2 * (1 + plain.infer(batch).mean.square().sum())
    torch.testing.assert_close(logged["train/spread"], expected)
    torch.testing.assert_close(loss, without + expected)
    penalized.validation_step(batch, 0)
    assert "val/spread" in logged
    optimizer = penalized.configure_optimizers()
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    assert any(p is penalized.penalties["spread"].weight for p in trained)


def test_a_lone_particle_is_refused_where_processes_wait_for_it(
    monkeypatch: pytest.MonkeyPatch, logged: dict[str, Any]
) -> None:
    batch: Any = make_batch()
    lone: Any = {key: value[:1] for key, value in batch.items()}
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    model = make_model(penalties={"spread": _Spread()})
    with pytest.raises(
        ValueError, match=r"parameters of spread need .* a batch_size of at least 2"
    ):
        model.training_step(lone, 0)
    model.validation_step(lone, 0)
    model.penalties["spread"].requires_grad_(False)
    model.training_step(lone, 0)
    assert "train/loss" in logged


def test_validation_takes_the_posterior_mean(logged: dict[str, Any]) -> None:
    model, batch = make_model(), make_batch()
    torch.manual_seed(1)
    model.validation_step(batch, 0)
    first = float(logged["val/loss"].compute())
    logged["val/loss"].reset()
    torch.manual_seed(2)
    model.test_step(batch, 0)
    assert float(logged["val/loss"].compute()) == first


def test_volumes_keep_the_units_of_training() -> None:
    trained = make_model(pixel_size=3.5, intensity_scale=7.0)
    checkpoint: dict[str, Any] = {"state_dict": trained.state_dict()}
    trained.on_save_checkpoint(checkpoint)
    other = make_model(pixel_size=1.0, intensity_scale=1.0)
    other.load_state_dict(trained.state_dict())
    z = torch.zeros(DIM)
    torch.testing.assert_close(7 * other.volume(z), trained.volume(z))
    other.on_load_checkpoint(checkpoint)
    assert (other.pixel_size, other.intensity_scale) == (3.5, 7.0)
    assert torch.equal(other.volume(z), trained.volume(z))
    assert other.volume(z, 8).shape == (8, 8, 8)


def test_weights_of_other_networks_are_refused() -> None:
    checkpoint: dict[str, Any] = {"state_dict": make_model().state_dict()}
    make_model().on_save_checkpoint(checkpoint)
    wider = make_model(encoder=partial(MLPEncoder, width=32, layers=1))
    with pytest.raises(ValueError, match=r"other networks: for encoder\.\S+ of shape \(32, .*16"):
        wider.on_load_checkpoint(checkpoint)


@pytest.mark.usefixtures("logged")
def test_randomness_is_a_function_of_seed_process_epoch_and_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batch = make_batch()

    def loss(seed: int = 0, rank: int = 0, epoch: int = 0, number: int = 0) -> float:
        model = make_model(seed=seed)
        monkeypatch.setattr(HeterogeneousReconstruction, "global_rank", rank)
        monkeypatch.setattr(HeterogeneousReconstruction, "current_epoch", epoch)
        torch.rand(seed + rank + epoch + number + 1)  # what was drawn before does not matter
        model.on_train_batch_start(batch, number)
        return float(model.training_step(batch, number).detach())

    keys = [{}, {"seed": 1}, {"rank": 1}, {"epoch": 1}, {"number": 1}]
    values = [loss(**key) for key in keys]
    assert values == [loss(**key) for key in keys]
    assert len(set(values)) == len(values)


def test_a_learning_rate_schedule_is_handed_to_lightning() -> None:
    halve: Callable[..., Any] = partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5)
    made = make_model(lr_scheduler=halve, lr_interval="step").configure_optimizers()
    assert made["lr_scheduler"]["interval"] == "step"
    assert made["lr_scheduler"]["scheduler"].optimizer is made["optimizer"]
    frozen = [p for p in make_model().parameters() if not p.requires_grad]
    trained = [p for group in made["optimizer"].param_groups for p in group["params"]]
    assert len(frozen) == 1
    assert all(p.requires_grad for p in trained)


def test_a_decoder_that_cannot_render_is_refused() -> None:
    with pytest.raises(TypeError, match=r"a decoder needs render\(.*found Linear"):
        make_model(decoder=nn.Linear)


def test_a_decoder_for_another_pixel_size_is_refused() -> None:
    class Atoms(ImplicitDecoder):
        pixel_size = 2.0

    HeterogeneousReconstruction(8, 2, decoder=Atoms, pixel_size=2.0005)
    with pytest.raises(ValueError, match=r"made for 2 Å per pixel, the particles have 1\.6"):
        HeterogeneousReconstruction(8, 2, decoder=Atoms, pixel_size=1.6)


@pytest.mark.parametrize("dim", [0, -1])
def test_a_latent_space_without_coordinates_is_refused(dim: int) -> None:
    with pytest.raises(ValueError, match=f"conformation_dim must be at least 1, found {dim}"):
        make_model(conformation_dim=dim)


def test_an_odd_box_is_refused() -> None:
    with pytest.raises(ValueError, match="even and positive, found 15"):
        HeterogeneousReconstruction(15)


def test_particles_without_poses_are_refused() -> None:
    batch = make_batch()
    del batch["rotation"]
    with pytest.raises(ValueError, match="the particles have no poses"):
        make_model().training_step(batch, 0)


def test_images_of_another_size_are_refused() -> None:
    batch = make_batch()
    batch["images"] = batch["images"][:, :-1, :-1]
    with pytest.raises(ValueError, match=r"box size 16 and expects .* side 17, found .*16, 16"):
        make_model().infer(batch)


@pytest.mark.parametrize("weight", [-1.0, LinearSchedule(-1.0, 1.0, last_step=10)])
def test_a_negative_weight_of_the_divergence_is_refused(weight: Any) -> None:
    with pytest.raises(ValueError, match=r"must be finite and >= 0, found -1\.0"):
        make_model(kl_weight=weight)


@pytest.mark.parametrize("precision", ["bf16-true", "16-true"])
def test_half_precision_throughout_is_refused(precision: Any) -> None:
    options: dict[str, Any] = {"accelerator": "cpu", "logger": False, "max_epochs": 1}
    trainer = L.Trainer(precision=precision, enable_checkpointing=False, **options)
    loader = DataLoader(TensorDataset(torch.zeros(2)))
    mixed = precision.replace("true", "mixed")
    with pytest.raises(ValueError, match=f"{precision} would round poses .* digits: use {mixed}"):
        trainer.fit(make_model(), loader, loader)


@torch.no_grad()
def test_reads_the_weights_of_cryodrgn() -> None:
    folder = shared("golden/cryodrgn/model_fourier")
    config = yaml.safe_load((folder / "config.yaml").read_text())
    args = config["model_args"]
    model = HeterogeneousReconstruction(
        config["lattice_args"]["D"] - 1,
        args["zdim"],
        partial(MLPEncoder, width=args["qdim"], layers=args["qlayers"]),
        partial(ImplicitDecoder, width=args["pdim"], layers=args["players"]),
        encoder_radius=args["enc_mask"],
    )
    weights = torch.load(folder / "weights.pkl", weights_only=True)["model_state_dict"]
    assert set(model.state_dict()) == set(weights)
    model.load_state_dict(weights, strict=True)
    with np.load(shared("golden/cryodrgn/dataset.npz")) as archive:
        images = torch.from_numpy(archive["encoder_input_first4"])
    inference = model.infer({"images": images, "index": torch.arange(4)})
    with np.load(folder / "expected.npz") as archive:
        expected = torch.from_numpy(archive["enc_mu"][:4])
    torch.testing.assert_close(inference.mean, expected, rtol=1e-4, atol=1e-5)
