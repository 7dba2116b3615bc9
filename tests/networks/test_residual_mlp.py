from __future__ import annotations

from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cryo_disentangle.networks.residual_mlp import ResidualMLP

Activation = Literal["relu", "leaky_relu"]


def concatenated(network: ResidualMLP, features: Tensor, shared: Tensor) -> Tensor:
    """What ``forward_points`` shortens."""
    repeated = shared[:, None].expand(-1, features.shape[1], -1)
    output: Tensor = network(torch.cat([features, repeated], dim=-1))
    return output


@given(
    st.integers(0, 10_000),
    st.integers(1, 3),
    st.integers(0, 3),
    st.sampled_from(["relu", "leaky_relu"]),
    st.sampled_from([(5, 3, 8), (6, 2, 8), (5, 3, 3), (1, 1, 2)]),
)
@settings(max_examples=30)
def test_points_equal_the_concatenated_input(
    seed: int, items: int, layers: int, activation: Activation, sizes: tuple[int, int, int]
) -> None:
    torch.manual_seed(seed)
    n_features, n_shared, width = sizes
    network = ResidualMLP(n_features + n_shared, 2, width, layers, activation).double()
    features = torch.randn(items, 7, n_features, dtype=torch.float64, requires_grad=True)
    shared = torch.randn(items, n_shared, dtype=torch.float64, requires_grad=True)
    inputs = [features, shared, *network.parameters()]
    expected = concatenated(network, features, shared)
    found = network.forward_points(features, shared)
    torch.testing.assert_close(found, expected)
    weight = torch.randn_like(expected)
    torch.testing.assert_close(
        torch.autograd.grad((found * weight).sum(), inputs),
        torch.autograd.grad((expected * weight).sum(), inputs),
    )
    with torch.no_grad():
        torch.testing.assert_close(network.forward_points(features, shared), expected)


def test_under_autocast_the_residual_is_kept_apart() -> None:
    torch.manual_seed(0)
    network = ResidualMLP(6, 2, 16, 2)
    features, shared = torch.randn(2, 9, 4), torch.randn(2, 2)
    exact = concatenated(network, features, shared)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = network.forward_points(features, shared)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), exact, rtol=0.1, atol=0.1)


@pytest.mark.parametrize("bad", [{"width": 0}, {"layers": -1}, {"in_features": 0}])
def test_impossible_sizes_are_refused(bad: dict[str, int]) -> None:
    sizes = {"in_features": 3, "out_features": 2, "width": 4, "layers": 1} | bad
    with pytest.raises(ValueError, match=r"positive widths and layers >= 0, found in_features="):
        ResidualMLP(**sizes)  # type: ignore[arg-type]


def test_keys_are_cryodrgns() -> None:
    keys = list(ResidualMLP(4, 2, 8, 2).state_dict())
    assert keys == [
        "main.0.weight",
        "main.0.bias",
        "main.2.linear.weight",
        "main.2.linear.bias",
        "main.4.linear.weight",
        "main.4.linear.bias",
        "main.6.weight",
        "main.6.bias",
    ]


def test_without_residuals_a_plain_perceptron() -> None:
    torch.manual_seed(0)
    network = ResidualMLP(4, 4, 4, 1, residual=False)
    keys = [f"main.{2 * i}.{part}" for i in range(3) for part in ("weight", "bias")]
    assert list(network.state_dict()) == keys
    x = torch.randn(5, 4)
    state, expected = network.state_dict(), x
    for i in range(3):
        expected = expected @ state[f"main.{2 * i}.weight"].T + state[f"main.{2 * i}.bias"]
        expected = expected if i == 2 else expected.relu()
    torch.testing.assert_close(network(x), expected)
    points = network.forward_points(x[None, :, :3], x[:1, 3:])
    torch.testing.assert_close(points, concatenated(network, x[None, :, :3], x[:1, 3:]))
