"""An invertible map: undone, and honest about volumes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from cryo_disentangle.networks.coupling import CouplingFlow


def _drawn(dim: int) -> CouplingFlow:
    torch.manual_seed(0)
    flow = CouplingFlow(dim).double()
    for parameter in flow.parameters():
        nn.init.normal_(parameter, std=0.7)
    return flow


@torch.no_grad()
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_the_inverse_undoes_it(dim: int) -> None:
    flow, z = _drawn(dim), torch.randn(4, 7, dim, dtype=torch.float64)
    u, _ = flow(z)
    assert u.shape == z.shape
    assert float((u - z).abs().mean()) > 0.01
    torch.testing.assert_close(flow.inverse(u), z)


@pytest.mark.parametrize("dim", [1, 3])
def test_the_volume_change_is_the_determinant(dim: int) -> None:
    flow, z = _drawn(dim), torch.randn(dim, dtype=torch.float64)
    _, log_volume = flow(z)

    def along(z: Tensor) -> Tensor:
        u: Tensor = flow(z)[0]
        return u

    slope = torch.autograd.functional.jacobian(along, z)
    assert isinstance(slope, Tensor)
    torch.testing.assert_close(log_volume, torch.linalg.slogdet(slope)[1])


@torch.no_grad()
def test_it_begins_as_the_identity() -> None:
    z = torch.randn(5, 3)
    u, log_volume = CouplingFlow(3)(z)
    assert torch.equal(u, z)
    assert float(log_volume) == 0


def test_sizes_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match=r"positive sizes, found dim=0, width=16, rounds=2"):
        CouplingFlow(0)
