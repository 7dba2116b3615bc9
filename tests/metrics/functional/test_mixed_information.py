"""The neighbour estimate of information against its definition, computed pair by pair."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cryo_disentangle.metrics.functional._mixed_information import mixed_information


def by_definition(x: Tensor, labels: Tensor, neighbors: int) -> float:
    many = labels.bincount()[labels] > 1
    x, labels = x[many], labels[many]
    distance = (x[:, None] - x).abs()
    same = labels[:, None] == labels
    terms = []
    for i in range(len(x)):
        of_class = distance[i][same[i]].sort().values
        k = min(neighbors, len(of_class) - 1)
        nearer = int((distance[i] < of_class[k]).sum())
        counts = torch.tensor([k, len(of_class), nearer], dtype=torch.float64).digamma()
        terms.append(float(counts[0] - counts[1] - counts[2]))
    samples = torch.tensor(float(len(x)), dtype=torch.float64)
    return max(0.0, float(samples.digamma()) + sum(terms) / len(terms))


@settings(max_examples=20)
@given(
    seed=st.integers(0, 10_000),
    samples=st.integers(5, 80),
    count=st.integers(2, 4),
    neighbors=st.integers(1, 12),
)
def test_definition(seed: int, samples: int, count: int, neighbors: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(samples, generator=generator, dtype=torch.float64)
    noise = torch.randn(samples, generator=generator, dtype=torch.float64)
    labels = ((x + noise) * count / 2).long().clamp(0, count - 1)
    found = float(mixed_information(x, labels, neighbors))
    assert found == pytest.approx(by_definition(x, labels, neighbors), abs=1e-12)


def test_separated_classes_tell_their_entropy() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(4).repeat(1000)
    x = labels + 0.5 * torch.rand(4000, generator=generator, dtype=torch.float64)
    assert float(mixed_information(x, labels, 10)) == pytest.approx(math.log(4), abs=0.01)


def test_samples_alone_in_their_class_are_left_out() -> None:
    x = torch.tensor([0.0, 0.1, 0.3, 5.0, 5.2, 0.2], dtype=torch.float64)
    labels = torch.tensor([0, 0, 0, 1, 1, 2])
    assert mixed_information(x, labels, 3) == mixed_information(x[:5], labels[:5], 3)
    assert mixed_information(x, torch.arange(6), 3) == 0
