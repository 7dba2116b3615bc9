"""Particles that nothing was fitted to: as they are, with other noise, and from elsewhere."""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from errors import contrast_of, draw_errors, wrong_pose
from settings import Setting
from torch import Tensor

from cryo_disentangle.particles.preprocessing import Preprocessing
from cryo_disentangle.protocols.models import LatentImageModel
from cryo_disentangle.simulation import Simulation
from cryo_disentangle.simulation.draws import Draws
from cryo_disentangle.simulation.particles import Particles
from cryo_disentangle.statistics.expectation import expectation
from cryo_disentangle.statistics.gathering import Gathering
from cryo_disentangle.statistics.posterior import Likelihood
from cryo_disentangle.statistics.subspace import Subspace
from cryo_disentangle.statistics.views import ParticleViews
from cryo_disentangle.types import ParticleBatch, Pose

__all__ = [
    "COUNT",
    "STREAM",
    "HeldOut",
    "image_held_out",
    "latents_of_images",
    "see_held_out",
    "statistics_of",
]

COUNT, STREAM = 4000, 11
_OTHER_STREAM, _BATCH, _REFINEMENTS = 13, 250, 3


class HeldOut(NamedTuple):
    """Statistics of the same conformations, imaged three times.

    Attributes:
        own: As they are.
        noisy: The same view with other noise.
        moved: From another pose, with other noise and the same CTF and errors.
        factors: True factors, shape (N, F).
        rotation: Their true views.
        error: Errors of poses and contrast in standard deviations, shape (N, Q).
    """

    own: Likelihood
    noisy: Likelihood
    moved: Likelihood
    factors: Tensor
    rotation: Tensor
    error: Tensor


class Imaged(NamedTuple):
    """Images of held-out conformations, and what consensus refinement says of them.

    Attributes:
        images: As in the stack, shape (N, D, D).
        pose: With its errors.
        ctf: Columns as in `ParticleBatch`.
    """

    images: Tensor
    pose: Pose
    ctf: Tensor | None


@torch.no_grad()
def image_held_out(
    simulation: Simulation, setting: Setting, error: Tensor
) -> tuple[Particles, dict[str, Imaged]]:
    """Images particles that nothing was fitted to: ``own``, ``noisy`` and ``moved``."""
    first, second = (
        Draws.consecutive((simulation.seed, stream), 0, COUNT) for stream in (STREAM, _OTHER_STREAM)
    )
    particles, other = simulation.describe(first), simulation.describe(second)
    moved = particles._replace(rotation=other.rotation, translation=other.translation)

    def imaged(known: Particles, draws: Draws) -> Imaged:
        clean = simulation.clean(known) * contrast_of(setting.errors, error)
        pose = wrong_pose(known.rotation, setting.errors, error)
        return Imaged(simulation.add_noise(clean, draws), pose, known.ctf)

    return particles, {
        "own": imaged(particles, first),
        "noisy": imaged(particles, second),
        "moved": imaged(moved, second),
    }


@torch.no_grad()
def latents_of_images(
    model: LatentImageModel, seen: Imaged, preprocessing: Preprocessing
) -> Tensor:
    """Posterior means of a model of images, shape (N, Z)."""
    images, found = preprocessing(seen.images), []
    for rows in torch.arange(COUNT).split(_BATCH):
        batch = {"images": images[rows], "index": rows, "rotation": seen.pose.rotation[rows]}
        if seen.ctf is not None:
            batch["ctf"] = seen.ctf[rows]
        found.append(model.infer(cast("ParticleBatch", batch)).mean)
    return torch.cat(found)


@torch.no_grad()
def see_held_out(
    simulation: Simulation,
    setting: Setting,
    preprocessing: Preprocessing,
    subspace: Subspace,
    seed: int,
) -> HeldOut:
    """Makes the statistics of particles that nothing was fitted to."""
    error = draw_errors(setting.errors, COUNT, seed)
    particles, seen = image_held_out(simulation, setting, error)
    found = {
        name: statistics_of(preprocessing(images), pose, ctf, subspace, setting)
        for name, (images, pose, ctf) in seen.items()
    }
    return HeldOut(**found, factors=particles.factors, rotation=particles.rotation, error=error)


def statistics_of(
    images: Tensor, pose: Pose, ctf: Tensor | None, subspace: Subspace, setting: Setting
) -> Likelihood:
    """Statistics of images at their poses, refined where the setting refines."""
    gathering = Gathering((subspace, subspace), setting.nuisance)
    parts = []
    for some in torch.arange(len(images)).split(_BATCH):
        batch = {"images": images[some], "index": some, "rotation": pose.rotation[some]}
        if ctf is not None:
            batch["ctf"] = ctf[some]
        if pose.translation is not None:
            batch["translation"] = pose.translation[some]
        views = ParticleViews.of(batch, subspace.grid.disc, subspace.box_size)
        start = torch.zeros(len(some), setting.nuisance.count)
        if setting.refine:
            start = _refined(gathering, views, start)
        parts.append(gathering.gather(0, views, start).likelihood)
    return Likelihood(*(torch.cat(part) for part in zip(*parts, strict=True)))


def _refined(gathering: Gathering, views: ParticleViews, error: Tensor) -> Tensor:
    """Errors of poses by a few steps, shape (B, Q)."""
    nuisance, subspace = gathering.nuisance, gathering.subspaces[0]
    white = views.whitened(subspace.point_noise)
    for _ in range(_REFINEMENTS):
        moved = nuisance.corrected(white, error, subspace.grid)
        error = expectation(subspace.grid, subspace.paired, moved, nuisance, error)[1]
        error[:, nuisance.pose_count :] = 0
    return error
