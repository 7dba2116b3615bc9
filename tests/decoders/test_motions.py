"""Normal modes and free displacements: how they move atoms with the conformation."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cryo_disentangle.decoders.free_displacement import FreeDisplacement
from cryo_disentangle.decoders.normal_modes import NormalModes

DIM = 3


def _atoms(count: int = 40, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return 4 * torch.randn(count, 3, generator=generator, dtype=dtype)


def _motions() -> list[nn.Module]:
    torch.manual_seed(0)
    x = _atoms()
    return [
        NormalModes(x, DIM, cutoff=12.0),
        NormalModes(x, DIM, modes=5, cutoff=12.0),
        NormalModes(x, DIM, modes=5, cutoff=12.0, hidden=8),
        FreeDisplacement(x, DIM, rank=4, hidden=16),
    ]


@pytest.mark.parametrize("motion", _motions())
def test_a_motion_places_every_atom_and_trains_every_parameter(motion: nn.Module) -> None:
    z = torch.randn(6, DIM, generator=torch.Generator().manual_seed(1), requires_grad=True)
    optimizer = torch.optim.SGD(motion.parameters(), lr=1e-3)
    for _ in range(2):
        optimizer.zero_grad()
        moved = motion(z)
        assert moved.shape == (6, 40, 3)
        (moved - 2 * _atoms()).square().sum().backward()
        optimizer.step()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in motion.parameters())
    assert z.grad is not None
    assert z.grad.abs().sum() > 0


@pytest.mark.parametrize("motion", _motions())
def test_autocast_costs_no_digits(motion: nn.Module) -> None:
    z = torch.randn(2, DIM, generator=torch.Generator().manual_seed(1))
    with torch.autocast("cpu", torch.bfloat16):
        rounded = motion(z)
    assert torch.equal(rounded, motion(z))


@pytest.mark.parametrize("kind", range(4))
def test_checkpoints_bring_the_motion_back(kind: int) -> None:
    first, second = _motions()[kind], _motions()[kind]
    for parameter in first.parameters():
        nn.init.normal_(parameter)
    second.load_state_dict(first.state_dict())
    z = torch.randn(2, DIM, generator=torch.Generator().manual_seed(1))
    assert torch.equal(first(z), second(z))


def test_without_a_number_of_modes_each_coordinate_is_one() -> None:
    motion = NormalModes(_atoms(), DIM, amplitude=3.0, cutoff=12.0)
    moved = motion(torch.eye(DIM)) - motion.reference
    rmsd = moved.square().sum(-1).mean(-1).sqrt()
    torch.testing.assert_close(rmsd, motion.scale)
    torch.testing.assert_close(rmsd[0], torch.tensor(3.0))
    assert (motion.scale.diff() < 0).all()
    gram = moved.flatten(1) @ moved.flatten(1).T
    torch.testing.assert_close(gram, gram.diagonal().diag(), rtol=0, atol=1e-3)
    torch.testing.assert_close(motion(torch.zeros(1, DIM))[0], motion.reference)


def test_more_modes_begin_with_the_softest() -> None:
    z = torch.randn(4, DIM, generator=torch.Generator().manual_seed(1))
    few = NormalModes(_atoms(), DIM, cutoff=12.0)
    more = NormalModes(_atoms(), DIM, modes=7, cutoff=12.0)
    torch.testing.assert_close(few(z), more(z), rtol=0, atol=1e-4)


def test_a_free_displacement_starts_with_none() -> None:
    motion = FreeDisplacement(_atoms(), DIM)
    z = torch.randn(4, DIM, generator=torch.Generator().manual_seed(1))
    assert torch.equal(motion(z), _atoms().expand(4, -1, -1))


def test_a_free_displacement_learns_a_hinge() -> None:
    torch.manual_seed(0)
    x = _atoms(100)
    z = torch.rand(32, 1) * 2 - 1
    cosine, sine = z.cos(), z.sin()
    turned = torch.stack(
        [cosine * x[:, 0] - sine * x[:, 1], sine * x[:, 0] + cosine * x[:, 1]], dim=-1
    )
    target = x.expand(32, -1, -1).clone()
    target[..., :2] = torch.where((x[:, 0] > 0)[:, None], turned, target[..., :2])
    motion = FreeDisplacement(x, 1, rank=8, hidden=64)
    optimizer = torch.optim.Adam(motion.parameters(), lr=3e-3)
    for _ in range(300):
        loss = (motion(z) - target).square().sum(-1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    start = (x - target).square().sum(-1).mean()
    assert loss < 0.01 * start


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"modes": 2}, "modes >= conformation_dim, found modes=2 and conformation_dim=3"),
        ({"hidden": 8}, "a network (hidden=8) mixes the coordinates: give the number of modes"),
        ({"amplitude": 0.0}, "amplitude > 0 and hidden >= 0, found amplitude=0.0 and hidden=0"),
        ({"modes": 4, "hidden": -1}, "found amplitude=2.0 and hidden=-1"),
        ({"modes": 115}, "40 atoms has 114 internal degrees of freedom, found modes=115"),
        ({"cutoff": 2.0}, "the elastic network falls into"),
    ],
)
def test_bad_normal_modes_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        NormalModes(_atoms(), DIM, **({"cutoff": 12.0} | options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 0}, "found conformation_dim=3, rank=0 and finest=10.0"),
        ({"finest": 0.0}, "rank=32 and finest=0.0"),
        ({"positions": torch.zeros(5, 3)}, "needs atoms at different places, found all at one"),
    ],
)
def test_bad_free_displacements_are_refused(options: dict[str, Any], message: str) -> None:
    settings: dict[str, Any] = {"positions": _atoms(), "conformation_dim": DIM}
    with pytest.raises(ValueError, match=re.escape(message)):
        FreeDisplacement(**(settings | options))
