"""What experiments on identifiability share: ways to infer the conformation beside an encoder.

With poses from all directions an encoder must learn what each motion looks like from everywhere,
while a decoder of atoms knows, and renders in microseconds. Two uses of that: an encoder taught by
what the decoder renders, and no encoder at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from cryo_disentangle.losses import PoseIntervention
from cryo_disentangle.losses.round_trip import InterventionTerms
from cryo_disentangle.modules import HeterogeneousReconstruction
from cryo_disentangle.modules.observation import Observation
from cryo_disentangle.protocols import LatentImageModel
from cryo_disentangle.structures import Atoms
from cryo_disentangle.types import Inference, ParticleBatch

_DIFFERENCE = 0.05


def exact_kl_weight(snr: float) -> float:
    """Weight of the divergence at which a posterior is as wide as the noise makes it.

    Twice the noise's variance in normalised images, mean |x - g|² being compared with KL / M.
    """
    return 2 / (1 + snr)


def pseudo_atoms(positions: Tensor) -> Atoms:
    """Gaussians of one electron each, numbered in one chain."""
    count = len(positions)
    names = np.full(count, "DUM")
    return Atoms(
        Path("pseudo-atoms"),
        positions.double().numpy(),
        np.zeros(count, dtype=np.int64),
        np.full(count, "A"),
        np.arange(1, count + 1),
        names,
        names,
        np.full(count, " "),
        np.ones(count),
        np.full(count, 100.0),
    )


class PosteriorOfTarget(nn.Module):
    """-log q(z | what was rendered of z), up to a constant: a constant answer pays most."""

    def forward(self, inferred: Inference, target: Inference) -> Tensor:
        """Mean over particles."""
        log_variance = inferred.log_variance.clamp(-8, 8)
        miss = (inferred.mean - target.mean).square() * (-log_variance).exp()
        return 0.5 * (miss + log_variance).sum(-1).mean()


class RenderedPoses(PoseIntervention):
    """A pose intervention that decodes draws from posteriors, whose means would shrink."""

    def _intervene(
        self,
        model: LatentImageModel,
        batch: ParticleBatch,
        inference: Inference,
        noise: Tensor | None,
        generator: torch.Generator,
    ) -> InterventionTerms:
        drawn = inference._replace(mean=inference.sample().detach())
        return super()._intervene(model, batch, drawn, noise, generator)


class WithoutEncoder(HeterogeneousReconstruction):
    """Finds each conformation by rendering: the best of a grid, then Gauss-Newton steps.

    The posterior is normal about its maximum, with the curvature there (Laplace), coordinates
    apart. Known poses only.

    Args:
        box_size: Image side D in pixels.
        conformation_dim: Number Z of conformation coordinates.
        grid: Values of every coordinate to begin from.
        newton_steps: Number of Gauss-Newton steps.
        kl_weight: Twice the noise's variance.
        starts: Number of points of the grid from which steps begin; the best of their ends counts.
        **options: As for `HeterogeneousReconstruction`.
    """

    start: Tensor

    def __init__(
        self,
        box_size: int,
        conformation_dim: int,
        *,
        grid: Sequence[float],
        newton_steps: int,
        kl_weight: float,
        starts: int = 1,
        **options: object,
    ) -> None:
        super().__init__(
            box_size,
            conformation_dim,
            encoder=lambda *_: nn.Identity(),
            kl_weight=kl_weight,
            **options,  # type: ignore[arg-type]
        )
        axis = torch.tensor(grid)
        self.register_buffer(
            "start", torch.cartesian_prod(*[axis] * conformation_dim).reshape(-1, conformation_dim)
        )
        self.newton_steps, self.starts = newton_steps, starts
        self.precision = 2 / kl_weight

    @torch.no_grad()
    def _encode(self, batch: ParticleBatch, observation: Observation) -> Inference:
        rotation = batch["rotation"]
        points = self._best_of_grid(rotation, observation)
        count = points.shape[1]
        seen, turned = observation.repeated(count), rotation.repeat_interleave(count, 0)
        conformation = points.flatten(0, 1)
        for _ in range(self.newton_steps):
            step, _ = self._newton(conformation, turned, seen)
            conformation = conformation + step.clamp(-1, 1)
        ends = conformation.unflatten(0, (-1, count))
        if count > 1:
            best = self._energy(ends, rotation, observation).argmin(1)
            ends = ends[torch.arange(len(best)), best][:, None]
        _, curvature = self._newton(ends[:, 0], rotation, observation)
        return Inference(ends[:, 0], -curvature.diagonal(dim1=1, dim2=2).log())

    def _images(self, points: Tensor, rotation: Tensor, observation: Observation) -> Tensor:
        """Renders P conformations of each particle, (B, P, Z) to (B, P, M)."""
        count = points.shape[1]
        turned = rotation.repeat_interleave(count, 0)
        slices = self.decoder.render(points.flatten(0, 1), turned, self.disc)
        slices = slices.unflatten(0, (-1, count))
        transfer = observation.transfer
        return slices if transfer is None else slices * transfer[:, None]

    def _energy(self, points: Tensor, rotation: Tensor, observation: Observation) -> Tensor:
        """-2 log posterior of P conformations of each particle, (B, P, Z) to (B, P)."""
        images = self._images(points, rotation, observation)
        error = (images - observation.coefficients[:, None]).square().sum(-1)
        return self.precision * error + points.square().sum(-1)

    def _best_of_grid(self, rotation: Tensor, observation: Observation) -> Tensor:
        """The likeliest points of the grid, shape (B, starts, Z)."""
        points = self.start.expand(len(rotation), -1, -1)
        if len(self.start) == 1:
            return points
        energy = self._energy(points, rotation, observation)
        return self.start[energy.topk(self.starts, largest=False).indices]

    def _newton(
        self, conformation: Tensor, rotation: Tensor, observation: Observation
    ) -> tuple[Tensor, Tensor]:
        """A Gauss-Newton step (B, Z) towards the posterior's maximum, and its curvature."""
        dim = conformation.shape[1]
        shifts = _DIFFERENCE * torch.eye(dim + 1, dim).roll(1, 0)
        images = self._images(conformation[:, None] + shifts, rotation, observation)
        slopes = (images[:, 1:] - images[:, :1]) / _DIFFERENCE
        residual = observation.coefficients - images[:, 0]
        curvature = self.precision * slopes @ slopes.mT + torch.eye(dim)
        force = self.precision * (slopes @ residual[..., None])[..., 0] - conformation
        return torch.linalg.solve(curvature, force), cast(Tensor, curvature)
