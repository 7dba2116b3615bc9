"""Penalties that intervene on pose or conformation and ask what comes back."""

from __future__ import annotations

import math
from abc import abstractmethod
from contextlib import nullcontext
from typing import cast

import torch
from torch import Tensor

from cryo_disentangle.imaging.noise import drawing_from
from cryo_disentangle.losses.distances import (
    ConformationDistance,
    PoseDistance,
    SquaredDistance,
)
from cryo_disentangle.losses.draws import in_python, uncompiled
from cryo_disentangle.losses.noise import EstimatedNoise
from cryo_disentangle.losses.pose_sources import (
    PoseSource,
    ShuffledPoses,
    UniformPoses,
    shuffled_order,
)
from cryo_disentangle.losses.round_trip import (
    GradientTarget,
    InterventionTerms,
    RoundTripDistance,
    conformation_intervention,
    own_pose,
    pose_intervention,
)
from cryo_disentangle.losses.scheduled import ScheduledPenalty
from cryo_disentangle.losses.schedules import Schedule
from cryo_disentangle.precision import may_look
from cryo_disentangle.protocols.models import LatentImageModel
from cryo_disentangle.types import Inference, ParticleBatch, Pose, observation

__all__ = ["ConformationIntervention", "PoseIntervention"]


class _Intervention(ScheduledPenalty):
    """What interventions share: some of the batch, noise at the data's level, and the report."""

    def __init__(
        self,
        weight: float | Schedule,
        distance: RoundTripDistance,
        noise_std: float | EstimatedNoise,
        every_n_steps: int,
        fraction: float,
        gradient: GradientTarget,
        seed: int,
    ) -> None:
        super().__init__(weight, every_n_steps, seed)
        if not 0 < fraction <= 1:
            raise ValueError(f"fraction must be in (0, 1], found {fraction}")
        if isinstance(noise_std, int | float) and not 0 <= noise_std < math.inf:
            raise ValueError(f"noise_std must be finite and >= 0, found {noise_std}")
        self.distance = distance
        self.noise_std = noise_std
        self.fraction = fraction
        self.gradient = gradient

    @abstractmethod
    def _intervene(
        self,
        model: LatentImageModel,
        batch: ParticleBatch,
        inference: Inference,
        noise: Tensor | None,
        generator: torch.Generator,
    ) -> InterventionTerms:
        """Evaluates the intervention on the particles that were chosen."""

    @in_python
    def _weighted(
        self, weight: float, model: LatentImageModel, batch: ParticleBatch, inference: Inference
    ) -> Tensor:
        if not callable(getattr(model, "generate", None)):
            raise TypeError(
                f"{type(self).__name__} needs a model with generate(conformation, pose, batch), "
                f"found {type(model).__name__} without"
            )
        generator = self.draws.generator(inference.mean.device)
        batch, inference = self._choose(batch, inference, generator)
        std = self._noise_level(model, batch, inference)
        noise = None
        if std is not None:
            white = _white(observation(batch), generator)
            noise = (std * white).to(white.dtype)
        # Statistics are generated with their noise, which shall be this step's.
        seeds = generator if may_look(generator.device) else self.draws.generator("cpu")
        of_statistics = "information" in batch
        with drawing_from(seeds, generator.device) if of_statistics else nullcontext():
            terms = self._intervene(model, batch, inference, noise, generator)
        found = {name: term for name, term in terms._asdict().items() if name != "loss"}
        self.terms = {name: term.detach() for name, term in found.items() if term is not None}
        if isinstance(std, Tensor):
            self.terms["noise_std"] = std.square().mean().sqrt()
        return weight * terms.loss

    @uncompiled
    def _choose(
        self, batch: ParticleBatch, inference: Inference, generator: torch.Generator
    ) -> tuple[ParticleBatch, Inference]:
        """Takes a fraction of the particles, at least two."""
        count = len(inference.mean)
        kept = min(count, max(2, math.ceil(self.fraction * count)))
        if kept == count:
            return batch, inference
        order = torch.randperm(count, generator=generator, device=generator.device)
        return _take(batch, inference, order[:kept])

    @torch.no_grad()
    def _noise_level(
        self, model: LatentImageModel, batch: ParticleBatch, inference: Inference
    ) -> float | Tensor | None:
        """Standard deviation of the noise, a number or one a pixel; None without noise."""
        if self.noise_std and "information" in batch:
            raise ValueError(
                f"{type(self).__name__}: statistics are generated with the noise of the data, so "
                f"that noise_std must be 0, found {self.noise_std}"
            )
        if not isinstance(self.noise_std, EstimatedNoise):
            return self.noise_std or None
        few, inferred = _take(batch, inference, slice(self.noise_std.particles))
        rendered = model.generate(inferred.mean, own_pose(few, inferred), few)
        return self.noise_std(few["images"] - rendered)


def _take(
    batch: ParticleBatch, inference: Inference, rows: Tensor | slice
) -> tuple[ParticleBatch, Inference]:
    """Some particles of a batch and what was inferred of them."""
    some = {key: cast(Tensor, value)[rows] for key, value in batch.items()}
    return cast(ParticleBatch, some), inference.map(lambda part: part[rows])


@uncompiled
def _white(like: Tensor, generator: torch.Generator) -> Tensor:
    """White noise of the shape of a tensor."""
    return torch.empty_like(like).normal_(generator=generator)


@uncompiled
def _imposed(poses: PoseSource, own: Pose, generator: torch.Generator) -> Pose:
    """Poses from a source."""
    return poses.draw(own, generator)


@uncompiled
def _draw(inference: Inference, generator: torch.Generator) -> Tensor:
    """Conformations drawn from posteriors, without gradient."""
    if inference.scale_tril is not None:
        return inference.sample(generator).detach()
    # Rounds otherwise than `Inference.sample`, and so decides the weights of runs of old.
    white = torch.empty_like(inference.mean).normal_(generator=generator)
    return (inference.mean + (0.5 * inference.log_variance).exp() * white).detach()


class PoseIntervention(_Intervention):
    """Seen from another pose, a particle must keep its z (Algorithm 1 and Eq. 2).

    Conformations are decoded at other poses, with the particles' own CTF and with noise, and
    encoded again; the penalty is the distance between the conformations before and after. If the
    model infers poses, these are compared, too.

    The penalty can be small in a wrong optimum: a constant z satisfies `SquaredDistance`, and
    wrongly inferred poses that are only shuffled are found again. So `terms` has the variance of z
    beside the distances: ``conformation``, ``pose``, ``var_z``, ``relative`` (0 at best, 1 for a
    random other particle) and where it is estimated ``noise_std``. Ramp the weight in by a
    `LinearSchedule`.

    Args:
        weight: Weight, a number or a schedule.
        poses: Where poses come from: `ShuffledPoses` as in the paper, `UniformPoses` or
            `InPlanePoses`; null shuffles known poses, and draws uniformly where the model infers
            them, since its own may be wrong in a way that a shuffle doesn't show.
        distance: Distance of conformations; null is `SquaredDistance`.
        pose_distance: Distance of poses; null is `ChordalDistance`.
        pose_weight: Weight of the pose term beside the conformation term.
        noise_std: Standard deviation of the noise added to decoded images, in units of the batch's
            images; or an `EstimatedNoise`.
        every_n_steps: Training steps from one evaluation to the next.
        fraction: Share of the batch that is used, drawn anew each time; at least two particles.
        gradient: What is trained: ``both``, or only the ``encoder`` or the ``decoder``.
        sampled_conformations: Whether draws from the posteriors are decoded instead of the means,
            which vary less than conformations where images contain little information.
        seed: Seed of poses and noise. Processes draw differently and shuffle within themselves.

    Raises:
        ValueError: If a weight or noise is negative, ``every_n_steps`` less than 1 or ``fraction``
            not in (0, 1].

    References:
        Klindt et al. 2024, Front. Mol. Biosci. 11:1393564.
    """

    def __init__(  # noqa: PLR0913 - each is a key of the configuration file
        self,
        weight: float | Schedule = 0.3,
        poses: PoseSource | None = None,
        distance: ConformationDistance | None = None,
        pose_distance: PoseDistance | None = None,
        pose_weight: float = 1.0,
        noise_std: float | EstimatedNoise = 0.0,
        every_n_steps: int = 1,
        fraction: float = 1.0,
        gradient: GradientTarget = "both",
        sampled_conformations: bool = False,
        seed: int = 0,
    ) -> None:
        conformation = SquaredDistance() if distance is None else distance
        both = RoundTripDistance(conformation, pose_distance, pose_weight)
        super().__init__(weight, both, noise_std, every_n_steps, fraction, gradient, seed)
        self.poses = poses
        self.sampled_conformations = sampled_conformations

    @in_python
    def _intervene(
        self,
        model: LatentImageModel,
        batch: ParticleBatch,
        inference: Inference,
        noise: Tensor | None,
        generator: torch.Generator,
    ) -> InterventionTerms:
        poses = self.poses
        if poses is None:
            poses = ShuffledPoses() if inference.pose is None else UniformPoses()
        if self.sampled_conformations:
            inference = inference._replace(mean=_draw(inference, generator))
        # Matrix products under autocast would round rotations to three digits.
        with torch.autocast(inference.mean.device.type, enabled=False):
            pose = _imposed(poses, own_pose(batch, inference), generator)
        return pose_intervention(
            model.infer,
            model.generate,
            batch,
            inference,
            pose,
            self.distance,
            noise,
            self.gradient,
        )


class ConformationIntervention(_Intervention):
    """Given another particle's conformation, a particle must keep its pose.

    For models that infer poses. Conformations are shuffled, decoded at the particles' inferred
    poses with noise, and encoded again; the penalty is the distance of the poses, and of the
    conformations if asked. `terms`: ``pose``, ``var_z``, ``relative``, and where compared
    ``conformation`` and where estimated ``noise_std``.

    Args:
        weight: Weight, a number or a schedule.
        pose_distance: Distance of poses; null is `ChordalDistance`.
        distance: Distance of conformations, `ContrastiveDistance` for instance; null compares none.
        noise_std: Standard deviation of the noise added to decoded images, in units of the batch's
            images; or an `EstimatedNoise`.
        every_n_steps: Training steps from one evaluation to the next.
        fraction: Share of the batch that is used, drawn anew each time; at least two particles.
        gradient: What is trained: ``both``, or only the ``encoder`` or the ``decoder``.
        seed: Seed of shuffles and noise. Processes draw differently and shuffle within themselves.

    Raises:
        ValueError: If a weight or noise is negative, ``every_n_steps`` less than 1 or ``fraction``
            not in (0, 1]; when called, if the model infers no pose.
    """

    def __init__(
        self,
        weight: float | Schedule = 0.3,
        pose_distance: PoseDistance | None = None,
        distance: ConformationDistance | None = None,
        noise_std: float | EstimatedNoise = 0.0,
        every_n_steps: int = 1,
        fraction: float = 1.0,
        gradient: GradientTarget = "both",
        seed: int = 0,
    ) -> None:
        both = RoundTripDistance(distance, pose_distance)
        super().__init__(weight, both, noise_std, every_n_steps, fraction, gradient, seed)

    @in_python
    def _intervene(
        self,
        model: LatentImageModel,
        batch: ParticleBatch,
        inference: Inference,
        noise: Tensor | None,
        generator: torch.Generator,
    ) -> InterventionTerms:
        return conformation_intervention(
            model.infer,
            model.generate,
            batch,
            inference,
            shuffled_order(len(inference.mean), generator),
            self.distance,
            noise,
            self.gradient,
        )
