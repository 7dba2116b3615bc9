from __future__ import annotations

from functools import partial
from typing import Any, cast

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor, nn

from cryo_disentangle.decoders import GaussianEncoding, ImplicitDecoder
from cryo_disentangle.encoders import MLPEncoder
from cryo_disentangle.geometry import random_rotations
from cryo_disentangle.imaging import contrast_transfer, lattice_frequencies, shift_hartley
from cryo_disentangle.losses import LinearSchedule
from cryo_disentangle.modules import HeterogeneousReconstruction
from cryo_disentangle.protocols import LatentImageModel
from cryo_disentangle.types import Inference, ParticleBatch, Pose
from tests.helpers import shared

BOX, DIM = 16, 2


def make_model(**options: Any) -> HeterogeneousReconstruction:
    torch.manual_seed(0)
    settings: dict[str, Any] = {
        "encoder": partial(MLPEncoder, width=16, layers=1),
        "decoder": partial(ImplicitDecoder, width=16, layers=1),
    }
    return HeterogeneousReconstruction(BOX, DIM, **(settings | options))


def make_batch(count: int = 4) -> ParticleBatch:
    generator = torch.Generator().manual_seed(1)
    row = torch.tensor([BOX, 4.0, 15000.0, 14000.0, 20.0, 300.0, 2.7, 0.1, 0.0])
    return {
        "images": torch.randn(count, BOX + 1, BOX + 1, generator=generator),
        "rotation": random_rotations(count, generator=generator),
        "translation": torch.randn(count, 2, generator=generator),
        "ctf": row.repeat(count, 1),
        "index": torch.arange(count),
    }


class Recorder(nn.Module):
    """An encoder that keeps what it was given."""

    def __init__(self, coefficients: int, dim: int) -> None:
        super().__init__()
        self.dim, self.coefficients = dim, coefficients
        self.seen = torch.empty(0)

    def forward(self, coefficients: Tensor) -> tuple[Tensor, Tensor]:
        self.seen = coefficients
        zeros = coefficients.new_zeros(len(coefficients), self.dim)
        return zeros, zeros


class Squared(nn.Module):
    """A penalty on the size of latents."""

    def forward(
        self, model: LatentImageModel, batch: ParticleBatch, inference: Inference
    ) -> Tensor:
        del model, batch
        return inference.mean.square().mean()


def test_loss_is_cryodrgns() -> None:
    model, batch = make_model(kl_weight=0.7), make_batch()
    disc = model.disc
    y = shift_hartley(disc.select(batch["images"]), disc.frequencies, batch["translation"])
    transfer = contrast_transfer(disc.frequencies, batch["ctf"], BOX)
    mean, log_variance = cast(MLPEncoder, model.encoder)(y * transfer.sign())
    rendered = model.decoder.render(mean, batch["rotation"], disc) * transfer
    reconstruction = (rendered - y).square().mean()
    kl = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(1).mean()
    terms = model._terms(batch, sample=False)
    torch.testing.assert_close(terms["reconstruction"], reconstruction)
    torch.testing.assert_close(terms["kl"], kl)
    torch.testing.assert_close(terms["loss"], reconstruction + 0.7 * kl / len(disc))


def test_generated_images_stand_in_for_the_data_sets() -> None:
    model, batch = make_model(encoder=Recorder), make_batch()
    z = torch.randn(4, DIM)
    pose = Pose(batch["rotation"], batch["translation"])
    images = model.generate(z, pose, batch)
    assert images.shape == batch["images"].shape
    model.infer(cast(ParticleBatch, {**batch, "images": images}))
    transfer = contrast_transfer(model.disc.frequencies, batch["ctf"], BOX)
    slices = model.decoder.render(z, batch["rotation"], model.disc)
    torch.testing.assert_close(
        cast(Recorder, model.encoder).seen, slices * transfer.abs(), rtol=1e-4, atol=1e-5
    )


def test_translation_moves_generated_content_by_its_opposite() -> None:
    model, batch = make_model(), make_batch()
    z = torch.randn(4, DIM)
    centred = model.generate(z, Pose(batch["rotation"]), batch).flatten(1)
    moved = model.generate(z, Pose(batch["rotation"], batch["translation"]), batch).flatten(1)
    expected = shift_hartley(centred, lattice_frequencies(BOX), -batch["translation"])
    torch.testing.assert_close(moved, expected, rtol=1e-4, atol=1e-5)


def test_only_what_the_encoder_reads_is_rendered() -> None:
    model, batch = make_model(encoder=Recorder, encoder_radius=5), make_batch()
    assert cast(Recorder, model.encoder).coefficients == len(model.encoder_disc)
    images = model.generate(torch.zeros(4, DIM), Pose(batch["rotation"]), batch)
    assert int((images != 0).any(0).sum()) <= len(model.encoder_disc)
    whole = make_model(encoder=Recorder, encoder_radius=-1)
    assert cast(Recorder, whole.encoder).coefficients == (BOX + 1) ** 2
    assert whole.infer(batch).mean.shape == (4, DIM)


def test_penalties_and_schedules_enter_the_loss() -> None:
    model = make_model(
        penalties={"squared": Squared()}, kl_weight=LinearSchedule(0.0, 1.0, last_step=10)
    )
    terms = model._terms(make_batch(), sample=False)
    # At step 0 the scheduled weight is 0.
    torch.testing.assert_close(terms["loss"], terms["reconstruction"] + terms["squared"])


def test_draws_are_a_function_of_seed_epoch_and_batch() -> None:
    batch = make_batch()

    def loss(model: HeterogeneousReconstruction, batch_idx: int) -> float:
        model.on_train_batch_start(batch, batch_idx)
        return float(model._terms(batch, sample=True)["reconstruction"].detach())

    model, other = make_model(), make_model(seed=1)
    assert loss(model, 3) == loss(model, 3)
    assert loss(model, 3) != loss(model, 4)
    assert loss(model, 3) != loss(other, 3)


def test_units_of_volumes_come_from_training() -> None:
    checkpoint: dict[str, Any] = {}
    make_model(pixel_size=3.5, intensity_scale=7.0).on_save_checkpoint(checkpoint)
    model = make_model()
    z = torch.zeros(DIM)
    before = model.volume(z)
    model.on_load_checkpoint(checkpoint)
    assert model.pixel_size == 3.5
    torch.testing.assert_close(model.volume(z), 7 * before)


def test_weights_of_cryodrgn_load_as_they_are() -> None:
    folder = shared("golden/cryodrgn/model_fourier")
    args = yaml.safe_load((folder / "config.yaml").read_text())["model_args"]
    model = HeterogeneousReconstruction(
        32,
        args["zdim"],
        encoder=partial(MLPEncoder, width=args["qdim"], layers=args["qlayers"]),
        decoder=partial(
            ImplicitDecoder,
            width=args["pdim"],
            layers=args["players"],
            encoding=GaussianEncoding(args["feat_sigma"]),
        ),
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


def test_the_contract_is_met() -> None:
    assert isinstance(make_model(), LatentImageModel)


def test_bad_input_is_refused() -> None:
    with pytest.raises(TypeError, match=r"a decoder needs render\(.*found MLPEncoder"):
        make_model(decoder=MLPEncoder)
    with pytest.raises(ValueError, match="conformation_dim must be at least 1, found 0"):
        HeterogeneousReconstruction(BOX, 0)
    model, batch = make_model(), make_batch()
    small = cast(ParticleBatch, {**batch, "images": batch["images"][:, 1:, 1:]})
    with pytest.raises(ValueError, match=r"box size 16 and expects Hartley transforms of side 17"):
        model.infer(small)
    unposed = cast(ParticleBatch, {k: v for k, v in batch.items() if k != "rotation"})
    with pytest.raises(ValueError, match="the particles have no poses"):
        model.training_step(unposed, 0)
