"""Gaussians at atoms: exact images, and motions that mean what they say."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cryo_disentangle.decoders import AtomicDecoder, HingedDomains, RigidDomains
from cryo_disentangle.geometry import random_rotations
from cryo_disentangle.imaging import FourierDisc
from cryo_disentangle.imaging.hartley import hartley2, symmetrize
from cryo_disentangle.simulation import AdenylateKinase, GaussianMolecule, TwoArms
from cryo_disentangle.structures import read_atoms, write_structures
from cryo_disentangle.structures.atoms import Atoms
from tests.atoms import made
from tests.helpers import shared

SIDE, PIXEL_SIZE = 32, 4.25
RESIDUES = {"nmp": "30-59", "lid": "122-159"}


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


class Still(nn.Module):
    """A motion that doesn't move."""

    kept: Tensor

    def __init__(self, positions: Tensor, conformation_dim: int) -> None:
        super().__init__()
        del conformation_dim
        self.register_buffer("kept", positions.clone())

    def forward(self, conformation: Tensor) -> Tensor:
        return self.kept.expand(len(conformation), -1, -1)


def cloud(count: int = 20, spread: float = 15.0) -> Atoms:
    return made(spread * torch.randn(count, 3, generator=torch.Generator().manual_seed(0)))


def make(structure: Atoms | Path, **options: Any) -> AtomicDecoder:
    told: dict[str, Any] = {"motion": Still, "pixel_size": PIXEL_SIZE, "centre": (0, 0, 0)}
    return AtomicDecoder(SIDE, 2, structure, **(told | options))


def two_arms(**options: Any) -> AtomicDecoder:
    """The decoder with the geometry of the simulated molecule."""
    molecule = TwoArms()
    hinges = dict(zip(("first", "second"), molecule.hinges, strict=True))
    domains = {"first": list(range(20, 40)), "second": list(range(40, 60))}
    motion = partial(HingedDomains, domains=domains, **({"hinges": hinges} | options))
    atoms = made(molecule.centres(torch.zeros(1, 2))[0])
    return make(atoms, motion=motion, sigma_angstrom=4.0)


def hartley(molecule: GaussianMolecule, z: Tensor, rotation: Tensor, pixel_size: float) -> Tensor:
    """What the simulation shows of a molecule."""
    images = molecule.project(z, rotation, torch.zeros(len(z), 2), SIDE, pixel_size)
    return FourierDisc(SIDE).select(symmetrize(hartley2(images)))


def scale(images: Tensor, truth: Tensor) -> float:
    return float((images * truth).sum() / truth.square().sum())


@torch.no_grad()
def test_two_arms_are_rendered_as_the_simulation_does() -> None:
    decoder, z = two_arms(), 2 * torch.rand(8, 2) - 1
    rotation = random_rotations(8)
    truth = hartley(TwoArms(), z, rotation, PIXEL_SIZE)
    rendered = decoder.render(z, rotation, FourierDisc(SIDE))
    rendered /= scale(rendered, truth)
    assert float((rendered - truth).norm() / truth.norm()) < 5e-3


@torch.no_grad()
def test_adenylate_kinase_is_rendered_as_the_simulation_does(tmp_path: Path) -> None:
    """Domains by residues, hinges in the coordinates of a file that lies somewhere else."""
    molecule, away = AdenylateKinase(), torch.tensor([10.0, -20.0, 30.0])
    atoms = read_atoms(shared("data/adk/adk_open.pdb"))
    positions = (molecule.centres(torch.zeros(1, 2)) + away).numpy()
    write_structures(tmp_path / "open.cif", atoms, positions)
    hinges = {
        name: replace(hinge, point=tuple((torch.tensor(hinge.point) + away).tolist()))
        for name, hinge in zip(RESIDUES, molecule.hinges, strict=True)
    }
    motion = partial(HingedDomains, domains=RESIDUES, hinges=hinges)
    decoder = make(
        tmp_path / "open.cif", motion=motion, centre=tuple(away.tolist()), pixel_size=3.0
    )
    z = torch.rand(4, 2)
    torch.testing.assert_close(decoder.positions(z), molecule.centres(z), rtol=0, atol=2e-3)
    rotation = random_rotations(4)
    truth = hartley(molecule, z, rotation, 3.0)
    images = decoder.project(z, rotation)
    exact = FourierDisc(SIDE).select(symmetrize(hartley2(images)))
    exact /= scale(exact, truth)
    assert float((exact - truth).norm() / truth.norm()) < 1e-4
    # Narrower than a pixel, Gaussians are folded back by the sampling of images.
    rendered = decoder.render(z, rotation, FourierDisc(SIDE))
    rendered /= scale(rendered, truth)
    assert float((rendered - truth).norm() / truth.norm()) < 2e-2


@torch.no_grad()
@pytest.mark.parametrize("learn_widths", [False, True])
@pytest.mark.parametrize("radius", [None, 5, -1])
def test_slices_are_transforms_of_images(learn_widths: bool, radius: int | None) -> None:
    decoder = make(
        cloud(), learn_widths=learn_widths, learn_amplitudes=True, sigma_angstrom=6.0
    ).double()
    assert decoder.log_amplitude is not None
    decoder.log_amplitude.normal_(0, 0.3)
    decoder.log_width.normal_(0, 0.1)
    disc = FourierDisc(SIDE, radius).double()
    z, rotation = torch.zeros(3, 2).double(), random_rotations(3, dtype=torch.float64)
    expected = disc.select(symmetrize(hartley2(decoder.project(z, rotation))))
    rendered = decoder.render(z, rotation, disc)
    tolerance = 1e-12 if learn_widths else 2e-3
    assert float((rendered - expected).norm() / expected.norm()) < tolerance


@torch.no_grad()
def test_volume_summed_along_the_beam_is_the_image() -> None:
    decoder = two_arms().double()
    z = torch.tensor([0.5, -0.7]).double()
    image = decoder.project(z[None], torch.eye(3)[None].double())[0]
    torch.testing.assert_close(decoder.volume(z).sum(0), image, atol=1e-7, rtol=0)
    small = decoder.volume(z, 16)
    assert small.shape == (16, 16, 16)
    torch.testing.assert_close(small.sum(), decoder.volume(z).sum())


def test_the_first_rendering_has_the_power_of_normalised_images() -> None:
    decoder = make(cloud(200, 9.0), contrast=-1.0)
    disc = FourierDisc(SIDE)
    slices = decoder.render(torch.zeros(200, 2), random_rotations(200), disc)
    assert float(slices.detach().square().mean()) == pytest.approx(1, rel=0.05)
    centre = decoder.project(torch.zeros(1, 2), torch.eye(3)[None])[0, SIDE // 2, SIDE // 2]
    assert float(centre) < 0


def test_gradients() -> None:
    disc = FourierDisc(8).double()
    atoms = cloud(4, 1.0)
    turn = random_rotations(2, dtype=torch.float64).requires_grad_()
    for learn_widths in (False, True):
        decoder = AtomicDecoder(
            8,
            2,
            atoms,
            partial(RigidDomains, domains={"arm": [2, 3]}),
            pixel_size=3.0,
            learn_amplitudes=True,
            learn_widths=learn_widths,
        ).double()
        z = torch.randn(2, 2, dtype=torch.float64, requires_grad=True)
        names, parameters = zip(*decoder.named_parameters(), strict=True)

        class Render(nn.Module):
            def __init__(self, inner: AtomicDecoder) -> None:
                super().__init__()
                self.inner = inner

            def forward(self, z: Tensor, turn: Tensor) -> Tensor:
                return self.inner.render(z, turn, disc)

        def render(z: Tensor, turn: Tensor, *values: Tensor) -> Tensor:
            told = {f"inner.{name}": v for name, v in zip(names, values, strict=True)}  # noqa: B023
            return torch.func.functional_call(Render(decoder), told, (z, turn))  # noqa: B023

        values = [p.detach().clone().requires_grad_() for p in parameters]
        assert torch.autograd.gradcheck(render, (z, turn, *values), atol=1e-5)


@torch.no_grad()
def test_hinges_turn_by_their_own_coordinate() -> None:
    decoder = two_arms()
    rest = decoder.positions(torch.zeros(1, 2))[0]
    moved = decoder.positions(torch.tensor([[1.0, 0.0]]))[0]
    assert torch.equal(moved[40:], rest[40:])
    assert torch.equal(moved[:20], rest[:20])
    inner, outer = rest[20:40] - rest[20], moved[20:40] - moved[20]
    cosine = nn.functional.cosine_similarity(inner[19:], outer[19:])
    assert 20 < math.degrees(math.acos(float(cosine))) <= 60.01


@torch.no_grad()
def test_unknown_hinges_begin_where_domains_are_attached() -> None:
    learned, known = two_arms(hinges=None).motion, two_arms().motion
    assert isinstance(learned, HingedDomains)
    assert isinstance(known, HingedDomains)
    assert learned.axis.requires_grad
    assert not known.axis.requires_grad
    torch.testing.assert_close(learned.axis.norm(dim=1), torch.ones(2))
    apart = (learned.point - known.point).norm(dim=1)
    assert float(apart.max()) < 15
    arms = torch.stack([known.reference[20 * k + 20 : 20 * k + 40].mean(0) for k in (0, 1)])
    across = ((arms - learned.point) * learned.axis).sum(1)
    torch.testing.assert_close(across, torch.zeros(2), atol=1e-4, rtol=0)


@pytest.mark.parametrize("core", [[[3.0, 0, 0]], [[3.0, 0, 0], [5, 0, 0]], [[0.0, 0, 0]]])
def test_hinges_of_single_gaussians_have_a_direction(core: list[list[float]]) -> None:
    """On one line with the core, or in its place."""
    motion = HingedDomains(torch.tensor([[0.0, 0, 0], *core]), 1, {"tip": [0]})
    assert float(motion.axis.detach().norm()) == pytest.approx(1)


@torch.no_grad()
def test_rigid_domains_keep_their_shape() -> None:
    motion = RigidDomains(torch.randn(30, 3), 3, {"a": list(range(10)), "b": [20, 21, 22]})
    moved = motion(torch.randn(4, 3))
    for part in (motion.reference[:10], motion.reference[20:23]):
        rows = slice(10) if len(part) == 10 else slice(20, 23)
        torch.testing.assert_close(
            torch.cdist(moved[:, rows], moved[:, rows]),
            torch.cdist(part, part).expand(4, -1, -1),
            atol=1e-4,
            rtol=1e-4,
        )
    assert torch.equal(moved[:, 10:20], motion.reference[10:20].expand(4, -1, -1))
    torch.testing.assert_close(motion(torch.zeros(1, 3))[0], motion.reference)
    network = RigidDomains(torch.randn(30, 3), 3, {"a": [0, 1]}, hidden=8)
    assert network(torch.randn(4, 3)).shape == (4, 30, 3)


@torch.no_grad()
def test_linkers_follow_in_part() -> None:
    atoms = read_atoms(shared("data/adk/adk_open.pdb"))
    motion = partial(RigidDomains, domains=RESIDUES)
    decoder = make(atoms, motion=motion, pixel_size=3.0, per_residue=True, centre=None)
    assert len(decoder.atoms) == 214
    moved = decoder.positions(2 * torch.ones(1, 2))[0] - decoder.reference
    step = (moved[1:] - moved[:-1]).norm(dim=1)
    assert float(moved.norm(dim=1).max()) > 1
    assert float(step.max()) < 0.3 * float(moved.norm(dim=1).max())


def test_learns_the_geometry_of_two_arms() -> None:
    """Known conformations: hinges, contrast and its sign are found."""
    truth, decoder = two_arms(), two_arms(hinges=None)
    optimiser = torch.optim.Adam([p for p in decoder.parameters() if p.requires_grad], lr=2e-2)
    disc = FourierDisc(SIDE)
    with torch.no_grad():
        truth.contrast.fill_(-0.5)
    losses = []
    for _ in range(120):
        z, rotation = 2 * torch.rand(32, 2) - 1, random_rotations(32)
        with torch.no_grad():
            images = truth.render(z, rotation, disc)
        loss = nn.functional.mse_loss(decoder.render(z, rotation, disc), images)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach() / images.square().mean()))
    assert float(decoder.contrast.detach()) == pytest.approx(-0.5, abs=0.1)
    assert np.mean(losses[-10:]) < 0.2


def test_moved_structures_lie_in_the_volumes(tmp_path: Path) -> None:
    decoder = two_arms()
    z = torch.tensor([[0.0, 0.0], [1.0, -1.0]])
    for suffix in (".pdb", ".cif"):
        file = tmp_path / f"moved{suffix}"
        decoder.write_structures(file, z)
        found = gemmi.read_structure(str(file))
        assert len(found) == 2
        written = np.array([cra.atom.pos.tolist() for cra in found[1].all()])
        expected = decoder.positions(z)[1].detach().numpy() + SIDE / 2 * PIXEL_SIZE
        np.testing.assert_allclose(written, expected, atol=1e-3)
    assert list(tmp_path.glob(".*")) == []


def test_b_factors_are_widths() -> None:
    atoms = replace(cloud(), b_factor=8 * math.pi**2 * np.linspace(4, 9, 20))
    decoder = make(atoms, sigma_angstrom=None)
    torch.testing.assert_close(decoder.widths.detach(), torch.linspace(4, 9, 20).sqrt())
    same = make(replace(atoms, b_factor=np.full(20, 8 * math.pi**2 * 9)), sigma_angstrom=None)
    assert same.widths.tolist() == pytest.approx([3.0])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"pixel_size": 1.5}, r"made\.cif: the molecule needs a box of \d+ pixels at 1\.5 Å"),
        ({"pixel_size": 0.0}, "pixel size must be positive, found 0"),
        ({"sigma_angstrom": 0.0}, "sigma_angstrom must be positive, found 0"),
        ({"selection": "C:1-4"}, r"made\.cif: selection names residues C:1-4, which are not there"),
        ({"selection": "50"}, r"which are not there \(found A:1-20\)"),
    ],
)
def test_bad_structures_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        make(cloud(), **options)


def test_bad_sizes_and_b_factors_are_refused() -> None:
    with pytest.raises(ValueError, match="box size must be even and positive, found 7"):
        AtomicDecoder(7, 2, cloud(), Still, 2.0)
    with pytest.raises(ValueError, match="20 of 20 atoms have no B factor: give sigma_angstrom"):
        make(replace(cloud(), b_factor=np.zeros(20)), sigma_angstrom=None)
    with pytest.raises(ValueError, match="must be even and at most 32, found 34"):
        make(cloud()).volume(torch.zeros(2), 34)


@pytest.mark.parametrize(
    ("dim", "domains", "told"),
    [
        (2, {}, "at least one moving domain is needed"),
        (2, {"a": [1, 2]}, "each of 1 hinges needs a coordinate of its own, found conf.*dim 2"),
        (2, {"a": [1, 2], "b": [2, 3]}, "Gaussian 2 belongs to 2 domains"),
        (1, {"a": [20]}, r"domain a: numbers of Gaussians from 0 to 19 expected, found \[20, 20\]"),
        (1, {"a": []}, "found none"),
        (1, {"a": list(range(20))}, "none is left for the core"),
        (2, {"a": [1], "b": "3-4"}, "found both .b is given by residues"),
    ],
)
def test_bad_domains_are_refused(dim: int, domains: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        HingedDomains(torch.randn(20, 3), dim, domains)


def test_bad_hinges_are_refused() -> None:
    hinges = dict(zip("ab", TwoArms().hinges, strict=True))
    with pytest.raises(ValueError, match=r"for each of domains \['a'\] expected, found \['a', 'b'"):
        HingedDomains(torch.randn(20, 3), 1, {"a": [1]}, hinges)
    with pytest.raises(RuntimeError, match=r"given by residues \(3-9\): call bind\(atoms\) first"):
        HingedDomains(torch.randn(20, 3), 1, {"a": "3-9"})(torch.zeros(1, 1))
