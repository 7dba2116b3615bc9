"""Total correlation of the aggregate posterior, judged by a discriminator: FactorVAE."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call

from cryo_disentangle.losses.draws import in_python, sample_posterior, uncompiled
from cryo_disentangle.losses.scheduled import ScheduledPenalty
from cryo_disentangle.losses.schedules import Schedule
from cryo_disentangle.networks.residual_mlp import ResidualMLP
from cryo_disentangle.protocols.models import LatentImageModel
from cryo_disentangle.types import Inference, ParticleBatch

__all__ = ["FactorVAE", "permute_coordinates"]


@uncompiled
def permute_coordinates(conformation: Tensor, generator: torch.Generator) -> Tensor:
    """Shuffles each coordinate over the batch by itself: samples of the product of the marginals.

    Args:
        conformation: Shape (B, Z).
        generator: Source of randomness on its device.

    Returns:
        Shape (B, Z).

    References:
        Kim and Mnih 2018, Disentangling by factorising, Algorithm 1.
    """
    keys = torch.rand(conformation.shape, generator=generator, device=conformation.device)
    return conformation.gather(0, keys.argsort(0))


class FactorVAE(ScheduledPenalty):
    """Penalty of FactorVAE: a discriminator should not tell z from z with shuffled coordinates.

    Its log-odds on z estimate the total correlation KL(q(z) ‖ Π_k q(z_k)), which is the penalty's
    value. The discriminator's parameters belong to the penalty and are trained by whatever trains
    the model: its cross-entropy is added with value zero, and reaches its parameters alone, while
    the penalty reaches the encoder alone. So there is no second optimiser to step, scale, reduce
    over processes or resume; but the penalty's parameters must be among those that are optimised,
    as those of a LightningModule's submodules are. `terms`: ``total_correlation`` in nats and
    ``accuracy`` of the discriminator, 0.5 at chance.

    Args:
        conformation_dim: Number Z of coordinates.
        weight: Weight γ, a number or a schedule, in units of the training loss.
        width: Width of the discriminator's hidden layers; the paper's is 1000.
        layers: Its hidden layers after the first; the paper has 5.
        seed: Seed of samples and shuffles.

    Raises:
        ValueError: If the weight is negative, or when called if the batch is of one particle.

    References:
        Kim and Mnih 2018, Disentangling by factorising, Eqs. 2 and 3 and Algorithm 2. There the
        discriminator reads a separate batch, here the same one.
    """

    def __init__(
        self,
        conformation_dim: int,
        weight: float | Schedule = 1.0,
        width: int = 256,
        layers: int = 3,
        seed: int = 0,
    ) -> None:
        super().__init__(weight, seed=seed)
        self.discriminator = ResidualMLP(conformation_dim, 1, width, layers, "leaky_relu")

    def _nothing(self, inference: Inference) -> Tensor:
        # Under DDP every parameter must take part in every step.
        unused = sum(parameter.sum() for parameter in self.discriminator.parameters())
        return 0 * unused + super()._nothing(inference)

    @in_python
    def _weighted(
        self,
        weight: float,
        model: LatentImageModel,  # noqa: ARG002
        batch: ParticleBatch,  # noqa: ARG002
        inference: Inference,
    ) -> Tensor:
        if len(inference.mean) < 2:
            raise ValueError("FactorVAE needs batches of at least 2 particles, found 1")
        generator = self.draws.generator(inference.mean.device)
        sample = sample_posterior(inference, generator)
        frozen = {name: p.detach() for name, p in self.discriminator.named_parameters()}
        total_correlation = functional_call(self.discriminator, frozen, (sample,)).mean()
        sample = sample.detach()
        real = self.discriminator(sample).squeeze(-1)
        shuffled = self.discriminator(permute_coordinates(sample, generator)).squeeze(-1)
        # -log sigmoid(a) = softplus(-a)
        cross_entropy = 0.5 * nn.functional.softplus(torch.stack([-real, shuffled])).sum(0).mean()
        right = torch.stack([real > 0, shuffled <= 0]).float().mean()
        self.terms = {"total_correlation": total_correlation.detach(), "accuracy": right}
        return weight * total_correlation + (cross_entropy - cross_entropy.detach())
