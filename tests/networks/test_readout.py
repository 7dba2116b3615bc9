"""Principal and independent components of a latent."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cryo_disentangle.networks.readout import LinearReadout, negentropy


def sources(count: int = 4000) -> Tensor:
    """A normal, a Laplace and a uniform source, each of variance one."""
    generator = torch.Generator().manual_seed(0)
    normal = torch.randn(count, generator=generator, dtype=torch.float64)
    flat = torch.rand(2, count, generator=generator, dtype=torch.float64) - 0.5
    laplace = -flat[0].sign() * torch.log1p(-2 * flat[0].abs()) / math.sqrt(2)
    return torch.stack([normal, laplace, flat[1] * math.sqrt(12)], 1)


_MIXING = torch.tensor([[2.0, 1.0, 0.5], [0.0, 1.5, -1.0], [0.3, -0.7, 1.0]], dtype=torch.float64)


def test_negentropy_is_near_the_truth() -> None:
    """Differential entropy below that of a normal of the same variance, in nats.

    The approximation is good to first order about the normal.
    """
    normal = 0.5 * math.log(2 * math.pi * math.e)
    truth = [0.0, normal - (1 + 0.5 * math.log(2)), normal - 0.5 * math.log(12)]
    found = negentropy(sources(100_000)).tolist()
    assert found[0] == pytest.approx(0, abs=1e-4)
    assert found[1] == pytest.approx(truth[1], rel=0.25)
    assert found[2] == pytest.approx(truth[2], rel=0.7)
    assert negentropy(torch.ones(9, 1)).tolist() == [0.0]


@settings(max_examples=15)
@given(st.floats(1e-3, 1e3), st.floats(-100, 100))
def test_negentropy_has_no_scale(scale: float, shift: float) -> None:
    z = sources(500)
    torch.testing.assert_close(negentropy(z * scale + shift), negentropy(z), rtol=1e-5, atol=1e-9)


def test_independent_components_are_unmixed_and_ordered() -> None:
    truth = sources()
    readout = LinearReadout.ica(truth @ _MIXING.T)
    found = readout((truth @ _MIXING.T).float()).double()
    correlation = torch.corrcoef(torch.cat([found, truth], 1).T)[:3, 3:].abs()
    assert sorted(correlation.argmax(1).tolist()) == [0, 1, 2]
    assert correlation.amax(1).min() > 0.99
    torch.testing.assert_close(found.var(0), torch.ones(3).double(), rtol=1e-3, atol=0)
    assert readout.negentropy.diff().le(0).all()
    assert readout.negentropy.argmin() == 2
    torch.testing.assert_close(readout.negentropy.double(), negentropy(found), rtol=1e-3, atol=1e-6)


def test_principal_components_are_those_of_the_covariance() -> None:
    z = sources() @ _MIXING.T + 5
    readout = LinearReadout.pca(z, 2)
    found = readout(z.float()).double()
    values = torch.linalg.eigvalsh(torch.cov(z.T)).flip(0)[:2]
    torch.testing.assert_close(found.var(0), values, rtol=1e-4, atol=0)
    torch.testing.assert_close(found.mean(0), torch.zeros(2).double(), atol=1e-4, rtol=0)
    torch.testing.assert_close(readout.matrix @ readout.matrix.T, torch.eye(2))
    assert readout.matrix.gather(1, readout.matrix.abs().argmax(1, keepdim=True)).gt(0).all()


def test_the_same_seed_gives_the_same_reading_and_it_survives_a_state_dict() -> None:
    z = (sources(300) @ _MIXING.T).float()
    readout = LinearReadout.ica(z, 2, seed=1)
    assert torch.equal(readout.matrix, LinearReadout.ica(z, 2, seed=1).matrix)
    other = LinearReadout(3, 2)
    other.load_state_dict(readout.state_dict())
    assert torch.equal(other(z), readout(z))
    assert torch.equal(other.negentropy, readout.negentropy)
    assert not list(other.parameters())
    assert readout(z.reshape(3, 100, 3)).shape == (3, 100, 2)


@pytest.mark.parametrize("fit", [LinearReadout.pca, LinearReadout.ica], ids=["pca", "ica"])
def test_latents_that_cannot_be_fitted_are_refused(fit: Callable[..., LinearReadout]) -> None:
    z = sources(50)
    with pytest.raises(ValueError, match=r"more rows than coordinates, found shape \(3, 3\)"):
        fit(z[:3])
    z[4, 1] = math.nan
    with pytest.raises(ValueError, match="finite latents, found NaN or infinity"):
        fit(z)
    with pytest.raises(ValueError, match="reading of 3 coordinates has 1 to 3 components, found 4"):
        fit(sources(50), 4)
