from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from cryo_disentangle.imaging import FourierDisc
from cryo_disentangle.imaging.gaussians import gaussian_volume, project_gaussians
from cryo_disentangle.imaging.hartley import hartley2, symmetrize
from cryo_disentangle.particles.pickles import write_latents
from cryo_disentangle.simulation import (
    LearnedMolecule,
    Microscope,
    NormalFactors,
    PosteriorFactors,
    Simulation,
    UniformViews,
    measure_invertibility,
)
from cryo_disentangle.simulation.draws import Draws


class Blobs(nn.Module):
    """A decoder whose volumes are known: a blob moved by each latent that it listens to."""

    def __init__(self, listens: int = 2) -> None:
        super().__init__()
        self.listens = listens
        self.scale = nn.Parameter(torch.tensor(6.0))

    def _centres(self, conformation: Tensor) -> Tensor:
        start = torch.tensor([[8.0, 0, 0], [0, -9.0, 5.0]])
        heard = conformation * (torch.arange(2) < self.listens)
        return start + self.scale * torch.tanh(heard)[:, :, None] * torch.tensor([0.0, 0.6, 0.8])

    def render(self, conformation: Tensor, rotation: Tensor, disc: FourierDisc) -> Tensor:
        images = project_gaussians(
            self._centres(conformation), torch.ones(2), 3.0, rotation, disc.box_size, 2.0
        )
        return disc.select(symmetrize(hartley2(images)))

    def volume(self, conformation: Tensor, box_size: int | None = None) -> Tensor:
        side = box_size or 32
        return gaussian_volume(
            self._centres(conformation[None]), torch.ones(2), 3.0, side, 2.0 * 32 / side
        )[0]


def molecule(listens: int = 2, allow_ambiguous: bool = False) -> LearnedMolecule:
    return LearnedMolecule(Blobs(listens), 2, 2.0, allow_ambiguous=allow_ambiguous)


def test_a_learned_molecule_is_rendered_as_its_volumes_project() -> None:
    model = molecule()
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(4, 2, generator=generator)
    shift = torch.randn(4, 2, generator=generator)
    rotation = UniformViews().rotations(Draws.consecutive((1,), 0, 4)).float()
    found = model.project(z, rotation, shift, 32, 2.0)
    decoder = model.decoder
    assert isinstance(decoder, Blobs)
    with torch.no_grad():
        centres = decoder._centres(z)
        exact = project_gaussians(centres, torch.ones(2), 3.0, rotation, 32, 2.0, shift)
    # Apart from the mean, which a decoder does not render.
    difference = found - exact
    difference -= difference.mean((1, 2), keepdim=True)
    assert float(difference.abs().max()) < 1e-3 * float(exact.max())


def test_an_invertible_map_is_told_from_one_that_ignores_a_latent() -> None:
    latents = torch.randn(48, 2, generator=torch.Generator().manual_seed(1))
    good = measure_invertibility(Blobs(2), latents)
    bad = measure_invertibility(Blobs(1), latents)
    assert good.score > 0.05 > 0.02 > bad.score
    assert good.smallest_ratio <= good.median_ratio
    # The worst pair of the second hardly differs in what the decoder listens to.
    assert abs(float(bad.pair[0, 0] - bad.pair[1, 0])) < 0.1 < float(bad.pair.diff(dim=0).norm())
    with pytest.raises(ValueError, match="three or more latents are needed"):
        measure_invertibility(Blobs(), latents[:2])


def simulate(model: LearnedMolecule, pixel_size: float = 2.0) -> Simulation:
    scope = Microscope(UniformViews())
    return Simulation(model, NormalFactors(2, 1.0), scope, 20, 32, pixel_size)


def test_a_model_that_is_not_invertible_is_refused_unless_allowed() -> None:
    with pytest.raises(ValueError, match=r"not invertible: latents .* give the same volume"):
        simulate(molecule(listens=1))
    allowed = simulate(molecule(listens=1, allow_ambiguous=True))
    images, _ = allowed.images(allowed.stack_draws(0, 3))
    assert images.shape == (3, 32, 32)
    with pytest.raises(ValueError, match="trained at 2 Å per pixel, found pixel_size 3"):
        simulate(molecule(), pixel_size=3.0)


def test_weights_are_taken_from_a_checkpoint(tmp_path: Path) -> None:
    state = {"decoder.scale": torch.tensor(2.5), "encoder.other": torch.zeros(1)}
    torch.save({"state_dict": state}, tmp_path / "last.ckpt")
    model = LearnedMolecule(Blobs(), 2, 2.0, tmp_path / "last.ckpt")
    assert isinstance(model.decoder, Blobs)
    assert torch.equal(model.decoder.scale, torch.tensor(2.5))
    with pytest.raises(ValueError, match="expected under names that start with 'model'"):
        LearnedMolecule(Blobs(), 2, 2.0, tmp_path / "last.ckpt", prefix="model")
    with pytest.raises(FileNotFoundError, match=r"none\.ckpt: no such file"):
        LearnedMolecule(Blobs(), 2, 2.0, tmp_path / "none.ckpt")


def test_latents_are_drawn_from_the_posterior(tmp_path: Path) -> None:
    mean = np.array([[0.0, 1.0], [10.0, -5.0]], dtype=np.float32)
    log_variance = np.log(np.array([[0.25, 1.0], [4.0, 0.01]], dtype=np.float32))
    write_latents(tmp_path / "z.pkl", mean, log_variance)
    process = PosteriorFactors(tmp_path / "z.pkl")
    assert process.dim == 2
    factors = process.sample(Draws.consecutive((1,), 0, 10_000)).factors
    first = factors[:, 1] > -2
    assert float(first.double().mean()) == pytest.approx(0.5, abs=0.02)
    assert stats.kstest(factors[~first, 0].numpy(), stats.norm(10, 2).cdf).pvalue > 1e-3
    write_latents(tmp_path / "mean.pkl", mean)
    exact = PosteriorFactors(tmp_path / "mean.pkl").sample(Draws.consecutive((1,), 0, 50)).factors
    assert set(exact[:, 0].tolist()) == {0.0, 10.0}
