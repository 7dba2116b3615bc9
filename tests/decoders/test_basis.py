"""Explicit volumes: exact on the grid, nearly exact between, cheap to learn."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from cryo_disentangle.decoders import BasisDecoder
from cryo_disentangle.encoders import MLPEncoder
from cryo_disentangle.geometry import in_plane_rotation, random_rotations
from cryo_disentangle.imaging import FourierDisc
from cryo_disentangle.imaging.gaussians import gaussian_volume, project_gaussians
from cryo_disentangle.imaging.hartley import (
    desymmetrize,
    hartley2,
    hartley3,
    inverse_hartley2,
    symmetrize,
)
from cryo_disentangle.modules import HeterogeneousReconstruction
from cryo_disentangle.simulation import TwoArms

IDENTITY = torch.eye(3)[None]
_seeds = st.integers(0, 2**31)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_decoder(box_size: int, seed: int = 0, **options: int) -> BasisDecoder:
    """A decoder with random coefficients, in double precision."""
    torch.manual_seed(seed)
    decoder = BasisDecoder(box_size, 2, **{"rank": 3, "hidden": 8, "layers": 1, **options})
    decoder = decoder.double()
    nn.init.normal_(decoder.coefficients)
    return decoder


def double_disc(box_size: int, radius: int | None = None) -> FourierDisc:
    return FourierDisc(box_size, radius).double()


def two_arms(count: int, box_size: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Conformations, rotations and the Hartley coefficients of exact projections."""
    molecule, pixel_size = TwoArms(), 4.25 * 32 / box_size
    conformation = 2 * torch.rand(count, 2, generator=generator(seed)) - 1
    rotation = random_rotations(count, generator=generator(seed))
    images = project_gaussians(
        molecule.centres(conformation),
        molecule.weights,
        molecule.sigma,
        rotation,
        box_size,
        pixel_size,
    )
    disc = FourierDisc(box_size)
    return conformation, rotation, disc.select(symmetrize(hartley2(images)))


@settings(max_examples=12)
@given(_seeds, st.sampled_from([2, 4, 8, 14]), st.sampled_from([0, 8]))
def test_volume_summed_along_the_beam_is_the_image(seed: int, side: int, hidden: int) -> None:
    decoder, disc = random_decoder(side, seed, hidden=hidden), double_disc(side)
    z = torch.randn(2, generator=generator(seed), dtype=torch.float64)
    rendered = decoder.render(z[None], IDENTITY.double(), disc).detach()
    image = inverse_hartley2(desymmetrize(disc.scatter(rendered)))[0]
    summed = decoder.volume(z).sum(0)
    # The discs of images lack the origin: the mean is compared apart from it.
    difference = (summed - summed.mean()) - (image - image.mean())
    # Frequencies are single-precision numbers.
    assert float(difference.abs().max()) < 1e-5 * float(summed.abs().max())


@pytest.mark.parametrize("side", [32, 64])
def test_slices_of_a_given_volume_are_nearly_exact_projections(side: int) -> None:
    """The molecule spans 77 % of the box."""
    conformation, rotation, expected = two_arms(24, side)
    molecule = TwoArms()
    volumes = gaussian_volume(
        molecule.centres(conformation), molecule.weights, molecule.sigma, side, 4.25 * 32 / side
    )
    decoder, disc = BasisDecoder(side, 1, rank=1, hidden=0), FourierDisc(side)
    squared = 0.0
    for volume, turn, truth in zip(volumes, rotation, expected, strict=True):
        decoder.load_volumes(volume[None])
        rendered = decoder.render(torch.zeros(1, 1), turn[None], disc)[0].detach()
        squared += float((rendered - truth).square().sum())
    assert (squared / float(expected.square().sum())) ** 0.5 < 0.042


def test_loaded_volumes_come_back() -> None:
    decoder = random_decoder(12, hidden=0)
    volumes = torch.randn(3, 12, 12, 12, dtype=torch.float64)
    decoder.load_volumes(volumes)
    zero = torch.zeros(2, dtype=torch.float64)
    squares = (torch.arange(12) - 6).square()
    ball = squares[:, None, None] + squares[:, None] + squares <= 36
    torch.testing.assert_close(hartley3(decoder.volume(zero)), hartley3(volumes[0]) * ball)
    assert isinstance(decoder.mixture, nn.Linear)
    with torch.no_grad():
        decoder.mixture.weight.zero_()[0, 0] = 2.0
    z = torch.tensor([1.5, 0.7], dtype=torch.float64)
    expected = hartley3(volumes[0] + 3 * volumes[1]) * ball
    torch.testing.assert_close(hartley3(decoder.volume(z)), expected)


def test_a_linear_decoder_is_linear_about_its_mean() -> None:
    decoder = random_decoder(8, hidden=0)
    first, second = torch.randn(2, 2, dtype=torch.float64)
    mean = decoder.volume(torch.zeros(2, dtype=torch.float64))
    both = decoder.volume(first + second) - mean
    torch.testing.assert_close(
        both, decoder.volume(first) + decoder.volume(second) - 2 * mean, rtol=0, atol=1e-9
    )


@settings(max_examples=12)
@given(_seeds)
def test_turning_a_particle_by_a_right_angle_turns_its_image(seed: int) -> None:
    decoder, disc = random_decoder(8, seed), double_disc(8, 3)
    z = torch.randn(1, 2, dtype=torch.float64, generator=generator(seed))
    rotation = random_rotations(1, generator=generator(seed), dtype=torch.float64)
    quarter = in_plane_rotation(torch.tensor(torch.pi / 2, dtype=torch.float64))
    plain = disc.scatter(decoder.render(z, rotation, disc))[0]
    turned = disc.scatter(decoder.render(z, quarter @ rotation, disc))[0]
    # From the x axis (columns) towards the y axis (rows).
    torch.testing.assert_close(turned, torch.rot90(plain, -1))


@torch.no_grad()
def test_discs_are_read_point_by_point() -> None:
    decoder, whole = random_decoder(8), double_disc(8)
    z, rotation = torch.randn(2, 2).double(), random_rotations(2, dtype=torch.float64)
    everything = whole.scatter(decoder.render(z, rotation, whole))
    small = double_disc(8, 2)
    torch.testing.assert_close(decoder.render(z, rotation, small), small.select(everything))
    square = double_disc(8, -1)
    rendered = square.scatter(decoder.render(z, rotation, square))
    torch.testing.assert_close(whole.select(rendered), whole.select(everything))
    corner = rendered.clone()
    corner.flatten(1)[:, whole.index] = 0
    corner[:, 4, 4] = 0
    assert float(corner.abs().max()) == 0.0
    volumes = torch.stack([decoder.volume(one) for one in z])
    at_origin = decoder.render(z, rotation, square)[:, len(square) // 2]
    torch.testing.assert_close(at_origin, volumes.sum((1, 2, 3)))


def test_smaller_volumes_crop_the_transform() -> None:
    decoder = random_decoder(12)
    z = torch.randn(2, dtype=torch.float64)
    large, small = hartley3(decoder.volume(z)), hartley3(decoder.volume(z, 6))
    squares = (torch.arange(6) - 3).square()
    ball = squares[:, None, None] + squares[:, None] + squares <= 9
    torch.testing.assert_close(small, large[3:9, 3:9, 3:9] * ball)


def test_gradients_reach_conformations_rotations_and_coefficients() -> None:
    decoder, disc = random_decoder(4, rank=2), double_disc(4)
    torch.manual_seed(1)
    z = torch.randn(2, 2, dtype=torch.float64, requires_grad=True)
    rotation = random_rotations(2, dtype=torch.float64).requires_grad_()

    def render(z: Tensor, rotation: Tensor, coefficients: Tensor) -> Tensor:
        weights = {**dict(decoder.named_parameters()), "coefficients": coefficients}
        return torch.func.functional_call(_Renderer(decoder), _prefixed(weights), (z, rotation))

    class _Renderer(nn.Module):
        def __init__(self, decoder: BasisDecoder) -> None:
            super().__init__()
            self.decoder = decoder

        def forward(self, z: Tensor, rotation: Tensor) -> Tensor:
            return self.decoder.render(z, rotation, disc)

    def _prefixed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
        return {f"decoder.{name}": weight for name, weight in weights.items()}

    coefficients = decoder.coefficients.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(render, (z, rotation, coefficients), atol=1e-4)


def test_autocast_does_not_round_slices() -> None:
    decoder, disc = random_decoder(16).float(), FourierDisc(16)
    z, rotation = torch.randn(2, 2), random_rotations(2)
    plain = decoder.render(z, rotation, disc)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(decoder.render(z, rotation, disc), plain)


def test_learns_moving_arms() -> None:
    """One learning rate serves grid and network; 150 steps explain 85 % of clean images."""
    conformation, rotation, truth = two_arms(600, 16)
    truth = truth / truth.std()
    torch.manual_seed(0)
    decoder, disc = BasisDecoder(16, 2), FourierDisc(16)
    optimizer = torch.optim.Adam(decoder.parameters(), lr=1e-3)
    for step in range(150):
        rows = torch.arange(64 * step, 64 * step + 64) % 500
        rendered = decoder.render(conformation[rows], rotation[rows], disc)
        optimizer.zero_grad()
        nn.functional.mse_loss(rendered, truth[rows]).backward()
        optimizer.step()
    rendered = decoder.render(conformation[500:], rotation[500:], disc).detach()
    assert float((rendered - truth[500:]).square().mean()) < 0.15


def test_serves_in_heterogeneous_reconstruction() -> None:
    model = HeterogeneousReconstruction(
        8,
        2,
        encoder=partial(MLPEncoder, width=8, layers=1),
        decoder=partial(BasisDecoder, rank=2, hidden=4, layers=1),
    )
    batch = {
        "images": torch.randn(4, 9, 9),
        "index": torch.arange(4),
        "rotation": random_rotations(4),
    }
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(3):
        optimizer.zero_grad()
        model.loss_terms(batch, step=0, sample=True)["loss"].backward()  # type: ignore[arg-type]
        optimizer.step()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    assert all(g is not None and float(g.abs().max()) > 0 for g in gradients.values()), gradients
    other = BasisDecoder(8, 2, rank=2, hidden=4, layers=1)
    other.load_state_dict(model.decoder.state_dict())  # type: ignore[attr-defined]
    z = torch.randn(2)
    assert torch.equal(other.volume(z), model.decoder.volume(z))


@pytest.mark.parametrize("side", [0, 7, -2])
def test_odd_boxes_are_refused(side: int) -> None:
    with pytest.raises(ValueError, match=f"even and positive, found {side}"):
        BasisDecoder(side, 2)


@pytest.mark.parametrize(("dim", "rank", "hidden"), [(0, 1, 1), (1, 0, 1), (1, 1, -1)])
def test_impossible_sizes_are_refused(dim: int, rank: int, hidden: int) -> None:
    found = f"found conformation_dim={dim}, rank={rank}, hidden={hidden}"
    with pytest.raises(ValueError, match=found):
        BasisDecoder(8, dim, rank, hidden)


@pytest.mark.parametrize("side", [5, 10, 0])
def test_volumes_of_other_sizes_are_refused(side: int) -> None:
    with pytest.raises(ValueError, match=f"even and at most 8, found {side}"):
        BasisDecoder(8, 2).volume(torch.zeros(2), side)


@pytest.mark.parametrize("shape", [(8, 8, 8), (1, 8, 8, 6), (4, 8, 8, 8), (0, 8, 8, 8)])
def test_loaded_volumes_of_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"shape \(n, 8, 8, 8\) with n from 1 to 3, found"):
        BasisDecoder(8, 2, rank=2).load_volumes(torch.zeros(shape))
