"""What ``torch.compile`` makes of training: one graph a function, and no new one at later steps."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo import config, reset
from torch._dynamo.testing import CompileCounter

from cryo_disentangle.modules import image_model
from tests.device_parts import PARTS, make_part_batch
from tests.small_model import make_model

_STEPS = 5
# A prior, a penalty or a distance says little of what is compiled beside another of its kind.
_PARTS = (
    *("implicit", "implicit hartley", "basis", "rigid domains"),
    *("learned hinges", "normal modes", "free displacement", "learned widths", "flow"),
    *("table", "rendered", "encoder of a smaller radius", "pose hypotheses"),
    *("share", "linear schedule", "laplace in time", "arrhenius", "boltzmann"),
    *("intervention with noise", "intervention on conformations", "dip", "smoothness"),
)
_PENALTIES = ("intervention, scheduled", "factor vae")
pytestmark = [
    pytest.mark.skipif(
        tuple(map(int, torch.__version__.split(".")[:2])) < (2, 10),
        reason="the compiler of older torch ends a graph at tuples with names",
    ),
    # What the compiler itself does to tensors and classes that it looks at.
    pytest.mark.filterwarnings("ignore:.*autograd.function.Function.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning"),
]


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch) -> Iterator[CompileCounter]:
    """Counts graphs; a break of one, and what is compiled again after the first step, raises."""
    reset()
    counter = CompileCounter()
    whole = partial(torch.compile, backend=counter, fullgraph=True)
    monkeypatch.setattr(torch, "compile", whole)
    image_model._compiled.cache_clear()
    yield counter
    config.error_on_recompile = False
    image_model._compiled.cache_clear()
    reset()


def make(name: str, **more: Any) -> tuple[Any, Any, Any]:
    """Makes two models of the same weights, with penalties of their own, and a batch for them."""
    options, others = deepcopy(PARTS[name]), deepcopy(PARTS[name])
    batch = make_part_batch(options.pop("batch", ""))
    others.pop("batch", None)
    return make_model(**options, **more), make_model(**others), batch


def loss_of(model: Any, batch: Any, step: int) -> Tensor:
    """The loss of a training step, whose draw is the global generator's."""
    torch.manual_seed(step)
    found: Tensor = model.loss_terms(batch, step=step, sample=True)["loss"]
    return found


@pytest.mark.parametrize("name", _PARTS)
def test_training_is_compiled_once(name: str, counter: CompileCounter) -> None:
    model, plain, batch = make(name, compile=True)
    for step in range(_STEPS):
        found = loss_of(model, batch, step)
        found.backward()
        torch.testing.assert_close(found, loss_of(plain, batch, step))
        config.error_on_recompile = True
    # An intervention renders and infers once more, and to estimate the noise renders again.
    again = {"intervention on conformations": 2, "intervention with noise": 3}
    assert counter.frame_count == 1 + again.get(name, 0)
    assert any(p.grad is not None for p in model.parameters())


def test_each_size_of_a_batch_has_a_graph_of_static_shapes(counter: CompileCounter) -> None:
    model, plain, batch = make("implicit", compile=True)
    fewer = {key: value[:3] for key, value in batch.items()}
    for particles in (batch, fewer, batch, fewer):
        found = loss_of(model, particles, 0)
        torch.testing.assert_close(found, loss_of(plain, particles, 0))
    assert counter.frame_count == 2


@pytest.mark.usefixtures("counter")
def test_evaluation_is_not_compiled() -> None:
    model, _, batch = make("implicit", compile=True)
    model.eval()
    model.loss_terms(batch, step=0, sample=False)
    model.infer(batch)
    assert not image_model._compiled.cache_info().currsize


@pytest.mark.parametrize("name", _PENALTIES)
def test_a_loop_may_compile_the_loss_with_its_penalties(name: str) -> None:
    reset()
    model, plain, batch = make(name)
    counter = CompileCounter()

    def loss() -> Tensor:
        found: Tensor = model.loss_terms(batch, step=0, sample=True)["loss"]
        return found

    compiled = torch.compile(loss, backend=counter)
    try:
        for step in range(_STEPS):
            # Penalties draw from generators of their own; the model's draw is the global one's.
            torch.manual_seed(step)
            found = compiled()
            found.backward()
            torch.manual_seed(step)
            expected = plain.loss_terms(batch, step=0, sample=True)["loss"]
            torch.testing.assert_close(found, expected)
            config.error_on_recompile = True
    finally:
        config.error_on_recompile = False
        reset()
    assert counter.frame_count
