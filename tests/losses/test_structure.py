from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from cryo_disentangle.decoders import FreeDisplacement
from cryo_disentangle.geometry import random_rotations
from cryo_disentangle.losses import BondLengths, Smoothness
from cryo_disentangle.losses.structure import (
    bond_length_change,
    displacement_difference,
    neighbour_pairs,
)
from cryo_disentangle.types import Inference, ParticleBatch

ATOMS, DIM = 30, 2


def _atoms(seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 4 * torch.randn(ATOMS, 3, generator=generator, dtype=torch.float64)


def _turned(x: Tensor, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return x @ random_rotations(5, generator=generator, dtype=x.dtype).transpose(1, 2) + 7


class _Model(nn.Module):
    """Infers z and moves atoms."""

    def __init__(self, motion: nn.Module | None = None) -> None:
        super().__init__()
        self.decoder = nn.Module()
        if motion is not None:
            self.decoder.motion = motion


def _batch() -> tuple[ParticleBatch, Inference]:
    generator = torch.Generator().manual_seed(2)
    z = torch.randn(5, DIM, generator=generator)
    batch = ParticleBatch(images=torch.zeros(5, 4, 4), index=torch.arange(5))
    return batch, Inference(z, torch.zeros_like(z))


def _motion() -> FreeDisplacement:
    torch.manual_seed(0)
    motion = FreeDisplacement(_atoms().float(), DIM, rank=3, hidden=8)
    last = motion.amplitudes.main[-1]
    assert isinstance(last, nn.Linear)
    nn.init.normal_(last.weight)
    return motion


def test_pairs_are_those_within_the_cutoff() -> None:
    x = _atoms()
    pairs = neighbour_pairs(x, 5.0)
    i, j = torch.triu_indices(ATOMS, ATOMS, 1)
    near = (x[i] - x[j]).norm(dim=1) <= 5.0
    expected = set(zip(i[near].tolist(), j[near].tolist(), strict=True))
    assert set(zip(*pairs.tolist(), strict=True)) == expected


def test_the_usual_distance_reaches_past_the_nearest() -> None:
    line = torch.arange(10.0)[:, None] * torch.tensor([3.8, 0.0, 0.0])
    assert neighbour_pairs(line + 1e-4 * torch.randn(10, 3)).shape[1] in range(9, 18)
    assert neighbour_pairs(line, 7.7).shape[1] == 9 + 8


def test_terms_are_their_formulas_pair_by_pair() -> None:
    x, moved = _atoms(), _atoms() + torch.stack([_atoms(1), _atoms(2)])
    pairs = neighbour_pairs(x, 6.0)
    lengths, differences = [], []
    for y in moved:
        for i, j in pairs.T.tolist():
            lengths.append(((y[i] - y[j]).norm() - (x[i] - x[j]).norm()) ** 2)
            differences.append(((y[i] - x[i]) - (y[j] - x[j])).norm() ** 2)
    torch.testing.assert_close(bond_length_change(moved, x, pairs), torch.stack(lengths).mean())
    torch.testing.assert_close(
        displacement_difference(moved, x, pairs), torch.stack(differences).mean()
    )


@given(st.integers(0, 1000))
@settings(max_examples=15)
def test_rigid_motion_keeps_bond_lengths_and_translation_is_smooth(seed: int) -> None:
    x = _atoms(seed)
    pairs = neighbour_pairs(x)
    moved = _turned(x, seed)
    assert bond_length_change(moved, x, pairs) < 1e-20
    assert displacement_difference(moved, x, pairs) > 0
    assert displacement_difference(x[None] + 3, x, pairs) < 1e-20


def test_gradients_are_right_and_finite_where_atoms_meet() -> None:
    x = _atoms()[:8]
    pairs = neighbour_pairs(x, 20.0)
    moved = (x[None] + 0.3 * _atoms(3)[:8]).requires_grad_()
    for term in (bond_length_change, displacement_difference):
        assert torch.autograd.gradcheck(lambda y, f=term: f(y, x, pairs), moved)
    met = torch.zeros(1, 8, 3, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(bond_length_change(met, x, pairs), met)
    assert slope.isfinite().all()


@pytest.mark.parametrize(
    ("penalty", "term"),
    [(BondLengths, bond_length_change), (Smoothness, displacement_difference)],
)
def test_penalties_weigh_the_terms_at_the_posterior_means(penalty: Any, term: Any) -> None:
    batch, inference = _batch()
    motion = _motion()
    module = penalty(weight=0.5, cutoff=6.0)
    loss = module(_Model(motion), batch, inference)
    pairs = neighbour_pairs(motion.reference, 6.0)
    expected = term(motion(inference.mean), motion.reference, pairs)
    torch.testing.assert_close(loss, 0.5 * expected)
    torch.testing.assert_close(module.terms["rms"], expected.detach().sqrt())
    loss.backward()
    assert all(p.grad is not None for p in motion.parameters())
    assert not module.state_dict().keys() & {"pairs"}


def test_a_penalty_pulls_a_torn_structure_together() -> None:
    batch, inference = _batch()
    model = _Model(_motion())
    penalty = BondLengths(weight=1.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    found = []
    for _ in range(50):
        loss = penalty(model, batch, inference)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(float(loss.detach()))
    assert found[-1] < 0.1 * found[0]


def test_bad_use_is_refused() -> None:
    batch, inference = _batch()
    with pytest.raises(TypeError, match=r"BondLengths needs a model with decoder\.motion.* _Model"):
        BondLengths()(_Model(), batch, inference)
    with pytest.raises(ValueError, match=re.escape("cutoff of neighbours must be positive, found")):
        Smoothness(cutoff=0.0)
    message = "no two of 30 atoms are within 0.01 Å of each other"
    with pytest.raises(ValueError, match=re.escape(message)):
        Smoothness(cutoff=0.01)(_Model(_motion()), batch, inference)
