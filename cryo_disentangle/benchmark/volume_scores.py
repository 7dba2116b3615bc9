"""Volumes and populations of a model beside those of the true molecule."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cryo_disentangle.held_out.sources import SimulatedFolder
from cryo_disentangle.judgement.inferred import InferredParticles
from cryo_disentangle.judgement.particle_scores import evenly
from cryo_disentangle.metrics.functional.populations import earth_movers_distance, fsc_area
from cryo_disentangle.protocols.models import EvaluatesVolumes
from cryo_disentangle.simulation.molecule import GaussianMolecule
from cryo_disentangle.traversals import representative_clusters

__all__ = ["volume_scores"]

# CryoBench takes the volumes of 100 images, and cryoDRGN's analysis 20 clusters.
_IMAGES, _STATES, _MOST = 100, 20, 500


@torch.no_grad()
def volume_scores(
    module: object, source: SimulatedFolder, particles: InferredParticles
) -> dict[str, float]:
    """Scores the volumes that a model has for particles of a simulated stack.

    ``fsc_area`` is the mean of `fsc_area` over 100 particles. ``populations`` is the earth mover's
    distance between the particles' true factors, each divided by its standard deviation, and those
    of the states that the model shows: k-means clusters of z, each with its number of particles,
    its volume being that of the particle next to its centre, and its factors those of the true
    volume that looks most like it. It is divided by that of a single state in the middle: 0 is
    best, and 1 no better than a homogeneous reconstruction.

    Args:
        module: The model.
        source: The stack, with its molecule.
        particles: Latents and true factors of particles that are scored.

    Returns:
        Scores by name; none of a model without volumes, or with others than the stack's.

    Raises:
        FileNotFoundError: If the stack has no description of its molecule.
        ValueError: If there are fewer particles than states.
    """
    molecule, mixing = source.molecule()
    factors, box_size = particles.factors, source.box_size
    of_stack = getattr(module, "box_size", None) == box_size
    if factors is None or not isinstance(molecule, GaussianMolecule) or not of_stack:
        return {}
    if not isinstance(module, EvaluatesVolumes):
        return {}
    some = torch.from_numpy(evenly(len(particles), _IMAGES))
    mixed = factors[some] if mixing is None else mixing.mix(factors[some].double()).float()
    truth = molecule.volume(mixed, box_size, source.pixel_size)
    found = _volumes(module, particles.mean[some])
    areas = [fsc_area(one, other) for one, other in zip(found, truth, strict=True)]
    centres, member = representative_clusters(particles.mean.numpy(), _STATES)
    shown = _volumes(module, torch.from_numpy(centres))
    weights = torch.bincount(torch.from_numpy(member), minlength=_STATES)
    scaled = factors / factors.std(0)
    states = scaled[some][_alike(shown, truth).argmax(1)]
    true = scaled[torch.from_numpy(evenly(len(scaled), _MOST))]
    distance = earth_movers_distance(torch.ones(len(true)), weights, torch.cdist(true, states))
    single = (true - true.mean(0)).norm(dim=1).mean()
    return {
        "volumes/fsc_area": sum(areas) / len(areas),
        "volumes/populations": distance / float(single),
    }


def _volumes(module: EvaluatesVolumes, latents: Tensor) -> Tensor:
    """Volumes of latents (N, Z), shape (N, D, D, D)."""
    device = next(iter(_parameters(module)), torch.empty(0)).device
    return torch.stack([module.volume(z.to(device)).cpu() for z in latents])


def _parameters(module: Any) -> list[Tensor]:  # noqa: ANN401 - any model
    """Parameters of a module, which tell where it is."""
    return list(module.parameters())


def _alike(first: Tensor, second: Tensor) -> Tensor:
    """Correlation of each of M volumes with each of N, shape (M, N)."""
    flat = [(each - each.mean((1, 2, 3), keepdim=True)).flatten(1) for each in (first, second)]
    one, other = (each / each.norm(dim=1, keepdim=True) for each in flat)
    return one @ other.T
