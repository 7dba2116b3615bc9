from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cryo_disentangle.simulation import LinearMixing, ShearMixing


@settings(max_examples=40)
@given(st.integers(1, 5), st.floats(-180, 180), st.floats(-1.5, 1.5), st.integers(0, 1000))
def test_mixes_are_invertible_and_stay_in_the_cube(
    dim: int, angle: float, strength: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    factors = torch.rand(200, dim, dtype=torch.float64, generator=generator)
    for mixing in (
        LinearMixing(dim, angle, centre=0.5),
        ShearMixing(dim, angle, strength, centre=0.5, half_range=0.5),
    ):
        hinges = mixing.mix(factors)
        torch.testing.assert_close(mixing.unmix(hinges), factors, atol=1e-9, rtol=0)
        assert float((hinges - 0.5).abs().max()) <= 0.5 + 1e-12


def test_at_45_degrees_hinges_are_half_the_difference_and_the_sum() -> None:
    factors = torch.tensor([[0.2, 0.6], [1.0, 1.0]], dtype=torch.float64)
    hinges = LinearMixing().mix(factors)
    expected = torch.tensor([[-0.2, 0.4], [0.0, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(hinges, expected)


def test_every_hinge_depends_on_both_factors() -> None:
    factors = torch.zeros(1, 2, dtype=torch.float64)
    for mixing in (LinearMixing(), ShearMixing()):
        jacobian = torch.autograd.functional.jacobian(mixing.mix, factors)[0, :, 0]
        assert float(jacobian.abs().min()) > 0.1


def test_shear_bends() -> None:
    line = torch.linspace(-1, 1, 21, dtype=torch.float64)
    hinges = ShearMixing().mix(torch.stack([line, 0 * line], dim=1))
    assert float(hinges[:, 1].diff(n=2).abs().max()) > 2e-3


def test_an_empty_range_is_refused() -> None:
    with pytest.raises(ValueError, match="half_range must be positive, found 0"):
        ShearMixing(half_range=0)
