"""The noise of the data, as far as a model has not explained it."""

from __future__ import annotations

from typing import TypedDict

import torch
from torch import Tensor, nn

from cryo_disentangle.losses.draws import uncompiled

__all__ = ["EstimatedNoise"]


class _State(TypedDict):
    count: int
    second_moment: Tensor | None


class EstimatedNoise(nn.Module):
    """Running estimate of the noise in each pixel or coefficient.

    The second moment of the residual, images minus what the model renders at their own poses,
    averaged over particles and training steps. Unexplained signal counts as noise, so the level
    falls during training to that of the data. In Hartley space this is the noise's power spectrum.
    Processes share their estimates; the estimate is part of the state dict.

    Args:
        momentum: Weight of the past in an update after 1 / (1 - momentum) updates; before that, the
            plain average is used.
        particles: Particles rendered for an update, at most.

    Raises:
        ValueError: If the momentum is not in [0, 1) or ``particles`` less than 1.
    """

    def __init__(self, momentum: float = 0.99, particles: int = 32) -> None:
        super().__init__()
        if not 0 <= momentum < 1 or particles < 1:
            raise ValueError(
                "an estimate of noise needs 0 <= momentum < 1 and particles >= 1, found "
                f"momentum={momentum} and particles={particles}"
            )
        self.momentum = momentum
        self.particles = particles
        self._count = 0
        self._second_moment: Tensor | None = None

    @uncompiled
    @torch.no_grad()
    def forward(self, residual: Tensor) -> Tensor:
        """Takes in a batch, in training mode, and gives the estimate.

        Args:
            residual: Images minus what was rendered for them, shape (B, L, L).

        Returns:
            Standard deviation of the noise, shape (L, L).
        """
        if not self.training and self._second_moment is not None:
            return self._second_moment.to(residual).sqrt()
        # Half precision has too few digits to average in.
        residual = residual.to(torch.promote_types(residual.dtype, torch.float32))
        found = residual.square().mean(0)
        if not self.training:
            return found.sqrt()
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(found)
            found = found / torch.distributed.get_world_size()
        before = found if self._second_moment is None else self._second_moment.to(found)
        self._second_moment = before.lerp(found, max(1 - self.momentum, 1 / (self._count + 1)))
        self._count += 1
        return self._second_moment.sqrt()

    def get_extra_state(self) -> _State:
        """Returns what the state dict keeps.

        Returns:
            The estimate and the number of updates.
        """
        return {"count": self._count, "second_moment": self._second_moment}

    def set_extra_state(self, state: _State) -> None:
        """Goes on from a state dict.

        Args:
            state: Result of `get_extra_state`.
        """
        self._count, self._second_moment = state["count"], state["second_moment"]
