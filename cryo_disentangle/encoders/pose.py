"""Pose heads: Hartley coefficients of an image to hypotheses of the direction it is seen from.

Hypothesis h is a learned rotation turned by the h-th of a few fixed ones that lie far apart, and
every learned rotation starts near the identity. So several hypotheses start apart and can cover
what one alone would get stuck in, such as a mirror image or a turn by 180 degrees.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from cryo_disentangle.geometry import in_plane_rotation
from cryo_disentangle.geometry.rotations import quaternion_to_rotation, six_d_to_rotation
from cryo_disentangle.networks.residual_mlp import ResidualMLP

__all__ = ["InPlanePoseHead", "PoseHead"]

# Angle in radians below which two vectors are too nearly collinear to define a rotation in float32.
_COLLINEAR = 1e-3


class _HypothesisNetwork(nn.Module):
    """A network that gives a vector for each hypothesis, added to one that is the identity's."""

    offset: Tensor
    turns: Tensor

    def __init__(self, network: ResidualMLP, offset: Tensor, turns: Tensor) -> None:
        super().__init__()
        self.network = network
        # Fixed by the class and the number of hypotheses, so not a checkpoint's business.
        self.register_buffer("offset", offset, persistent=False)
        self.register_buffer("turns", turns, persistent=False)

    def vectors(self, coefficients: Tensor) -> Tensor:
        """(B, M) -> (B, H, size of the offset), in the precision of the parameters."""
        output: Tensor = self.network(coefficients).to(self.offset)
        return self.offset + output.unflatten(-1, (len(self.turns), -1))

    def turned(self, rotation: Tensor) -> Tensor:
        """Turns each hypothesis's rotation by its fixed one, shape (B, H, 3, 3)."""
        # Autocast would round the product to three digits, no longer a rotation.
        with torch.autocast(rotation.device.type, enabled=False):
            return self.turns @ rotation


class InPlanePoseHead(_HypothesisNetwork):
    """Infers rotations about the beam, for particles all seen from one side.

    A network gives a vector (c, s) for each hypothesis; its direction is cosine and sine of the
    angle, so that the circle has no seam. The zero vector means angle zero.

    Args:
        coefficients: Number M of coefficients read.
        hypotheses: Number H of hypotheses, which start evenly spaced on the circle.
        width: Width of the hidden layers.
        layers: Number of residual hidden layers.
        activation: Activation of the hidden layers.

    Raises:
        ValueError: If a size or the number of hypotheses is not positive.
    """

    def __init__(
        self,
        coefficients: int,
        hypotheses: int = 1,
        width: int = 256,
        layers: int = 3,
        activation: Literal["relu", "leaky_relu"] = "relu",
    ) -> None:
        _check_hypotheses(hypotheses)
        network = ResidualMLP(coefficients, 2 * hypotheses, width, layers, activation)
        turns = in_plane_rotation(2 * math.pi * torch.arange(hypotheses) / hypotheses)
        super().__init__(network, torch.tensor([1.0, 0.0]), turns)

    def forward(self, coefficients: Tensor) -> Tensor:
        """Infers rotations.

        Args:
            coefficients: Shape (B, M).

        Returns:
            Rotations about the z axis, shape (B, H, 3, 3).
        """
        vector = _bounded(self.vectors(coefficients))
        vector = torch.where((vector == 0).all(dim=-1, keepdim=True), self.offset, vector)
        cosine, sine = (vector / vector.norm(dim=-1, keepdim=True)).unbind(-1)
        zero, one = torch.zeros_like(cosine), torch.ones_like(cosine)
        rows = [cosine, -sine, zero, sine, cosine, zero, zero, zero, one]
        return self.turned(torch.stack(rows, dim=-1).unflatten(-1, (3, 3)))


class PoseHead(_HypothesisNetwork):
    """Infers rotations in three dimensions by their continuous six-number form.

    A network gives two 3-vectors for each hypothesis, which become the first two rows of a
    rotation (`six_d_to_rotation`). Vectors that are zero or collinear mean the identity.

    Args:
        coefficients: Number M of coefficients read.
        hypotheses: Number H of hypotheses, which start spread over all rotations.
        width: Width of the hidden layers.
        layers: Number of residual hidden layers.
        activation: Activation of the hidden layers.

    Raises:
        ValueError: If a size or the number of hypotheses is not positive.

    References:
        Zhou et al. 2019, On the continuity of rotation representations, Eq. 15; Levy et al. 2022,
        cryoAI, Section 3.3, for hypotheses compared by their images.
    """

    def __init__(
        self,
        coefficients: int,
        hypotheses: int = 1,
        width: int = 256,
        layers: int = 3,
        activation: Literal["relu", "leaky_relu"] = "relu",
    ) -> None:
        _check_hypotheses(hypotheses)
        network = ResidualMLP(coefficients, 6 * hypotheses, width, layers, activation)
        super().__init__(network, torch.eye(3)[:2].flatten(), _spread_rotations(hypotheses))

    def forward(self, coefficients: Tensor) -> Tensor:
        """Infers rotations.

        Args:
            coefficients: Shape (B, M).

        Returns:
            Rotations, shape (B, H, 3, 3).
        """
        rows = _bounded(self.vectors(coefficients).unflatten(-1, (2, 3)))
        first, second = rows.unbind(-2)
        lengths = first.norm(dim=-1) * second.norm(dim=-1)
        sine = torch.linalg.cross(first, second).norm(dim=-1)
        valid = (sine > _COLLINEAR * lengths)[..., None]
        return self.turned(six_d_to_rotation(torch.where(valid, rows.flatten(-2), self.offset)))


def _check_hypotheses(hypotheses: int) -> None:
    if hypotheses < 1:
        raise ValueError(f"a pose head needs at least one hypothesis, found {hypotheses}")


def _bounded(vectors: Tensor) -> Tensor:
    """Brings vectors to a largest component of 1, since squares of large ones would overflow."""
    largest = vectors.detach().abs().amax(dim=-1, keepdim=True)
    return vectors / torch.where(largest > 0, largest, 1.0)


def _spread_rotations(count: int) -> Tensor:
    """Rotations far apart from each other, the identity first (Alexa 2022, super-Fibonacci)."""
    step = torch.arange(count, dtype=torch.float64) + 0.5
    inner, outer = (step / count).sqrt(), (1 - step / count).sqrt()
    first = 2 * math.pi * step / math.sqrt(2)
    # The positive root of x^4 = x + 4.
    second = 2 * math.pi * step / 1.533751168755204288118041
    spiral = [inner * first.sin(), inner * first.cos(), outer * second.sin(), outer * second.cos()]
    rotation = quaternion_to_rotation(torch.stack(spiral, dim=-1))
    return (rotation @ rotation[0].T).float()
