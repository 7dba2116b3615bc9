"""What makes a training step faster changes what it computes in no other way than is said."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, nn

from cryo_disentangle.decoders import BasisDecoder, ImplicitDecoder
from cryo_disentangle.encoders import PoseHead
from cryo_disentangle.modules import HeterogeneousReconstruction, image_model
from tests.modules.test_configuration import build, part
from tests.small_model import make_batch, make_model

# Tracing looks at the gradients of whatever it is given, and makes instances of functions.
pytestmark = [
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*Function.* should not be instantiated:DeprecationWarning"),
]

_DECODERS: dict[str, Any] = {
    "fourier": partial(ImplicitDecoder, width=16, layers=1),
    "hartley": partial(ImplicitDecoder, width=16, layers=1, domain="hartley"),
    "basis": partial(BasisDecoder, rank=2, hidden=8, layers=1),
}


def _loss_and_gradients(model: HeterogeneousReconstruction) -> list[Tensor]:
    """Reconstruction, whole loss and the gradient of everything, with the same draw of z."""
    model.zero_grad()
    torch.manual_seed(3)
    terms = model.loss_terms(make_batch(), step=0, sample=True)
    terms["loss"].backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    return [terms["reconstruction"].detach(), terms["loss"].detach(), *gradients]


@pytest.mark.parametrize("radius", [None, 5])
@pytest.mark.parametrize("decoder", _DECODERS)
def test_the_mean_over_all_subsets_is_the_loss_of_all_coefficients(
    decoder: str, radius: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"decoder": _DECODERS[decoder], "encoder_radius": radius}
    expected = _loss_and_gradients(make_model(**options))
    model = make_model(**options, coefficient_share=1 / 7)
    count, rest = divmod(len(model.disc) // 2, 7)
    assert not rest
    # Seven turns of one permutation, in which every pair is drawn once.
    permutation = torch.randperm(7 * count, generator=torch.Generator().manual_seed(0))
    found: list[Tensor] = []
    for draw in range(7):
        turned = permutation.roll(draw * count)
        monkeypatch.setattr(torch, "randperm", lambda *_, turned=turned, **__: turned)
        values = _loss_and_gradients(model)
        sums = found or [torch.zeros_like(value) for value in values]
        found = [a + b / 7 for a, b in zip(sums, values, strict=True)]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_a_step_renders_its_share_and_an_evaluation_all(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model(coefficient_share=0.1)
    seen: list[int] = []
    render = model.decoder.render

    def counted(conformation: Tensor, rotation: Tensor, disc: Any) -> Tensor:
        seen.append(len(disc))
        return render(conformation, rotation, disc)

    monkeypatch.setattr(model.decoder, "render", counted)
    model.loss_terms(make_batch(), step=0, sample=True)
    terms = model.loss_terms(make_batch(), step=0, sample=False)
    assert seen == [2 * round(0.05 * len(model.disc)), len(model.disc)]
    whole = make_model().loss_terms(make_batch(), step=0, sample=False)
    torch.testing.assert_close(terms["loss"], whole["loss"])


def test_subsets_follow_the_seed_of_the_step() -> None:
    model = make_model(coefficient_share=0.2)
    first = _loss_and_gradients(model)[0]
    assert torch.equal(_loss_and_gradients(model)[0], first)
    torch.manual_seed(4)
    assert not torch.equal(
        model.loss_terms(make_batch(), step=0, sample=True)["reconstruction"], first
    )


@pytest.mark.parametrize("share", [0.0, 1.1, float("nan")])
def test_an_odd_share_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="coefficient_share must be above 0 and at most 1, found"):
        make_model(coefficient_share=share)


@pytest.fixture
def _compiler(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Traces as `torch.compile` does, without the minute that generating code takes."""
    torch._dynamo.reset()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    image_model._compiled.cache_clear()
    yield
    image_model._compiled.cache_clear()
    torch._dynamo.reset()


@pytest.mark.usefixtures("_compiler")
@pytest.mark.parametrize("decoder", _DECODERS)
def test_a_compiled_model_trains_alike(decoder: str) -> None:
    options: dict[str, Any] = {"decoder": _DECODERS[decoder], "coefficient_share": 0.5}
    expected = _loss_and_gradients(make_model(**options))
    model = make_model(**options, compile=True)
    for _ in range(2):
        for one, other in zip(_loss_and_gradients(model), expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    # Copies and weights stay those of a plain model.
    assert copy.deepcopy(model).state_dict().keys() == make_model(**options).state_dict().keys()


class _Step(nn.Module):
    """The loss as the forward pass, as Lightning's DDP has it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self) -> Tensor:
        loss: Tensor = self.model.loss_terms(make_batch(), step=0, sample=True)["loss"]  # type: ignore[operator]
        return loss


@pytest.mark.usefixtures("_compiler")
def test_a_compiled_model_trains_under_ddp_and_amp() -> None:
    def gradients(model: HeterogeneousReconstruction, wrapped: nn.Module) -> list[Tensor]:
        torch.manual_seed(3)
        with torch.autocast("cpu", torch.bfloat16):
            wrapped().backward()
        return [p.grad for p in model.parameters() if p.grad is not None]

    plain = make_model(pose_head=partial(PoseHead, width=8, layers=1, hypotheses=1))
    expected = gradients(plain, _Step(plain))
    store = distributed.HashStore()  # type: ignore[attr-defined]
    distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        model = make_model(
            pose_head=partial(PoseHead, width=8, layers=1, hypotheses=1), compile=True
        )
        found = gradients(model, nn.parallel.DistributedDataParallel(_Step(model)))
    finally:
        distributed.destroy_process_group()
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0.02, atol=1e-3)


def test_configuration_files_reach_them() -> None:
    model = build(
        coefficient_share=0.3,
        compile=True,
        optimizer=part("torch.optim.Adam", {"lr": 1e-3, "fused": True}),
    )
    assert model.coefficient_share == 0.3
    assert model.compiled is True
    optimizer = model.configure_optimizers()
    assert optimizer.defaults["fused"] is True
