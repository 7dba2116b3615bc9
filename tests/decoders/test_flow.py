"""Convected volumes: density and volumes kept, slices that agree with volumes, learnable."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from cryo_disentangle.decoders import FlowDecoder
from cryo_disentangle.decoders.convection import interpolate, project_lattice
from cryo_disentangle.decoders.solenoidal import MARGIN, carry, curl, free_nodes, spline_velocity
from cryo_disentangle.encoders import MLPEncoder
from cryo_disentangle.geometry import random_rotations
from cryo_disentangle.imaging import FourierDisc
from cryo_disentangle.imaging.fsc import fourier_shell_correlation
from cryo_disentangle.imaging.gaussians import gaussian_volume, project_gaussians
from cryo_disentangle.imaging.hartley import hartley2, symmetrize
from cryo_disentangle.modules import HeterogeneousReconstruction
from cryo_disentangle.simulation import TwoArms

_seeds = st.integers(0, 2**31)
SIDE, PIXEL_SIZE = 16, 8.5


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def potential(nodes: int, seed: int = 0, count: int = 1) -> Tensor:
    """Random coefficients with the margin that velocities need, (B, 3, N, N, N)."""
    inner = torch.randn(count, 3, nodes, nodes, nodes, generator=generator(seed)).double()
    return nn.functional.pad(inner, (MARGIN,) * 6)


def arms_volume(side: int = SIDE) -> Tensor:
    """The body with two arms, spanning 77 % of the box."""
    molecule = TwoArms()
    centres = molecule.centres(torch.zeros(1, 2))
    return gaussian_volume(
        centres, molecule.weights, molecule.sigma, side, PIXEL_SIZE * SIDE / side
    )[0]


def moving(side: int = SIDE, seed: int = 0, nodes: int = 3, amplitude: float = 1.0) -> FlowDecoder:
    """The arms carried by a random flow of a few pixels, in double precision."""
    torch.manual_seed(seed)
    decoder = FlowDecoder(side, 2, nodes=nodes, diameter=1.0, steps=2).double()
    decoder.load_reference(arms_volume(side).double())
    assert isinstance(decoder.mixture, nn.Linear)
    nn.init.normal_(decoder.mixture.weight, std=amplitude)
    return decoder


@settings(max_examples=10)
@given(_seeds)
def test_velocities_have_no_sources_anywhere(seed: int) -> None:
    drawn = torch.rand(1, 3, 20, generator=generator(seed)).double()
    # Half of the points lie among the nodes, where all moves, and half of them anywhere.
    points = torch.cat([MARGIN + 2 * drawn[..., :10], (3 + 2 * MARGIN) * drawn[..., 10:]], 2)
    velocity = curl(potential(3, seed))

    def summed(position: Tensor) -> Tensor:
        return spline_velocity(velocity, position).sum((0, 2))

    slopes = torch.autograd.functional.jacobian(summed, points)[:, 0]
    assert isinstance(slopes, Tensor)
    assert float(slopes[:, :, :10].abs().max()) > 0.1
    assert float(slopes.diagonal(dim1=0, dim2=1).sum(-1).abs().max()) < 1e-14


def test_gradients_of_velocities() -> None:
    inner = torch.randn(2, 3, 2, 2, 2, generator=generator(0)).double()
    position = 10 * torch.rand(2, 3, 4, generator=generator(0)).double()

    def velocity(inner: Tensor, position: Tensor) -> Tensor:
        return spline_velocity(curl(nn.functional.pad(inner, (MARGIN,) * 6)), position)

    inputs = inner.requires_grad_(), position.requires_grad_()
    assert torch.autograd.gradcheck(velocity, inputs, fast_mode=True)


def test_what_has_left_the_lattice_rests() -> None:
    position = torch.tensor([[[-3.0], [5.0], [20.0]]]).double()
    assert float(spline_velocity(curl(potential(3)), position).abs().max()) == 0.0


def test_integration_is_of_fourth_order() -> None:
    velocity = 0.3 * curl(potential(3))
    start = MARGIN + 2 * torch.rand(1, 3, 30, generator=generator(1)).double()
    exact = carry(velocity, start, 64)
    errors = [float((carry(velocity, start, steps) - exact).norm()) for steps in (2, 8)]
    # Third order would be 64; velocities have but one continuous derivative.
    assert errors[0] / errors[1] > 64


@pytest.mark.parametrize("dim", [2, 3])
def test_mass_is_kept_wherever_it_goes_and_gradients_are_exact(dim: int) -> None:
    matrix = torch.rand(5, 3, generator=generator(0)).double()
    lattice = 3 * torch.randn(2, dim, 3, 3, 3, generator=generator(1)).double()
    chosen = torch.randperm(125, generator=generator(2))[:9]
    mass = torch.randn(9, generator=generator(3)).double()

    def project(lattice: Tensor, mass: Tensor) -> Tensor:
        return project_lattice(lattice, matrix, chosen, mass, 4)

    images = project(lattice, mass)
    torch.testing.assert_close(images.flatten(1).sum(1), mass.sum().expand(2))
    inputs = lattice.requires_grad_(), mass.requires_grad_()
    assert torch.autograd.gradcheck(project, inputs, fast_mode=True)


def test_interpolation_applies_to_x_y_and_z() -> None:
    values = torch.randn(2, 3, 4, 5)
    x, y, z = torch.randn(6, 5), torch.randn(7, 4), torch.randn(8, 3)
    expected = torch.einsum("dzyx,Xx,Yy,Zz->dZYX", values, x, y, z)
    torch.testing.assert_close(interpolate(values, x, y, z), expected)


@torch.no_grad()
def test_slices_are_sums_over_carried_voxels() -> None:
    """At Fourier pixel k, Σ m cas(2π k·x / D), x where each voxel has gone."""
    decoder, disc = moving(), FourierDisc(SIDE)
    z = torch.randn(3, 2, generator=generator(1)).double()
    rotation = random_rotations(3, generator=generator(2), dtype=torch.float64)
    density = decoder.reference()
    places = torch.nonzero(density)
    voxels = (places - SIDE // 2).flip(1).double()
    image = decoder.carry(z, voxels) @ rotation[:, :2].transpose(1, 2)
    phase = 2 * torch.pi * image @ disc.frequencies.double().T
    exact = density[tuple(places.T)] @ (phase.cos() + phase.sin())
    error = decoder.render(z, rotation, disc) - exact
    assert float((decoder.carry(z, voxels) - voxels).norm(dim=-1).max()) > 1.5
    assert float(error.norm() / exact.norm()) < 0.02


@torch.no_grad()
def test_without_conformation_slices_are_the_reference_s_projections() -> None:
    molecule, decoder, disc = TwoArms(), FlowDecoder(32, 2), FourierDisc(32)
    decoder.load_reference(arms_volume(32))
    rotation = random_rotations(8, generator=generator(0))
    images = project_gaussians(
        molecule.centres(torch.zeros(8, 2)),
        molecule.weights,
        molecule.sigma,
        rotation,
        32,
        PIXEL_SIZE / 2,
    )
    exact = disc.select(symmetrize(hartley2(images)))
    error = decoder.render(torch.zeros(8, 2), rotation, disc) - exact
    assert float(error.norm() / exact.norm()) < 0.015
    volume = decoder.volume(torch.zeros(2))
    assert float((volume - decoder.reference()).norm() / volume.norm()) < 0.01


@torch.no_grad()
def test_slices_agree_with_volumes() -> None:
    # At the rim, where a volume has one coefficient for two frequencies, they can't.
    decoder, disc = moving(), FourierDisc(SIDE, SIDE // 2 - 1)
    z = torch.tensor([0.8, -0.6]).double()
    summed = disc.select(symmetrize(hartley2(decoder.volume(z).sum(0)))[None])[0]
    rendered = decoder.render(z[None], torch.eye(3)[None], disc)[0]
    torch.testing.assert_close(rendered, summed, rtol=0, atol=1e-6 * float(summed.norm()))
    fsc = fourier_shell_correlation(decoder.volume(0 * z), decoder.reference())
    assert float(fsc[1:-1].min()) > 0.99


@torch.no_grad()
@pytest.mark.parametrize(("hidden", "strength"), [(0, 3.0), (8, 12.0)])
def test_density_and_volumes_are_kept_along_traversals(hidden: int, strength: float) -> None:
    torch.manual_seed(0)
    decoder = FlowDecoder(SIDE, 2, nodes=3, hidden=hidden, diameter=0.9)
    [p for p in decoder.mixture.parameters() if p.ndim == 2][-1].mul_(strength)
    decoder.load_reference(arms_volume())
    total, start = float(decoder.reference().sum()), torch.nonzero(decoder.reference())
    start = (start - SIDE // 2).flip(1).float()
    farthest = 0.0
    for value in torch.linspace(-2, 2, 5):
        z = torch.tensor([float(value), 0.3])
        change = decoder.volume_change(z)
        assert float((change - 1).abs().mean()) < 0.01
        assert float(change.mean()) == pytest.approx(1, abs=0.01)
        assert float(decoder.volume(z).sum()) == pytest.approx(total, rel=1e-3)
        farthest = max(farthest, float((decoder.carry(z[None], start) - start).norm(dim=-1).max()))
    # Pixels.
    assert farthest > 0.5


@torch.no_grad()
@pytest.mark.parametrize("hidden", [0, 8])
def test_at_zero_nothing_moves(hidden: int) -> None:
    decoder = FlowDecoder(8, 2, nodes=3, hidden=hidden)
    points = torch.randn(5, 3)
    torch.testing.assert_close(decoder.carry(torch.zeros(1, 2), points)[0], points)
    change = decoder.volume_change(torch.zeros(2))
    torch.testing.assert_close(change, torch.ones_like(change))


def test_gradients_reach_conformations_rotations_and_the_reference() -> None:
    torch.manual_seed(0)
    decoder = FlowDecoder(4, 2, nodes=2, diameter=1.0).double()
    disc = FourierDisc(4)
    z = torch.randn(2, 2, dtype=torch.float64, requires_grad=True)
    rotation = random_rotations(2, dtype=torch.float64).requires_grad_()
    coefficients = torch.randn(4, 4, 4, dtype=torch.float64, requires_grad=True)

    def render(z: Tensor, rotation: Tensor, coefficients: Tensor) -> Tensor:
        weights = {"decoder.coefficients": coefficients}
        return torch.func.functional_call(_Renderer(decoder), weights, (z, rotation, disc))

    assert torch.autograd.gradcheck(render, (z, rotation, coefficients), fast_mode=True)


class _Renderer(nn.Module):
    def __init__(self, decoder: FlowDecoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, z: Tensor, rotation: Tensor, disc: FourierDisc) -> Tensor:
        return self.decoder.render(z, rotation, disc)


def test_autocast_does_not_round_slices() -> None:
    decoder, disc = moving().float(), FourierDisc(SIDE)
    z, rotation = torch.randn(2, 2), random_rotations(2)
    plain = decoder.render(z, rotation, disc)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(decoder.render(z, rotation, disc), plain)


@torch.no_grad()
def test_smaller_volumes_keep_the_mean_density_and_the_shape() -> None:
    decoder = moving(amplitude=0.3)
    z = torch.tensor([0.5, 0.5]).double()
    large, small = decoder.volume(z), decoder.volume(z, 8)
    # Values sum to the transform's origin at any size.
    assert float(small.sum()) == pytest.approx(float(large.sum()), rel=1e-9)


def write_mask(path: Path, values: Tensor) -> Path:
    mrcfile.write(path, values.numpy().astype(np.float32))
    return path


@torch.no_grad()
def test_a_fixed_region_does_not_move(tmp_path: Path) -> None:
    mask = torch.zeros(SIDE, SIDE, SIDE)
    mask[:, :, :6] = 1
    torch.manual_seed(0)
    decoder = FlowDecoder(SIDE, 1, nodes=7, fixed=write_mask(tmp_path / "fixed.mrc", mask))
    grid = torch.nonzero(torch.ones(SIDE, SIDE, SIDE)).flip(1).float() - SIDE // 2
    moved = (decoder.carry(torch.ones(1, 1), grid)[0] - grid).norm(dim=1)
    held = grid[:, 0] < 6 - SIDE // 2
    assert float(moved[held].max()) < 1e-5
    assert float(moved[~held].max()) > 0.05
    assert float((decoder.volume_change(torch.ones(1)) - 1).abs().max()) < 0.02


def test_free_nodes_are_centred() -> None:
    free = free_nodes(torch.zeros(8, 8, 8, dtype=torch.bool), 3)
    for component, axis in ((0, 2), (1, 1), (2, 0)):
        assert free[component].sum() == 18
        assert float(free[component].select(axis, -1).sum()) == 0.0


@torch.no_grad()
def test_density_is_confined_to_its_support(tmp_path: Path) -> None:
    mask = torch.zeros(8, 8, 8)
    mask[3:6, 3:6, 2:7] = 1
    decoder = FlowDecoder(8, 1, support=write_mask(tmp_path / "support.mrc", mask))
    decoder.load_reference(torch.randn(8, 8, 8))
    assert torch.equal(decoder.reference() != 0, mask > 0)


def test_serves_in_heterogeneous_reconstruction() -> None:
    model = HeterogeneousReconstruction(
        8,
        2,
        encoder=partial(MLPEncoder, width=8, layers=1),
        decoder=partial(FlowDecoder, nodes=3, hidden=4),
    )
    batch = {
        "images": torch.randn(4, 9, 9),
        "index": torch.arange(4),
        "rotation": random_rotations(4),
    }
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(2):
        optimizer.zero_grad()
        model.loss_terms(batch, step=0, sample=True)["loss"].backward()  # type: ignore[arg-type]
        optimizer.step()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    still = [name for name, g in gradients.items() if g is None or not float(g.abs().max()) > 0]
    # The potential at z = 0 is subtracted, and with it the last offset.
    assert still == ["decoder.mixture.main.6.bias"]
    other = FlowDecoder(8, 2, nodes=3, hidden=4)
    other.load_state_dict(model.decoder.state_dict())  # type: ignore[attr-defined]
    z = torch.randn(2)
    assert torch.equal(other.volume(z), model.decoder.volume(z))


def test_learns_a_moving_arm() -> None:
    """From known conformations and poses, a flow explains what one still volume can't."""
    molecule = TwoArms()
    z = 2 * torch.rand(120, 2, generator=generator(0)) - 1
    z[:, 1] = 0
    rotation = random_rotations(120, generator=generator(1))
    images = project_gaussians(
        molecule.centres(z), molecule.weights, molecule.sigma, rotation, 12, 11.5
    )
    disc = FourierDisc(12)
    truth = disc.select(symmetrize(hartley2(images)))
    truth = truth / truth.std()
    error = {}
    for moves in (0.0, 1.0):
        torch.manual_seed(0)
        decoder = FlowDecoder(12, 2, nodes=3)
        optimizer = torch.optim.Adam(decoder.parameters(), lr=2e-2)
        for step in range(50):
            rows = torch.arange(12 * step, 12 * step + 12) % 120
            rendered = decoder.render(moves * z[rows], rotation[rows], disc)
            optimizer.zero_grad()
            nn.functional.mse_loss(rendered, truth[rows]).backward()
            optimizer.step()
        with torch.no_grad():
            rendered = decoder.render(moves * z, rotation, disc)
        error[moves] = float((rendered - truth).square().mean())
    assert error[1.0] < 0.6 * error[0.0], error


@pytest.mark.parametrize("side", [0, 7, -2])
def test_odd_boxes_are_refused(side: int) -> None:
    with pytest.raises(ValueError, match=f"even and positive, found {side}"):
        FlowDecoder(side, 2)


@pytest.mark.parametrize(
    ("name", "value"),
    [("conformation_dim", 0), ("nodes", 0), ("steps", 0), ("hidden", -1), ("diameter", 1.5)],
)
def test_impossible_sizes_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"a flow decoder needs .*{name}={value}"):
        FlowDecoder(8, **({"conformation_dim": 2} | {name: value}))  # type: ignore[arg-type]


@pytest.mark.parametrize("side", [5, 10, 0])
def test_volumes_of_other_sizes_are_refused(side: int) -> None:
    with pytest.raises(ValueError, match=f"even and at most 8, found {side}"):
        FlowDecoder(8, 2, nodes=2).volume(torch.zeros(2), side)


def test_references_of_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(8, 8, 8\) expected, found \(8, 8\)"):
        FlowDecoder(8, 2, nodes=2).load_reference(torch.zeros(8, 8))


def test_masks_of_other_shapes_and_empty_ones_are_refused(tmp_path: Path) -> None:
    small = write_mask(tmp_path / "small.mrc", torch.ones(6, 6, 6))
    with pytest.raises(ValueError, match=r"small\.mrc: a mask of shape \(8, 8, 8\) expected"):
        FlowDecoder(8, 2, support=small)
    empty = write_mask(tmp_path / "empty.mrc", torch.zeros(8, 8, 8))
    with pytest.raises(ValueError, match="no voxel of the reference is left"):
        FlowDecoder(8, 2, support=empty)
    with pytest.raises(FileNotFoundError, match="absent"):
        FlowDecoder(8, 2, fixed=tmp_path / "absent.mrc")
