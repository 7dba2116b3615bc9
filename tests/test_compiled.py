"""What ``torch.compile`` makes of the loss: one graph a model, and no new one at later steps."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo import config, reset
from torch._dynamo.testing import CompileCounter

from tests.device_parts import PARTS, make_part_batch
from tests.small_model import make_model

# Not flow, which unrolls its integration into a graph that takes a minute; nor a share of the
# coefficients, another one at each step.
_WHOLE = (
    *("implicit", "implicit hartley", "basis", "rigid domains", "learned hinges", "normal modes"),
    *("free displacement", "learned widths", "table", "rendered", "pose hypotheses"),
    *("laplace in time", "arrhenius", "boltzmann"),
)
_PENALISED = (
    *("intervention, scheduled", "intervention with noise", "intervention on inferred poses"),
    *("total correlation", "factor vae", "smoothness"),
)
pytestmark = [
    # What the compiler itself does to tensors and classes that it looks at.
    pytest.mark.filterwarnings("ignore:.*autograd.function.Function.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning"),
]


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    """Forgets what was compiled before."""
    reset()
    yield
    config.error_on_recompile = False
    reset()


def make(name: str) -> tuple[Any, Any, Any]:
    """Makes two models of the same weights, with penalties of their own, and a batch for them."""
    options, others = deepcopy(PARTS[name]), deepcopy(PARTS[name])
    batch = make_part_batch(options.pop("batch", ""))
    others.pop("batch", None)
    return make_model(**options), make_model(**others), batch


@pytest.mark.parametrize("name", _WHOLE)
def test_a_loss_is_one_graph(name: str) -> None:
    model, plain, batch = make(name)

    def loss_of(step: int) -> Tensor:
        found: Tensor = model.loss_terms(batch, step=step, sample=False)["loss"]
        return found

    found = torch.compile(loss_of, backend="eager", fullgraph=True)(0)
    found.backward()
    torch.testing.assert_close(found, plain.loss_terms(batch, step=0, sample=False)["loss"])
    assert any(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("name", _PENALISED)
def test_no_step_is_compiled_anew(name: str) -> None:
    model, plain, batch = make(name)
    counter = CompileCounter()

    def loss_of() -> Tensor:
        found: Tensor = model.loss_terms(batch, step=0, sample=True)["loss"]
        return found

    compiled = torch.compile(loss_of, backend=counter)
    for step in range(12):
        # Penalties draw from generators of their own; the model's draw is the global one's.
        torch.manual_seed(step)
        found = compiled()
        found.backward()
        torch.manual_seed(step)
        expected = plain.loss_terms(batch, step=0, sample=True)["loss"]
        torch.testing.assert_close(found, expected)
        config.error_on_recompile = True
    assert counter.frame_count
