"""Maps are those that fit the images, not averages of neighbouring frequencies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cryo_disentangle.embeddings.embedding import Embedding
from cryo_disentangle.imaging.fsc import fourier_shell_correlation
from cryo_disentangle.maps.half_maps import make_half_maps, soft_sphere
from cryo_disentangle.maps.particles import ImageFiles, open_embedded_images
from cryo_disentangle.maps.solving import solve_nodes
from cryo_disentangle.simulation import (
    AdenylateKinase,
    FactorPath,
    Microscope,
    Simulation,
    UniformViews,
    WhiteNoise,
)
from cryo_disentangle.statistics.making import half_sets

STATE, COUNT, SIDE, PIXEL = (0.3, 0.7), 400, 24, 4.5


def test_shells_at_low_frequencies_are_those_of_the_molecule(tmp_path: Path) -> None:
    scope = Microscope(UniformViews(), None, None, WhiteNoise(20.0))
    path = FactorPath([STATE, STATE])
    Simulation(AdenylateKinase(), path, scope, COUNT, SIDE, PIXEL, seed=1).write(tmp_path)
    everybody = Embedding("all", tmp_path, np.zeros((COUNT, 1)), rows=np.arange(COUNT))
    files = ImageFiles(tmp_path / "particles.mrcs", tmp_path / "poses.pkl")
    images = open_embedded_images(everybody, files)
    found = make_half_maps(images, half_sets(COUNT, 0), torch.arange(COUNT)).full
    true = AdenylateKinase().volume(torch.tensor([STATE]), SIDE, PIXEL)[0]
    mask = soft_sphere(SIDE)
    correlation = fourier_shell_correlation(found * mask, true * mask)[1 : SIDE // 4 + 1]
    # Dividing sums by weights gives 0.98 where slices are densest.
    assert correlation.min() > 0.99


def test_nodes_that_nothing_lies_on_are_zero() -> None:
    images, weights = torch.zeros(9, 9, 9), torch.zeros(9, 9, 9)
    assert not solve_nodes(images, weights).any()
    images[4, 4, 4], weights[4, 4, 4] = 3.0, 2.0
    found = solve_nodes(images, weights)
    # A lone node: weight times the spline's square, and the ridge.
    assert float(found[4, 4, 4]) == pytest.approx(3 / (2 * (66 / 120) ** 3 + 0.2), rel=1e-5)
    found[4, 4, 4] = 0
    assert not found.any()
