"""Random subsets of the Fourier disc."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cryo_disentangle.imaging import FourierDisc


@given(st.integers(1, 6), st.floats(0.01, 1), st.sampled_from([None, 1, -1]))
@settings(max_examples=30)
def test_a_subset_is_of_mirrored_pairs(half: int, share: float, radius: int | None) -> None:
    disc = FourierDisc(2 * half, radius)
    size, before = len(disc), disc.index.clone()
    subset, positions = disc.random_subset(share)
    assert len(subset) == len(positions) == 2 * max(1, round(share * (size // 2)))
    assert torch.equal(subset.index, disc.index[positions])
    assert torch.equal(subset.frequencies, disc.frequencies[positions])
    torch.testing.assert_close(subset.frequencies.flip(0), -subset.frequencies, atol=1e-7, rtol=0)
    assert len(set(positions.tolist())) == len(positions)
    assert bool((subset.frequencies != 0).any(-1).all())
    assert len(disc) == size
    assert torch.equal(disc.index, before)


def test_every_coefficient_is_as_likely() -> None:
    disc = FourierDisc(8)
    torch.manual_seed(0)
    counts = torch.zeros(len(disc))
    draws, share = 4000, 0.25
    for _ in range(draws):
        counts[disc.random_subset(share)[1]] += 1
    error = (draws * share * (1 - share)) ** 0.5
    assert float((counts - draws * share).abs().max()) < 5 * error


@pytest.mark.parametrize("share", [0.0, -1.0, 1.5, float("nan")])
def test_an_odd_share_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="share must be above 0 and at most 1, found"):
        FourierDisc(8).random_subset(share)
