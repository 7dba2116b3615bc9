"""Decode what an intervention asks for, encode it again, and compare: for any training loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, cast

import torch
from torch import Tensor, nn

from cryo_disentangle.losses.distances import (
    ChordalDistance,
    ConformationDistance,
    PoseDistance,
    SquaredDistance,
    relative_invariance,
)
from cryo_disentangle.types import Inference, ParticleBatch, Pose, observed

__all__ = [
    "GradientTarget",
    "InterventionTerms",
    "RoundTripDistance",
    "conformation_intervention",
    "own_pose",
    "pose_intervention",
]

GradientTarget = Literal["both", "encoder", "decoder"]
_Infer = Callable[[ParticleBatch], Inference]
_Generate = Callable[[Tensor, Pose, ParticleBatch], Tensor]


class InterventionTerms(NamedTuple):
    """Terms of an intervention, all scalars.

    Attributes:
        loss: Eq. 2 with gradient.
        conformation: Its distance of conformations; None if they are not compared.
        pose: Its distance of poses; None if the model infers none.
        var_z: Total variance of the decoded conformations over the batch.
        relative: `relative_invariance` of the conformations, 0 at best and 1 for a random
            other particle.
    """

    loss: Tensor
    conformation: Tensor | None
    pose: Tensor | None
    var_z: Tensor
    relative: Tensor


class RoundTripDistance(nn.Module):
    """d_z(ẑ, z) + pose_weight · d_φ(φ̂, φ), the second where the model infers poses.

    Args:
        conformation: d_z; null compares no conformations.
        pose: d_φ; null is `ChordalDistance`.
        pose_weight: Weight of d_φ.

    Raises:
        ValueError: If the weight is negative.

    References:
        Klindt et al. 2024, Front. Mol. Biosci. 11:1393564, Eq. 2.
    """

    def __init__(
        self,
        conformation: ConformationDistance | None,
        pose: PoseDistance | None = None,
        pose_weight: float = 1.0,
    ) -> None:
        super().__init__()
        if not pose_weight >= 0:
            raise ValueError(f"the weight of the pose term must be >= 0, found {pose_weight}")
        self.conformation = conformation
        self.pose: PoseDistance = ChordalDistance() if pose is None else pose
        self.pose_weight = pose_weight

    def forward(self, inferred: Inference, target: Inference) -> InterventionTerms:
        """Compares.

        Args:
            inferred: What was re-encoded.
            target: What was decoded, without gradient; its pose is the imposed one.

        Returns:
            The terms.
        """
        loss = inferred.mean.new_zeros(())
        conformation = pose = None
        if self.conformation is not None:
            conformation = self.conformation.forward(inferred, target)
            loss = loss + conformation
        if inferred.pose is not None and target.pose is not None:
            pose = self.pose.forward(inferred.pose.rotation, target.pose.rotation)
            loss = loss + self.pose_weight * pose
        var_z = target.mean.var(0, correction=0).sum()
        relative = relative_invariance(inferred.mean, target.mean)
        return InterventionTerms(loss, conformation, pose, var_z, relative.detach())


def own_pose(batch: ParticleBatch, inference: Inference) -> Pose:
    """Takes the particles' poses: inferred ones, or else the batch's; without gradient.

    Args:
        batch: B particles.
        inference: What a model infers of them.

    Returns:
        Rotations (B, 3, 3), and where known translations (B, 2) and precisions (B, K, K).

    Raises:
        ValueError: If the model infers no rotations and the batch has none.
    """
    translation, precision = batch.get("translation"), batch.get("precision")
    if inference.pose is not None:
        rotation = inference.pose.rotation
        if inference.pose.translation is not None:
            translation = inference.pose.translation
    elif "rotation" in batch:
        rotation = batch["rotation"]
    else:
        raise ValueError(
            "an intervention needs poses: the model infers none and the batch has no rotation"
        )
    return Pose(rotation, translation, precision).map(Tensor.detach)


def pose_intervention(
    infer: _Infer,
    generate: _Generate,
    batch: ParticleBatch,
    inference: Inference,
    pose: Pose,
    distance: RoundTripDistance | None = None,
    noise: Tensor | None = None,
    gradient: GradientTarget = "both",
) -> InterventionTerms:
    """Algorithm 1: another pose must not change the conformation, and must be found again.

    The conformations z of a first encoding are detached, decoded at other poses with the particles'
    own CTF, and encoded again; the result is compared with z. In a loop:

        inference = infer(batch)
        rotation = own_pose(batch, inference).rotation[torch.randperm(len(batch["index"]))]
        pose = Pose(rotation, batch.get("translation"))
        noise = 0.5 * torch.randn_like(batch["images"])
        terms = pose_intervention(infer, generate, batch, inference, pose, noise=noise)
        loss = loss + 0.3 * terms.loss

    Args:
        infer: As `LatentImageModel.infer`.
        generate: As `LatentImageModel.generate`.
        batch: B single particles.
        inference: Their first encoding.
        pose: Poses to impose; the translations should be the particles' own.
        distance: What is compared; None is |ẑ - z|² + (1 - cos θ).
        noise: Added to the decoded images, of their shape; encoders are trained on noisy images,
            and may read a clean one differently.
        gradient: What is trained: ``both``, only the ``encoder`` (images are fixed), or only the
            ``decoder`` (the encoder is fixed).

    Returns:
        The terms; nothing flows back into ``inference`` or ``pose``.

    References:
        Klindt et al. 2024, Front. Mol. Biosci. 11:1393564, Algorithm 1 and Eq. 2.
    """
    target = inference._replace(pose=pose).map(Tensor.detach)
    compare = RoundTripDistance(SquaredDistance()) if distance is None else distance
    return _round_trip(infer, generate, batch, target, compare, noise, gradient)


def conformation_intervention(
    infer: _Infer,
    generate: _Generate,
    batch: ParticleBatch,
    inference: Inference,
    order: Tensor,
    distance: RoundTripDistance | None = None,
    noise: Tensor | None = None,
    gradient: GradientTarget = "both",
) -> InterventionTerms:
    """The counterpart of `pose_intervention`: another conformation must not change the pose.

    Args:
        infer: As `LatentImageModel.infer`; infers poses.
        generate: As `LatentImageModel.generate`.
        batch: B single particles.
        inference: Their first encoding, with poses.
        order: Whose conformation each particle gets, shape (B,), int64.
        distance: What is compared; None is 1 - cos θ of the poses.
        noise: As for `pose_intervention`.
        gradient: As for `pose_intervention`.

    Returns:
        The terms; nothing flows back into ``inference``.

    Raises:
        ValueError: If the model infers no pose.
    """
    if inference.pose is None:
        raise ValueError(
            "a conformation intervention tests the inferred pose, and this model infers none"
        )
    compare = RoundTripDistance(None) if distance is None else distance
    pose = own_pose(batch, inference)
    swapped = inference._replace(pose=None).map(lambda part: part[order])
    return pose_intervention(infer, generate, batch, swapped, pose, compare, noise, gradient)


def _full_precision(inference: Inference) -> Inference:
    """Widens half precision: squared differences of such numbers have too few digits."""
    wide = torch.promote_types(inference.mean.dtype, torch.float32)
    return inference.map(lambda part: part.to(torch.promote_types(part.dtype, wide)))


def _round_trip(
    infer: _Infer,
    generate: _Generate,
    batch: ParticleBatch,
    target: Inference,
    distance: RoundTripDistance,
    noise: Tensor | None,
    gradient: GradientTarget,
) -> InterventionTerms:
    """Decodes and encodes the target and sends the gradient where it is wanted."""
    pose = cast(Pose, target.pose)

    def compare(images: Tensor) -> InterventionTerms:
        # An encoder that reads the pose must read the one that the image shows.
        seen = observed(batch, images, pose)
        return distance(_full_precision(infer(seen)), _full_precision(target))

    with torch.set_grad_enabled(torch.is_grad_enabled() and gradient != "encoder"):
        images = generate(target.mean, pose, batch)
    if noise is not None:
        images = images + noise
    if gradient == "decoder" and torch.is_grad_enabled():
        return _through_images_alone(images, compare)
    return compare(images)


def _through_images_alone(
    images: Tensor, compare: Callable[[Tensor], InterventionTerms]
) -> InterventionTerms:
    """The loss's value, with a gradient that reaches its parameters through the images alone."""
    leaf = images.detach().requires_grad_()
    terms = compare(leaf)
    (slope,) = torch.autograd.grad(terms.loss, leaf)
    surrogate = (images * slope).sum()
    conformation, pose = (
        None if term is None else term.detach() for term in (terms.conformation, terms.pose)
    )
    loss = terms.loss.detach() + (surrogate - surrogate.detach())
    return terms._replace(loss=loss, conformation=conformation, pose=pose)
