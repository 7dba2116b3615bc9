"""A network that reads in-plane angles off images, taught with and without Algorithm 1."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from cryo_disentangle.encoders import InPlanePoseHead
from cryo_disentangle.geometry import euler_zyz_to_rotation, in_plane_rotation
from cryo_disentangle.geometry.rotations import rotation_to_euler_zyz
from cryo_disentangle.statistics.hypotheses import Hypotheses, hypothesis_likelihood
from cryo_disentangle.statistics.subspace import Subspace
from cryo_disentangle.statistics.views import ParticleViews

__all__ = ["Taught", "taught_rotations"]

_HYPOTHESES, _BATCH, _RATE, _HELD_OUT = 4, 128, 1e-3, 0.2


class Taught(NamedTuple):
    """What a head is taught with.

    Attributes:
        subspace: Volumes, of the views' radius.
        views: Whitened views of N particles at the poses that were found.
        mean: Posterior means of their coefficients, shape (N, K).
        covariance: And covariances, shape (N, K, K).
    """

    subspace: Subspace
    views: ParticleViews
    mean: Tensor
    covariance: Tensor


def untwisted(rotation: Tensor) -> Tensor:
    """The same view direction at an in-plane angle of its own."""
    angles = rotation_to_euler_zyz(rotation)
    angles[..., 2] = 0
    return euler_zyz_to_rotation(angles)


def features(views: ParticleViews, upright: Tensor) -> Tensor:
    """Matched-filtered coefficients and the view direction."""
    image = (views.coefficients * views.transfer[..., None]).flatten(1)
    return torch.cat([image / image.std(), upright.flatten(1)], 1)


def imagined(taught: Taught, rows: Tensor, others: Tensor) -> ParticleViews:
    """Algorithm 1: conformations of particles at others' directions, through their CTFs."""
    some = taught.views.take(others)
    root = torch.linalg.cholesky(taught.covariance[rows])
    drawn = taught.mean[rows] + (root @ torch.randn(len(rows), root.shape[1], 1))[..., 0]
    turn = in_plane_rotation(2 * math.pi * torch.rand(len(rows)))
    rotation = turn @ untwisted(some.rotation)
    grid = taught.subspace.grid
    slices = grid.read(grid.at(rotation), taught.subspace.paired)
    weights = torch.cat([torch.ones(len(rows), 1), drawn], 1)
    clean = (slices * weights[:, None, None]).sum(3) * some.transfer[..., None]
    return some._replace(coefficients=clean + torch.randn_like(clean), rotation=rotation)


def taught_rotations(
    taught: Taught, *, interventions: bool, steps: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Teaches a head, and asks it of particles that it has not seen.

    Without interventions it learns the angles found of the images themselves; with them, the
    angles of images that are made of other particles' conformations.

    Args:
        taught: What it is taught with.
        interventions: Whether by Algorithm 1.
        steps: Steps of 128 images.
        seed: Of everything.

    Returns:
        Rotations of a fifth of the particles, of the head's four hypotheses those of the largest
        evidence, shape (M, 3, 3), and which particles these are, shape (M,).
    """
    torch.manual_seed(seed)
    count = len(taught.mean)
    order = torch.randperm(count)
    unseen, seen = order[: int(_HELD_OUT * count)], order[int(_HELD_OUT * count) :]
    upright = untwisted(taught.views.rotation)
    width = features(taught.views.take(order[:2]), upright[:2]).shape[1]
    head = InPlanePoseHead(width, _HYPOTHESES)
    optimizer = torch.optim.Adam(head.parameters(), _RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=steps)
    for _ in range(steps):
        rows = seen[torch.randint(len(seen), (_BATCH,))]
        views = taught.views.take(rows)
        if interventions:
            views = imagined(taught, rows, seen[torch.randint(len(seen), (_BATCH,))])
        base = untwisted(views.rotation)
        found = head(features(views, base)) @ base[:, None]
        distance = (found - views.rotation[:, None]).square().sum((2, 3))
        optimizer.zero_grad()
        distance.amin(1).mean().backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        found = _best(taught, head, unseen, upright)
    return found, unseen


def _best(taught: Taught, head: InPlanePoseHead, rows: Tensor, upright: Tensor) -> Tensor:
    """Rotations of particles by the head's likeliest hypothesis."""
    views, subspace = taught.views.take(rows), taught.subspace
    proposed = head(features(views, upright[rows]))
    levels = []
    for number in range(_HYPOTHESES):
        posed = views._replace(rotation=proposed[:, number] @ upright[rows])
        alone = Hypotheses(torch.eye(3)[None], torch.zeros(1, 2))
        found = hypothesis_likelihood(subspace.grid, subspace.paired, posed, alone)
        levels.append(found.evidence()[:, 0, 0])
    best = torch.stack(levels, 1).argmax(1)
    return proposed[torch.arange(len(rows)), best] @ upright[rows]
