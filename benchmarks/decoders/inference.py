"""What experiments on identifiability share: ways to infer the conformation beside an encoder.

With poses from all directions an encoder must learn what each motion looks like from everywhere,
while a decoder of atoms knows, and renders in microseconds. Two uses of that: an encoder taught by
what the decoder renders, and no encoder at all (`RenderedPosterior`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from cryo_disentangle.losses import PoseIntervention
from cryo_disentangle.losses.round_trip import InterventionTerms
from cryo_disentangle.protocols import LatentImageModel
from cryo_disentangle.structures import Atoms
from cryo_disentangle.types import Inference, ParticleBatch


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
