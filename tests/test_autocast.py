"""Phases keep their digits under autocast, where bfloat16 would leave them three."""

from __future__ import annotations

from typing import Literal

import pytest
import torch

from cryo_disentangle.decoders import ImplicitDecoder
from cryo_disentangle.geometry import random_rotations
from cryo_disentangle.imaging import FourierDisc, shift_hartley

_SIDE = 64


@pytest.mark.parametrize("domain", ["fourier", "hartley"])
def test_slices_of_a_network(domain: Literal["fourier", "hartley"]) -> None:
    torch.manual_seed(0)
    decoder, disc = ImplicitDecoder(_SIDE, 2, 32, 1, domain=domain), FourierDisc(_SIDE, 20)
    conformation, rotation = torch.randn(2, 2), random_rotations(2)
    with torch.no_grad():
        exact = decoder.render(conformation, rotation, disc)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = decoder.render(conformation, rotation, disc).float()
    # What is left is the network's own rounding; wrong phases would make it another function.
    assert (rounded - exact).norm() < 0.02 * exact.norm()


def test_shifts() -> None:
    torch.manual_seed(0)
    disc, translation = FourierDisc(_SIDE), 5 * torch.randn(3, 2)
    coefficients = torch.randn(3, len(disc))
    exact = shift_hartley(coefficients, disc.frequencies, translation)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(shift_hartley(coefficients, disc.frequencies, translation), exact)
