"""The model without a Trainer: any loop can train it, and its weights are those of Lightning's."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cryo_disentangle.decoders import ImplicitDecoder
from cryo_disentangle.encoders import LatentTable, MLPEncoder
from cryo_disentangle.modules import HeterogeneousModel
from cryo_disentangle.modules.settings import ModelSettings
from cryo_disentangle.protocols import ConformationEncoder
from cryo_disentangle.protocols.inference import Evidence
from cryo_disentangle.protocols.models import LatentImageModel
from cryo_disentangle.types import Inference, Pose
from tests.small_model import COUNT, DIM, SIDE, make_batch, make_model


def make_plain(settings: ModelSettings | None = None, **options: Any) -> HeterogeneousModel:
    torch.manual_seed(0)
    parts: dict[str, Any] = {
        "encoder": partial(MLPEncoder, width=16, layers=1),
        "decoder": partial(ImplicitDecoder, width=16, layers=1),
    }
    return HeterogeneousModel(SIDE, DIM, **(parts | options), settings=settings)


def test_it_is_the_model_that_lightning_trains() -> None:
    plain, trained = make_plain(), make_model()
    assert isinstance(plain, LatentImageModel)
    assert list(plain.state_dict()) == list(trained.state_dict())
    plain.load_state_dict(trained.state_dict())
    batch = make_batch()
    assert torch.equal(plain.infer(batch).mean, trained.infer(batch).mean)
    terms = plain.loss_terms(batch, step=0, sample=False)
    assert torch.equal(terms["loss"], trained.loss_terms(batch, step=0, sample=False)["loss"])
    pose = Pose(batch["rotation"], batch["translation"])
    z = torch.zeros(COUNT, DIM)
    assert torch.equal(plain.generate(z, pose, batch), trained.generate(z, pose, batch))
    assert torch.equal(plain.volume(z[0]), trained.volume(z[0]))


def test_a_loop_of_ones_own_learns() -> None:
    model, batch = make_plain(ModelSettings(conformation_warmup=2)), make_batch()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for step in range(12):
        model.begin_step(step)
        assert model.infer(batch).mean.any() == (step >= 2)
        loss = model.loss_terms(batch, step=step, sample=True)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    model.begin_step(0)
    model.begin_step(None)
    assert model.infer(batch).mean.any()


def test_draws_come_from_the_generator_alone() -> None:
    model, batch = make_plain(ModelSettings(coefficient_share=0.3)), make_batch()

    def loss(seed: int) -> float:
        generator = torch.Generator().manual_seed(seed)
        terms = model.loss_terms(batch, step=0, sample=True, generator=generator)
        return float(terms["loss"].detach())

    before = torch.get_rng_state()
    assert loss(1) == loss(1) != loss(2)
    assert torch.equal(torch.get_rng_state(), before)


class _ByDefocus(nn.Module):
    """An encoder of one's own that reads what it likes of the particles."""

    def __init__(self, _coefficients: int, conformation_dim: int) -> None:
        super().__init__()
        self.dim = conformation_dim

    def posterior(self, evidence: Evidence) -> Inference:
        mean = evidence.batch["ctf"][:, 2:3].expand(-1, self.dim) / 1e4
        assert evidence.render(mean[:, None]).shape[:2] == (COUNT, 1)
        return Inference(mean, torch.zeros_like(mean))


def test_every_encoder_is_asked_in_the_same_way() -> None:
    for encoder in (partial(MLPEncoder, width=8), LatentTable, _ByDefocus):
        model = make_plain(ModelSettings(n_particles=COUNT), encoder=encoder)
        assert isinstance(model.encoder, ConformationEncoder)
        assert model.infer(make_batch()).mean.shape == (COUNT, DIM)
    found = make_plain(encoder=_ByDefocus).infer(make_batch()).mean
    torch.testing.assert_close(found[:, 0], make_batch()["ctf"][:, 2] / 1e4)


def test_a_plain_network_is_an_encoder() -> None:
    class Halves(nn.Linear):
        def __init__(self, coefficients: int, conformation_dim: int) -> None:
            super().__init__(coefficients, 2 * conformation_dim)

        def forward(self, features: Tensor) -> Any:
            return super().forward(features).chunk(2, -1)

    assert make_plain(encoder=Halves).infer(make_batch()).log_variance.shape == (COUNT, DIM)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (ModelSettings(conformation_warmup=-1), "conformation_warmup must not be negative"),
        (ModelSettings(coefficient_share=0.0), "coefficient_share must be above 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings: ModelSettings, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_plain(settings)
