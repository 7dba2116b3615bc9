"""A posterior for each particle of a stack, learned without an encoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cryo_disentangle.precision import may_look
from cryo_disentangle.protocols.inference import EncoderSetting, Evidence
from cryo_disentangle.types import Inference

__all__ = ["LatentTable"]

# Posteriors start near the middle of a normal prior, and apart from each other.
_INITIAL_STD = 0.1


class LatentTable(nn.Module):
    """Table of posteriors by particle number, in place of inference from images.

    An auto-decoder: means and log-variances are free parameters, so there is no amortisation gap,
    but:

    * Only the particles trained on have a posterior. Held-out ones keep their initial values,
      nearly those of the standard normal prior, so that a held-out reconstruction is that of the
      mean conformation and says nothing about the others: hold out none, and choose between runs by
      the training loss.
    * Images are not read. So z is the same after any pose intervention or rotation of the image,
      which means nothing; and particles of another stack, such as those simulated for scores, are
      taken for those with the same rows.
    * It holds 2 Z numbers a particle, and an optimiser such as Adam two more for each of these.
      Gradients are dense, so a step and, in distributed training, its communication take time in
      proportion to the whole stack.
    * A row is visited once an epoch. Between visits Adam continues with its running mean: a visit
      moves a row by up to about 30 learning rates.

    Args:
        n_particles: Number N of particles in the stack; a model sets it by `bind`.
        conformation_dim: Number Z of conformation coordinates.

    Attributes:
        mean: Means, shape (N, Z); drawn from a normal of standard deviation 0.1, since equal rows
            would learn alike.
        log_variance: Logarithms of variances, shape (N, Z); start at zero, the prior's.

    Raises:
        ValueError: If a size is not positive.
    """

    def __init__(self, n_particles: int, conformation_dim: int) -> None:
        super().__init__()
        self._lay_out(n_particles, conformation_dim)

    def _lay_out(self, n_particles: int, conformation_dim: int) -> None:
        """Makes the rows."""
        if min(n_particles, conformation_dim) < 1:
            raise ValueError(
                "a table of latents needs positive sizes, found "
                f"n_particles={n_particles}, conformation_dim={conformation_dim}"
            )
        self.mean = nn.Parameter(_INITIAL_STD * torch.randn(n_particles, conformation_dim))
        self.log_variance = nn.Parameter(torch.zeros(n_particles, conformation_dim))

    def bind(self, setting: EncoderSetting) -> None:
        """Takes the number of rows from a model, which makes encoders of numbers of coefficients.

        Args:
            setting: The model's setting.

        Raises:
            ValueError: If the number of particles is not known, or poses are to be read.
        """
        name = type(self).__name__
        if setting.reads_pose:
            raise ValueError(
                f"{name} reads rows of the stack and no poses: unset encoder_reads_pose"
            )
        if setting.n_particles is None:
            raise ValueError(
                f"{name} has a row for each particle of a stack and needs n_particles, which the "
                "command line takes from ParticleData; other data may have new particles each epoch"
            )
        self._lay_out(setting.n_particles, self.mean.shape[1])

    def posterior(self, evidence: Evidence) -> Inference:
        """Returns the posteriors of B particles by their index.

        Args:
            evidence: What is known of the particles.

        Returns:
            The posterior, mean (B, Z).

        Raises:
            ValueError: If a particle lies outside the table.
        """
        return Inference(*self(evidence.batch["index"]))

    def forward(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Returns posteriors.

        Args:
            index: Rows of the particles in the stack, shape (B,), integers.

        Returns:
            Mean and log-variance, each (B, Z).

        Raises:
            ValueError: If a row lies outside the table, on a CPU; a GPU stops by itself.
        """
        outside = (index < 0) | (index >= len(self.mean))
        if may_look(index.device) and bool(outside.any()):
            raise ValueError(
                f"the table holds {len(self.mean)} particles, found particle "
                f"{int(index[outside][0])} (counted from 0)"
            )
        return self.mean[index], self.log_variance[index]
