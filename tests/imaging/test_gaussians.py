from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cryo_disentangle.geometry import in_plane_rotation, random_rotations
from cryo_disentangle.imaging.gaussians import gaussian_volume, project_gaussians

# One pixel size for which Gaussians are windowed at the larger box, and one for which never.
BOXES = [(32, 4.0), (128, 1.0)]


def molecule(count: int, seed: int = 0, radius: float = 30.0) -> tuple[Tensor, Tensor, Tensor]:
    """Centres (1, N, 3), weights (N,) and standard deviations (N,), in float64."""
    generator = torch.Generator().manual_seed(seed)
    direction = torch.randn(1, count, 3, generator=generator, dtype=torch.float64)
    length = radius * torch.rand(1, count, 1, generator=generator, dtype=torch.float64)
    weights = 0.5 + torch.rand(count, generator=generator, dtype=torch.float64)
    sigma = 2.0 + 2 * torch.rand(count, generator=generator, dtype=torch.float64)
    return torch.nn.functional.normalize(direction, dim=-1) * length, weights, sigma


def rotations(count: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return random_rotations(count, generator=generator, dtype=torch.float64)


def integrated_numerically(
    centres: Tensor, weights: Tensor, sigma: Tensor, rotation: Tensor, box: int, pixel: float
) -> Tensor:
    """Integrates the density by quadrature: sums along the beam, Gauss-Legendre in pixels."""
    nodes, quadrature = (torch.from_numpy(a) / 2 for a in np.polynomial.legendre.leggauss(10))
    axis = ((torch.arange(box, dtype=torch.float64) - box / 2)[:, None] + nodes) * pixel
    beam = torch.arange(-60, 60, 0.25, dtype=torch.float64)
    turned = (rotation @ centres[0].T).T
    image = torch.zeros(box, box, dtype=torch.float64)
    for (x, y, z), weight, s in zip(turned.tolist(), weights.tolist(), sigma.tolist(), strict=True):
        along = 0.25 * torch.exp(-((beam - z) ** 2) / (2 * s * s)).sum()
        rows = pixel * torch.exp(-((axis - y) ** 2) / (2 * s * s)) @ quadrature
        columns = pixel * torch.exp(-((axis - x) ** 2) / (2 * s * s)) @ quadrature
        image += weight / (2 * math.pi * s * s) ** 1.5 * along * rows[:, None] * columns
    return image


@pytest.mark.parametrize(("box", "pixel"), BOXES)
def test_projection_is_the_numerical_integral_of_the_density(box: int, pixel: float) -> None:
    centres, weights, sigma = molecule(7)
    rotation = rotations(1)
    expected = integrated_numerically(centres, weights, sigma, rotation[0], box, pixel)
    exact = project_gaussians(centres, weights, sigma, rotation, box, pixel)[0]
    single = project_gaussians(
        centres.float(), weights.float(), sigma.float(), rotation.float(), box, pixel
    )[0]
    assert float((exact - expected).abs().max() / expected.max()) < 1e-6
    assert float((single.double() - expected).abs().max() / expected.max()) < 1e-5


@pytest.mark.parametrize(("box", "pixel"), BOXES)
def test_fourier_transform_of_a_projection_is_the_central_slice(box: int, pixel: float) -> None:
    centres, weights, sigma = molecule(9, radius=20)
    sigma = sigma.clamp_min(pixel)  # a sharper Gaussian has power beyond the Nyquist frequency
    rotation = rotations(1, seed=5)
    image = project_gaussians(centres, weights, sigma, rotation, box, pixel)[0]
    frequency = torch.fft.fftfreq(box, dtype=torch.float64)
    kept = frequency.abs() < 0.2  # the rest folds back at the rim
    ky, kx = torch.meshgrid(frequency[kept], frequency[kept], indexing="ij")
    plane = torch.stack([kx, ky, torch.zeros_like(kx)], dim=-1) / pixel
    # Transform of the 3-D density on the plane lattice @ R, times that of the square pixel.
    k = plane @ rotation[0]
    phase = torch.exp(-2j * math.pi * (k @ centres[0].T))
    envelope = torch.exp(-2 * (math.pi * sigma) ** 2 * k.square().sum(-1, keepdim=True))
    pixels = torch.sinc(kx) * torch.sinc(ky)
    expected = (phase * envelope * weights).sum(-1) * pixels
    found = torch.fft.fft2(torch.fft.ifftshift(image))[kept][:, kept]
    assert float((found - expected).abs().max() / expected.abs().max()) < 3e-6


def test_fourier_transform_of_a_projection_is_the_slice_of_the_volume_on_the_grid() -> None:
    centres, weights, sigma = molecule(9)
    identity = torch.eye(3, dtype=torch.float64)[None]
    volume = gaussian_volume(centres, weights, sigma, 64, 2.0)[0]
    image = project_gaussians(centres, weights, sigma, identity, 64, 2.0)[0]
    slice_ = torch.fft.fftn(torch.fft.ifftshift(volume))[0]
    transform = torch.fft.fft2(torch.fft.ifftshift(image))
    torch.testing.assert_close(slice_, transform, rtol=0, atol=1e-6 * float(transform.abs().max()))


@pytest.mark.parametrize("seed", range(3))
def test_volume_of_a_turned_molecule_projects_like_the_turned_view(seed: int) -> None:
    centres, weights, sigma = molecule(9, seed)
    rotation = rotations(1, seed)
    turned = gaussian_volume(centres @ rotation.transpose(1, 2), weights, sigma, 64, 2.0)[0]
    image = project_gaussians(centres, weights, sigma, rotation, 64, 2.0)[0]
    torch.testing.assert_close(turned.sum(0), image, rtol=0, atol=1e-6 * float(image.max()))


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.sampled_from(BOXES))
def test_turning_the_molecule_is_turning_the_view(seed: int, grid: tuple[int, float]) -> None:
    centres, weights, sigma = molecule(12, seed)
    first, second = rotations(2, seed).split(1)
    moved = centres @ second.transpose(1, 2)
    turned = project_gaussians(moved, weights, sigma, first, *grid)
    viewed = project_gaussians(centres, weights, sigma, first @ second, *grid)
    torch.testing.assert_close(turned, viewed, rtol=0, atol=1e-5 * float(viewed.max()))


def test_quarter_turn_in_plane_turns_the_image() -> None:
    centres, weights, sigma = molecule(12)
    rotation = rotations(1)
    quarter = in_plane_rotation(torch.tensor([math.pi / 2], dtype=torch.float64))
    image = project_gaussians(centres, weights, sigma, rotation, 32, 4.0)[0]
    turned = project_gaussians(centres, weights, sigma, quarter @ rotation, 32, 4.0)[0]
    # From x towards y: pixel (y, x) about the centre 16 goes to (x, -y).
    expected = torch.rot90(image[1:, 1:], -1)
    torch.testing.assert_close(turned[1:, 1:], expected, rtol=0, atol=1e-6)


def test_a_blob_appears_where_the_rotation_takes_it_and_translation_centres_it() -> None:
    centre = torch.tensor([[[8.0, -12.0, 5.0]]])
    one = torch.ones(1)
    identity = torch.eye(3)[None]
    image = project_gaussians(centre, one, 2.0, identity, 32, 4.0)[0]
    row, column = divmod(int(image.argmax()), 32)
    assert (row, column) == (16 - 3, 16 + 2)
    shifted = project_gaussians(centre, one, 2.0, identity, 32, 4.0, torch.tensor([[2.0, -3.0]]))[0]
    assert divmod(int(shifted.argmax()), 32) == (16, 16)
    torch.testing.assert_close(shifted, shifted.flip(0).roll(1, 0), atol=1e-6, rtol=0)


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.sampled_from(BOXES))
def test_whole_molecule_sums_to_its_weights(seed: int, grid: tuple[int, float]) -> None:
    centres, weights, sigma = molecule(12, seed)
    image = project_gaussians(centres, weights, sigma, rotations(1, seed), *grid)
    torch.testing.assert_close(image.sum(), weights.sum(), rtol=1e-5, atol=0)
    volume = gaussian_volume(centres, weights, sigma, 32, 4.0)
    torch.testing.assert_close(volume.sum(), weights.sum(), rtol=1e-5, atol=0)


def test_what_lies_outside_the_box_is_cut_off_and_no_more() -> None:
    centres = torch.tensor([[[-64.0, 0.0, 0.0], [200.0, 0.0, 0.0]]])
    for box, pixel in BOXES:
        image = project_gaussians(centres, torch.ones(2), 1.0, torch.eye(3)[None], box, pixel)
        # Pixel 0 begins half a pixel left of the first centre; the second is far outside.
        expected = 0.5 * (1 + math.erf(0.5 * pixel / math.sqrt(2)))
        assert float(image.sum()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("box", "pixel"), [(8, 16.0), (40, 3.2)])
def test_gradients_are_those_of_finite_differences(box: int, pixel: float) -> None:
    centres, weights, sigma = molecule(3)
    rotation = rotations(2)
    shift = torch.tensor([[0.3, -0.2], [0.0, 1.1]], dtype=torch.float64)
    inputs = (centres.expand(2, -1, -1).clone(), weights, sigma, rotation, shift)
    for value in inputs:
        value.requires_grad_()

    def summary(c: Tensor, w: Tensor, s: Tensor, r: Tensor, t: Tensor) -> Tensor:
        probe = torch.linspace(-1, 1, box, dtype=torch.float64)
        return torch.einsum(
            "bij,i,j->b", project_gaussians(c, w, s, r, box, pixel, t), probe, probe.cos()
        )

    assert torch.autograd.gradcheck(summary, inputs, atol=1e-5)


def test_each_image_may_have_its_own_weights() -> None:
    centres, weights, sigma = molecule(5)
    both = centres.expand(2, -1, -1)
    scaled = torch.stack([weights, 3 * weights])
    images = project_gaussians(both, scaled, sigma, rotations(1).expand(2, -1, -1), 32, 4.0)
    torch.testing.assert_close(images[1], 3 * images[0])


def test_bad_arguments_are_refused() -> None:
    centres, weights, sigma = molecule(5)
    rotation = rotations(1)
    with pytest.raises(ValueError, match=r"centres must have shape \(B, N, 3\), found \(5, 3\)"):
        project_gaussians(centres[0], weights, sigma, rotation, 32, 4.0)
    with pytest.raises(
        ValueError, match=r"weights must have shape \(5,\) or \(1, 5\), found \(4,\)"
    ):
        project_gaussians(centres, weights[:4], sigma, rotation, 32, 4.0)
    with pytest.raises(ValueError, match="one for each of the 5 Gaussians, found 4"):
        project_gaussians(centres, weights, sigma[:4], rotation, 32, 4.0)
    with pytest.raises(ValueError, match="sigma must be positive, found -1"):
        gaussian_volume(centres, weights, -1.0, 32, 4.0)
    with pytest.raises(ValueError, match="box size must be even and positive, found 33"):
        gaussian_volume(centres, weights, sigma, 33, 4.0)
    with pytest.raises(ValueError, match="pixel size must be positive, found 0"):
        project_gaussians(centres, weights, sigma, rotation, 32, 0)
