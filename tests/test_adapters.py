"""A module that knows nothing of ours, seen through two functions."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cryo_disentangle.adapters import ModelAdapter
from cryo_disentangle.callbacks import adapt
from cryo_disentangle.protocols.models import LatentImageModel
from cryo_disentangle.types import Inference, ParticleBatch, Pose
from tests.callbacks import foreign

_NAMES = {name: f"tests.callbacks.foreign.{name}" for name in ("infer", "generate", "as_batch")}


@pytest.fixture(scope="module")
def module() -> foreign.ConvolutionalVAE:
    torch.manual_seed(0)
    return foreign.ConvolutionalVAE()


@pytest.fixture(scope="module")
def loop_batch() -> Any:
    return next(iter(foreign.loader(batch_size=8)))


@pytest.fixture(scope="module")
def batch(loop_batch: Any) -> ParticleBatch:
    return ModelAdapter(as_batch=foreign.as_batch).batch(loop_batch)


class WithMethods(nn.Module):
    """A module that meets the contract by itself, but for what ``infer`` returns."""

    def __init__(self, found: object) -> None:
        super().__init__()
        self.found = found

    def infer(self, batch: ParticleBatch) -> object:  # noqa: ARG002
        return self.found

    def generate(self, conformation: Tensor, pose: Pose, batch: ParticleBatch) -> Tensor:  # noqa: ARG002
        return batch["images"] + conformation.sum()


def test_functions_and_their_names_are_the_same(
    module: foreign.ConvolutionalVAE, batch: ParticleBatch, loop_batch: Any
) -> None:
    mean, log_variance = module.encode(loop_batch[0])
    by_name = ModelAdapter(**_NAMES)
    assert torch.equal(by_name.batch(loop_batch)["images"], batch["images"])
    for model in (adapt(module, foreign.infer, foreign.generate), by_name.model(module)):
        assert isinstance(model, LatentImageModel)
        inference = model.infer(batch)
        assert torch.equal(inference.mean, mean)
        assert torch.equal(inference.log_variance, log_variance)
        assert inference.pose is None
        images = model.generate(mean, Pose(batch["rotation"]), batch)
        assert torch.equal(images, module.decode(mean, batch["rotation"])[:, 0])


def test_methods_serve_where_no_function_is_given(batch: ParticleBatch) -> None:
    inference = Inference(torch.zeros(8, 2), torch.ones(8, 2), Pose(batch["rotation"]))
    model = adapt(WithMethods(inference))
    assert model.infer(batch) == inference
    assert torch.equal(
        model.generate(inference.mean, Pose(batch["rotation"]), batch), batch["images"]
    )


def test_poses_are_rotations_or_rotations_and_translations(batch: ParticleBatch) -> None:
    z, shift = torch.zeros(8, 2), torch.zeros(8, 2)
    rotation = batch["rotation"]
    for found in ((z, z, rotation), [z, z, Pose(rotation)], (z, z, (rotation, None))):
        pose = adapt(WithMethods(found)).infer(batch).pose
        assert pose is not None
        assert pose.rotation is rotation
        assert pose.translation is None
    pose = adapt(WithMethods((z, z, (rotation, shift)))).infer(batch).pose
    assert pose is not None
    assert pose.translation is shift


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (torch.zeros(8, 2), r"infer must return an Inference.*a tensor of shape \(8, 2\)"),
        ({"mean": 0}, r"infer must return an Inference.*dict with keys \['mean'\]"),
        ((torch.zeros(7, 2), torch.zeros(7, 2)), r"shape \(8, Z\) for 8 particles.*\(7, 2\)"),
        ((torch.zeros(8, 2), torch.zeros(8, 1)), r"\(8, 2\) and a tensor of shape \(8, 1\)"),
        ((torch.zeros(8, 2), None), r"found a tensor of shape \(8, 2\) and None"),
        ((torch.zeros(8, 2), torch.zeros(8, 2), torch.zeros(8, 4)), r"rotations \(8, 3, 3\).*8, 4"),
        (
            (torch.zeros(8, 2), torch.zeros(8, 2), (torch.zeros(8, 3, 3), torch.zeros(8, 3))),
            r"translations \(8, 2\), for 8 particles, found .* a tensor of shape \(8, 3\)",
        ),
    ],
)
def test_wrong_inferences_are_refused(batch: ParticleBatch, found: object, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        adapt(WithMethods(found)).infer(batch)


def test_wrong_images_are_refused(module: foreign.ConvolutionalVAE, batch: ParticleBatch) -> None:
    def with_channel(module: Any, conformation: Tensor, pose: Pose, batch: Any) -> Tensor:
        return foreign.generate(module, conformation, pose, batch)[:, None]

    model = adapt(module, foreign.infer, with_channel)
    with pytest.raises(TypeError, match=r"with_channel must return images.*\(8, 16, 16\).*\(8, 1,"):
        model.generate(torch.zeros(8, 2), Pose(batch["rotation"]), batch)


def test_modules_without_the_contract_are_refused(
    module: foreign.ConvolutionalVAE, batch: ParticleBatch
) -> None:
    with pytest.raises(TypeError, match=r"ConvolutionalVAE has no infer\(batch\): give infer"):
        adapt(module)
    model = adapt(module, foreign.infer)
    with pytest.raises(TypeError, match=r"ConvolutionalVAE has no generate\(conformation, pose"):
        model.generate(torch.zeros(8, 2), Pose(batch["rotation"]), batch)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("no_such_module.infer", r"infer: cannot import 'no_such_module\.infer'"),
        ("tests.callbacks.foreign.nothing", r"infer: cannot import .*\.nothing'"),
        ("not a name", r"infer: cannot import 'not a name', the dotted name"),
        ("tests.callbacks.foreign.SIDE", r"infer must be a function.*SIDE', int"),
        (7, r"infer must be a function or its dotted name, found 7"),
    ],
)
def test_functions_that_are_none_are_refused(function: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        ModelAdapter(infer=function)


def test_batches_that_hold_no_particles_are_refused(loop_batch: Any) -> None:
    with pytest.raises(TypeError, match=r'mapping with "images" and "index".*list: give as_bat'):
        ModelAdapter().batch(loop_batch)
    with pytest.raises(TypeError, match=r"dict with keys \['images'\]"):
        ModelAdapter().batch({"images": loop_batch[0]})
    channel = {"images": loop_batch[0], "index": torch.arange(8)}
    with pytest.raises(TypeError, match=r"images \(B, L, L\).*found \(8, 1, 16, 16\) and \(8,\)"):
        ModelAdapter().batch(channel)


def test_pairs_of_frames_are_batches() -> None:
    pairs = {"images": torch.zeros(4, 2, 16, 16), "index": torch.zeros(4, 2, dtype=torch.int64)}
    assert ModelAdapter().batch(pairs) is pairs
