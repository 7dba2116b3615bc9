"""Slowness added to a user's loss: the transition of SlowVAE's prior, and nothing else."""

from __future__ import annotations

import inspect
from typing import Any, cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonargparse import ArgumentParser
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from cryo_disentangle.callbacks import SlownessPenalty
from cryo_disentangle.losses import LinearSchedule
from cryo_disentangle.losses.scheduled import ScheduledPenalty
from cryo_disentangle.priors import LaplaceTransition
from cryo_disentangle.priors.laplace_transition import kl_laplace
from cryo_disentangle.types import Inference
from tests.callbacks import foreign, loops, watched

pytestmark = [pytest.mark.filterwarnings(quiet) for quiet in watched.QUIET]


class OnPairs(foreign.ConvolutionalVAE):
    """A user's model that trains on pairs of frames."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        images, rotation = (part.flatten(0, 1) for part in batch)
        return super().training_step((images, rotation), batch_idx)


def as_pairs(batch: Any) -> dict[str, Tensor]:
    images, rotation = batch
    index = torch.arange(2 * len(images)).reshape(-1, 2)
    return {"images": images[:, :, 0], "rotation": rotation, "index": index}


ADAPTER: dict[str, Any] = {"infer": foreign.infer, "as_batch": as_pairs}


def pairs(count: int = 40) -> DataLoader[Any]:
    images, rotation, _ = foreign.make_particles(count).tensors
    paired = [part.unflatten(0, (-1, 2)) for part in (images, rotation)]
    return DataLoader(TensorDataset(*paired), batch_size=4)


def fit(callback: Callback, **options: Any) -> tuple[OnPairs, dict[str, Tensor]]:
    torch.manual_seed(0)
    module, trainer = OnPairs(learning_rate=3e-3), loops.make_trainer(callback, **options)
    trainer.fit(module, pairs())
    return module, trainer.callback_metrics


def evaluate(callback: SlownessPenalty, mean: Tensor, log_variance: Tensor, **more: Tensor) -> Any:
    """The penalty of posteriors (B, 2, Z)."""
    index = torch.arange(mean[..., 0].numel()).reshape(-1, 2)
    batch = {"images": torch.zeros(*index.shape, 4, 4), "index": index, **more}
    return callback.penalty(None, batch, Inference(mean, log_variance))


@settings(max_examples=20)
@given(st.integers(0, 2**20), st.booleans(), st.booleans(), st.floats(0.1, 20))
def test_it_is_the_transition(seed: int, symmetric: bool, timed: bool, rate: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    mean, log_variance = torch.randn(2, 6, 2, 3, generator=generator, dtype=torch.float64)
    time = torch.rand(6, 2, generator=generator).cumsum(1) + 0.1
    rates = torch.full((6, 1), rate, dtype=torch.float64)
    if timed:
        rates /= (time[:, 1:] - time[:, :1]).double().sqrt()
    expected = kl_laplace(mean[:, 1], log_variance[:, 1], mean[:, 0], rates)
    if symmetric:
        back = kl_laplace(mean[:, 0], log_variance[:, 0], mean[:, 1], rates)
        expected = (expected + back) / 2
    callback = SlownessPenalty(3.0, rate=rate, symmetric=symmetric)
    found = evaluate(callback, mean, log_variance, **({"time": time} if timed else {}))
    torch.testing.assert_close(found, 3 * expected.mean(), rtol=1e-6, atol=1e-6)
    terms = cast(ScheduledPenalty, callback.penalty).terms
    assert terms["transition"] == pytest.approx(expected.mean().item(), rel=1e-6)


def test_slow_pairs_cost_less() -> None:
    mean, log_variance = torch.randn(8, 1, 2).expand(8, 2, 2), torch.full((8, 2, 2), -3.0)
    still = evaluate(SlownessPenalty(1.0), mean, log_variance)
    assert still < evaluate(SlownessPenalty(1.0), torch.randn(8, 2, 2), log_variance)


def test_training_makes_transitions_likelier() -> None:
    def train(weight: float) -> tuple[float, dict[str, Tensor]]:
        module, metrics = fit(SlownessPenalty(weight, **ADAPTER), max_epochs=4)
        images = next(iter(pairs(80)))[0].flatten(0, 1)
        with torch.no_grad():
            posterior = (part.unflatten(0, (-1, 2)) for part in module.encode(images))
            return float(evaluate(SlownessPenalty(1.0), *posterior)), metrics

    free, absent = train(0.0)
    slow, metrics = train(0.1)
    assert slow < 0.8 * free
    names = {f"train/slowness{part}" for part in ("", "/transition", "/rate")}
    assert set(absent) == {"loss"}
    assert set(metrics) == {"loss"} | names
    weighted, transition = metrics["train/slowness"], metrics["train/slowness/transition"]
    torch.testing.assert_close(weighted, 0.1 * transition)
    assert metrics["train/slowness/rate"] == pytest.approx(6)


def test_learned_rates_are_trained_and_kept() -> None:
    callback = SlownessPenalty(1.0, learnable=True, conformation_dim=2, **ADAPTER)
    fit(callback)
    (kept,) = (callback.state_dict()["penalty"][key] for key in ["prior._log_rate.raw"])
    assert (kept != 0).all()
    again = SlownessPenalty(1.0, learnable=True, conformation_dim=2, **ADAPTER)
    again.load_state_dict(callback.state_dict())
    assert torch.equal(again.state_dict()["penalty"]["prior._log_rate.raw"], kept)


def test_bf16() -> None:
    _, metrics = fit(SlownessPenalty(0.1, **ADAPTER), precision="bf16-mixed")
    assert metrics["train/slowness"].dtype == torch.float32
    assert metrics["train/slowness"].isfinite()


def test_single_particles_are_refused() -> None:
    adapter = loops.ADAPTER | {}
    del adapter["generate"]
    with pytest.raises(ValueError, match=r"SlownessPenalty needs pairs of frames.*found \(8,\)"):
        loops.train(foreign.ConvolutionalVAE(), SlownessPenalty(1.0, **adapter))


def test_wrong_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="weight of a penalty must be finite and >= 0, found -1"):
        SlownessPenalty(-1.0)


def test_options_are_those_of_the_prior() -> None:
    parser = ArgumentParser()
    parser.add_class_arguments(SlownessPenalty, "callback", fail_untyped=False)
    ours = vars(parser.get_defaults().callback)
    for name, option in inspect.signature(LaplaceTransition).parameters.items():
        assert name == "gamma" or ours[name] == option.default
    assert "gamma" not in ours


def test_configuration_file() -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--callback", type=Callback)
    config = parser.parse_string(
        """
callback:
  class_path: SlownessPenalty
  init_args:
    weight: {class_path: LinearSchedule, init_args: {first: 0, last: 0.3, last_step: 100}}
    rate: 4
    learnable: true
    conformation_dim: 2
    infer: tests.callbacks.foreign.infer
    as_batch: tests.callbacks.test_slowness.as_pairs
"""
    )
    callback = parser.instantiate(parser.parse_string(parser.dump(config))).callback
    assert isinstance(callback.penalty.weight, LinearSchedule)
    fit(callback, fast_dev_run=True)
