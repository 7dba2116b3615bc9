"""Networks in cryoDRGN's form: names, order and description."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import pytest
import torch
import yaml
from torch import Tensor, nn

from cryo_disentangle.decoders import AxisEncoding, ImplicitDecoder
from cryo_disentangle.encoders import MLPEncoder
from cryo_disentangle.interop.networks import cryodrgn_model_args, cryodrgn_weights
from cryo_disentangle.modules import HeterogeneousReconstruction
from tests.callbacks import watched
from tests.helpers import shared


def golden_model(name: str) -> HeterogeneousReconstruction:
    """A model of the golden one's make."""
    make: dict[str, Any] = (
        {"domain": "fourier"}
        if name == "model_fourier"
        else {"domain": "hartley", "encoding": AxisEncoding("geom_lowf")}
    )
    return HeterogeneousReconstruction(
        32,
        3,
        partial(MLPEncoder, width=64, layers=2),
        partial(ImplicitDecoder, width=64, layers=2, **make),
    )


@pytest.mark.parametrize("name", ["model_fourier", "model_hartley"])
def test_weights_have_the_golden_models_keys_and_order(name: str) -> None:
    golden = torch.load(shared(f"golden/cryodrgn/{name}/weights.pkl"), weights_only=True)
    model = golden_model(name)
    adam = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter) if parameter.requires_grad else None
    adam.step()
    weights = cryodrgn_weights(model, [adam], 2)
    assert list(weights) == list(golden)
    assert weights["epoch"] == golden["epoch"]
    theirs, ours = golden["model_state_dict"], weights["model_state_dict"]
    assert type(ours) is type(theirs)
    assert list(ours) == list(theirs)
    for key, value in theirs.items():
        assert (ours[key].shape, ours[key].dtype) == (value.shape, value.dtype)
    theirs, ours = golden["optimizer_state_dict"], weights["optimizer_state_dict"]
    assert ours["param_groups"][0].keys() == theirs["param_groups"][0].keys()
    assert ours["param_groups"][0]["params"] == theirs["param_groups"][0]["params"]
    if theirs["state"]:
        assert ours["state"].keys() == theirs["state"].keys()
        assert {*ours["state"][0]} == {*theirs["state"][0]}


@pytest.mark.parametrize("name", ["model_fourier", "model_hartley"])
def test_description_of_the_golden_models(name: str) -> None:
    path = shared(f"golden/cryodrgn/{name}/config.yaml")
    golden = yaml.safe_load(path.read_text())["model_args"]
    assert cryodrgn_model_args(golden_model(name)) == golden


@pytest.mark.parametrize(
    "ladder", ["geom_ft", "geom_full", "geom_lowf", "geom_nohighf", "linear_lowf"]
)
def test_every_positional_encoding_is_recognised(ladder: Any) -> None:
    dim = None if ladder == "linear_lowf" else 5
    decoder = partial(ImplicitDecoder, width=16, layers=1, encoding=AxisEncoding(ladder, dim))
    found = cryodrgn_model_args(watched.make_model(decoder=decoder, encoder_radius=-1))
    assert (found["pe_type"], found["pe_dim"]) == (ladder, dim)
    assert found["enc_mask"] == -1


def test_other_optimisers_leave_no_state() -> None:
    model = watched.make_model()
    other = torch.optim.SGD(model.parameters(), lr=0.5)
    state = cryodrgn_weights(model, [other], 1)["optimizer_state_dict"]
    assert state["state"] == {}
    assert state["param_groups"][0]["lr"] == 0.5


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            {"encoder": partial(MLPEncoder, width=16, layers=1, activation="leaky_relu")},
            "one activation for both networks",
        ),
        ({"encoder_reads_pose": True}, "neither infers poses nor reads them"),
    ],
)
def test_models_that_cryodrgn_has_not(options: dict[str, Any], told: str) -> None:
    with pytest.raises(TypeError, match=told):
        cryodrgn_model_args(watched.make_model(**options))


def test_networks_that_cryodrgn_has_not() -> None:
    model = watched.make_model()
    parts: Any = nn.Module()
    with pytest.raises(TypeError, match=r"found Module without image_networks\(\)"):
        cryodrgn_model_args(parts)
    parts.image_networks = lambda: model.image_networks()._replace(decoder=nn.Linear(1, 1))
    with pytest.raises(TypeError, match="found MLPEncoder and Linear in Module"):
        cryodrgn_weights(parts, [], 1)

    class Doubled:
        blocks: ClassVar[int] = 3
        scaled: ClassVar[bool] = False

        def matrix(self, box_size: int) -> Tensor:
            return 2 * AxisEncoding("geom_ft").matrix(box_size)

    odd = watched.make_model(
        decoder=partial(ImplicitDecoder, width=16, layers=1, encoding=Doubled())
    )
    with pytest.raises(TypeError, match="no positional encoding like this decoder's Doubled"):
        cryodrgn_model_args(odd)
