"""Learned tensors that need larger steps than a network's."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["ScaledParameter", "check_dim"]


class ScaledParameter(nn.Module):
    """A learned tensor that moves by a multiple of the optimiser's learning rate.

    value = initial + scale · raw, where raw is what the optimiser sees and starts at zero. Adam's
    step does not depend on the size of gradients, so the value moves ``scale`` times as fast as
    with a plain parameter; under plain gradient descent it would be ``scale²`` times.

    Args:
        initial: Value at the start.
        scale: Multiple of the learning rate, positive.

    Raises:
        ValueError: If the scale is not positive.
    """

    initial: Tensor

    def __init__(self, initial: Tensor, scale: float) -> None:
        super().__init__()
        if not scale > 0:
            raise ValueError(f"learning_rate_scale must be positive, found {scale}")
        self.scale = scale
        self.register_buffer("initial", initial)
        self.raw = nn.Parameter(initial.new_zeros(initial.shape))

    def forward(self) -> Tensor:
        """Evaluates the tensor."""
        return self.initial + self.scale * self.raw


def check_dim(found: int, expected: int, prior: nn.Module) -> None:
    """Refuses conformations of another number of coordinates than the prior's.

    Args:
        found: Number of coordinates at hand.
        expected: The prior's.
        prior: Named in the message.

    Raises:
        ValueError: If they differ.
    """
    if found != expected:
        raise ValueError(
            f"{type(prior).__name__} has conformation_dim {expected}, found conformations with "
            f"{found} coordinates"
        )
