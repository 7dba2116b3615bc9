"""Statistics hold all the information of images, and nuisances are integrated out exactly."""

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cryo_disentangle.decoders import BasisDecoder
from cryo_disentangle.geometry import random_rotations
from cryo_disentangle.statistics.grid import SliceGrid
from cryo_disentangle.statistics.posterior import Likelihood, marginal_likelihood, residuals
from cryo_disentangle.statistics.subspace import Subspace
from cryo_disentangle.statistics.views import ParticleViews

BOX, RADIUS, RANK = 16, 6, 3


def random_subspace(seed: int = 0, rank: int = RANK) -> Subspace:
    """Volumes without structure, in noise that is not white."""
    generator = torch.Generator().manual_seed(seed)
    grid = SliceGrid(BOX, RADIUS)
    nodes = torch.randn(grid.side**3, rank + 1, generator=generator) * grid.inside[:, None]
    noise = 0.5 + torch.rand(RADIUS + 1, generator=generator)
    return Subspace(nodes, noise, BOX, 2.0, RADIUS)


def random_views(subspace: Subspace, count: int, seed: int = 1) -> ParticleViews:
    """Images of noise alone, from everywhere, through CTFs without structure."""
    generator = torch.Generator().manual_seed(seed)
    points = len(subspace.grid.points)
    return ParticleViews(
        3 * torch.randn(count, points, 2, generator=generator),
        torch.rand(count, points, generator=generator) - 0.5,
        random_rotations(count, generator=generator),
    )


def gathered(subspace: Subspace, views: ParticleViews) -> Likelihood:
    """Statistics of views."""
    white = views.whitened(subspace.point_noise)
    seen = residuals(subspace.grid, subspace.paired, white)
    return Likelihood.of(seen.columns)


def rendered(
    decoder: BasisDecoder, phi: Tensor, subspace: Subspace, views: ParticleViews
) -> Tensor:
    """Slices that the decoder makes, whitened, as views have them."""
    disc = subspace.grid.disc
    with torch.no_grad():
        slices = decoder.render(phi, views.rotation, disc)
    half = len(disc) // 2
    pairs = torch.stack([slices[:, :half], slices.flip(1)[:, :half]], 2)
    return pairs * (views.transfer / subspace.point_noise.sqrt())[..., None]


@settings(max_examples=8)
@given(seed=st.integers(0, 2**20))
def test_statistics_are_sufficient(seed: int) -> None:
    subspace = random_subspace(seed)
    views = random_views(subspace, 5, seed)
    phi = torch.randn(5, RANK, generator=torch.Generator().manual_seed(seed))
    white = views.whitened(subspace.point_noise)
    difference = white.coefficients - rendered(subspace.decoder(), phi, subspace, views)
    direct = -0.5 * difference.double().square().sum((1, 2))
    found = gathered(subspace, views)
    quadratic = torch.einsum("bi,bij,bj->b", phi, found.precision, phi)
    short = -0.5 * quadratic + (found.information * phi).sum(1) - 0.5 * found.offset
    torch.testing.assert_close(short.double(), direct, rtol=1e-4, atol=1e-3)


def test_information_has_the_mean_that_the_conformation_gives_it() -> None:
    subspace = random_subspace()
    one = random_views(subspace, 1)
    count = 4000
    views = ParticleViews(*(part.expand(count, *part.shape[1:]) for part in one))
    phi = torch.tensor([[0.3, -1.0, 0.7]])
    clean = rendered(subspace.decoder(), phi, subspace, one)
    generator = torch.Generator().manual_seed(4)
    noisy = clean + torch.randn(count, *clean.shape[1:], generator=generator)
    scale = subspace.point_noise.sqrt()[:, None]
    found = gathered(subspace, views._replace(coefficients=noisy * scale))
    expected = found.precision[0] @ phi[0]
    deviation = (found.precision[0].diagonal() / count).sqrt()
    assert bool(((found.information.mean(0) - expected).abs() < 5 * deviation).all())


@settings(max_examples=8)
@given(seed=st.integers(0, 2**20), nuisances=st.integers(1, 6))
def test_integrating_out_is_dense_algebra(seed: int, nuisances: int) -> None:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    a, b, r = draw(2, 40, RANK), draw(2, 40, nuisances), draw(2, 40)
    found = marginal_likelihood(Likelihood.of(torch.cat([r[..., None], a, b], 2)), RANK)
    covariance = torch.eye(40, dtype=torch.float64) + b @ b.mT
    inverse = torch.linalg.inv(covariance)
    torch.testing.assert_close(found.precision, a.mT @ inverse @ a)
    torch.testing.assert_close(found.information, (a.mT @ inverse @ r[..., None])[..., 0])
    whole = (r[:, None] @ inverse @ r[..., None])[:, 0, 0] + torch.logdet(covariance)
    torch.testing.assert_close(found.offset, whole)


def test_the_posterior_is_that_of_numerical_integration() -> None:
    likelihood = Likelihood(
        torch.tensor([[[2.0, 0.6], [0.6, 1.0]]]), torch.tensor([[1.5, -0.7]]), torch.zeros(1)
    )
    found = likelihood.posterior()
    axis = torch.linspace(-8, 8, 401, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    precision, information = likelihood.precision[0].double(), likelihood.information[0].double()
    log = grid @ information - 0.5 * ((grid @ precision) * grid).sum(1)
    prior = torch.exp(-0.5 * grid.square().sum(1)) / (2 * math.pi)
    weight = log.exp() * prior
    total = weight.sum()
    mean = (weight[:, None] * grid).sum(0) / total
    centred = grid - mean
    covariance = (weight[:, None] * centred).T @ centred / total
    torch.testing.assert_close(found.mean[0].double(), mean, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.covariance[0].double(), covariance, rtol=1e-5, atol=1e-6)
    gain = torch.log(total * (axis[1] - axis[0]) ** 2)
    torch.testing.assert_close(found.gain[0].double(), gain, rtol=1e-5, atol=1e-6)
