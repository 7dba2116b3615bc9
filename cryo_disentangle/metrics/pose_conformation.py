"""Pose and conformation consistency of a model, measured on its images."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cryo_disentangle.metrics.functional.gauge import align_latents, fit_pose_gauge
from cryo_disentangle.metrics.functional.pose_conformation import (
    ConformationScore,
    PoseScore,
    conformation_encoder_consistency,
    conformation_pose_invariance,
    pose_conformation_invariance,
    pose_encoder_consistency,
    volume_consistency,
    volume_pose_invariance,
)
from cryo_disentangle.metrics.particle_rows import ParticleRowsMetric, evaluating
from cryo_disentangle.metrics.permutations import (
    GeneratesImages,
    InfersLatents,
    Intervention,
    particle_pose,
)
from cryo_disentangle.protocols.models import LatentImageModel
from cryo_disentangle.types import Inference, ParticleBatch, Pose, flatten_particles

__all__ = ["PoseConformationMetrics"]

_POSE_METRICS = (
    "volume_pose_invariance",
    "pose_encoder_consistency",
    "pose_conformation_invariance",
)
_OWN = ("z", "std", "pose", "z_own", "pose_own", "translation", "translation_own")
_ORACLE = ("z_oracle", "pose_oracle")
_TRUE = ("factors", "true_pose", "z_first", "z_turned", "pose_first", "pose_changed")


class PoseConformationMetrics(ParticleRowsMetric):
    """The six consistencies and invariances of pose and conformation, of a model of images.

    ``update`` infers the conformations (posterior means) and poses of a batch, permutes the poses
    along a random cycle, renders, adds noise, and infers again; each image keeps its CTF. Without a
    true generator the model's own stands in for g*, and without an oracle its own inference for f*:
    self-consistency, in which volume consistency and conformation-encoder consistency are the same
    number, and so are volume pose invariance and pose-encoder consistency. Latents and poses that
    come from different sources are first brought to the same axes (`align_latents`, `align_poses`).

    A model that infers poses is not given those of the images; one that takes given poses is.
    Metrics that a model or an oracle cannot have are left out of the result, and ``unavailable``
    gives the reason.

    As input to ``update``:
        model: The model, see `LatentImageModel`.
        batch: Particles, with ``factors`` and ``rotation`` where there is a true generator. A batch
            of one particle cannot be permuted and is left out.

    As output of ``compute``, a dictionary of float64 scalars:
        ``NAME`` (raw) and ``NAME_normalized`` (0 best, 1 chance) of each metric. Of conformations
        ``NAME_r2_mean`` and ``NAME_r2_min`` over axes (``_icc_`` for the invariance). Of poses
        ``NAME_median_deg``, ``NAME_below_5_deg``, ``NAME_below_10_deg``, and ``NAME_mirrored``
        where they were aligned. NAME is volume_consistency, volume_pose_invariance,
        conformation_encoder_consistency, conformation_pose_invariance, pose_encoder_consistency
        or pose_conformation_invariance. With a true generator of as many factors as latents,
        ``conformation_encoder_consistency_unaligned_normalized``.
        Of the model's own generator and inference: ``total``, the sum of both consistencies
        (Klindt et al. 2024, Eq. 2), ``total_normalized``, the mean of both normalised, and
        ``translation_error_px``.
        ``conformation_std`` and ``posterior_std``, root mean squares over particles and axes, and
        ``collapsed``, 1 where z or what is inferred of rendered images is constant.

    Args:
        generator: The true generator g*, or None.
        oracle: The true inference f*, or None.
        noise_std: Standard deviation of the white noise of the data, in the units of the images;
            None adds none, so that the images are better than the data.
        seed: Of permutations and noise, functions of the seed and of the batch's ``index``.
        **kwargs: What torchmetrics' Metric takes.

    Attributes:
        unavailable: Names of the metrics that are left out, with the reason.

    Raises:
        ValueError: If ``noise_std`` is negative.

    References:
        Klindt et al. 2024, Appendix A and Algorithm 1.
    """

    unavailable: dict[str, str]

    def __init__(
        self,
        generator: GeneratesImages | None = None,
        oracle: InfersLatents | None = None,
        *,
        noise_std: float | None = None,
        seed: int = 0,
        **kwargs: Any,  # noqa: ANN401 - torchmetrics' own words
    ) -> None:
        super().__init__(_OWN + _ORACLE + _TRUE, **kwargs)
        if noise_std is not None and noise_std < 0:
            raise ValueError(f"noise_std must not be negative, got {noise_std}")
        # In a tuple, so that torch doesn't take models for parts of the metric.
        self._truth = (generator, oracle)
        self.noise_std, self.seed = noise_std, seed
        self.unavailable = {}

    def update(self, model: LatentImageModel, batch: ParticleBatch) -> None:
        """Intervenes on the particles of a batch.

        Args:
            model: The model.
            batch: Particles, or pairs of frames, which count one by one.

        Raises:
            ValueError: If the model infers no pose and the batch has none, or ``factors`` or
                ``rotation`` is missing beside a true generator.
        """
        batch = flatten_particles(batch)
        generator, oracle = self._truth
        with evaluating(model), evaluating(generator), evaluating(oracle):
            found = model.infer(batch)
            infers_pose = found.pose is not None
            intervention = Intervention(batch, self.noise_std, self.seed, hide_pose=infers_pose)
            rows = self._render(model, found, intervention)
        # Rows without particles still tell other processes their shape.
        kept = slice(None) if len(batch["index"]) > 1 else slice(0)
        kept_rows = {name: value[kept] for name, value in rows.items() if value is not None}
        self.keep(batch["index"][kept], kept_rows)
        self._explain(rows, infers_pose=infers_pose)

    def evaluate(self, rows: dict[str, Tensor]) -> dict[str, Tensor]:
        """Scores at least 4 particles, 2 without truth; see `ParticleRowsMetric.evaluate`."""
        own = volume_consistency(rows["z"], rows["z_own"])
        scores = _conformation_scores(rows, own) | _pose_scores(rows)
        totals = [(own.raw, own.normalized)]
        if "pose_own" in rows:
            pose = pose_encoder_consistency(rows["pose"], rows["pose_own"])
            totals.append((pose.raw, pose.normalized))
        scores["total"] = torch.stack([raw for raw, _ in totals]).sum()
        scores["total_normalized"] = torch.stack([share for _, share in totals]).mean()
        if "translation_own" in rows:
            moved = (rows["translation"] - rows["translation_own"]).double()
            scores["translation_error_px"] = moved.norm(dim=1).mean()
        scores["conformation_std"] = rows["z"].double().var(0, correction=0).mean().sqrt()
        scores["posterior_std"] = rows["std"].double().square().mean().sqrt()
        scores["collapsed"] = own.collapsed.double()
        return scores

    def reset(self) -> None:
        """Forgets all particles."""
        super().reset()
        self.unavailable = {}

    def _render(
        self, model: LatentImageModel, found: Inference, intervention: Intervention
    ) -> dict[str, Tensor | None]:
        """Infers again from rendered images, the model's own and the true generator's."""
        generator, oracle = self._truth
        pose = intervention.permute_pose(particle_pose(found, intervention.batch), 1)
        shown = intervention.show(model, found.mean, pose)
        own = model.infer(shown)
        best = None if oracle is None else oracle.infer(shown)
        rows = {
            "z": found.mean,
            "std": torch.exp(0.5 * found.log_variance),
            "pose": pose.rotation,
            "z_own": own.mean,
            "pose_own": _rotation(own),
            "z_oracle": None if best is None else best.mean,
            "pose_oracle": None if best is None else _rotation(best),
        }
        if own.pose is not None:
            rows |= {"translation": pose.translation, "translation_own": own.pose.translation}
        if generator is None:
            return rows | _change(
                model, model, found.mean, particle_pose(found, intervention.batch), intervention
            )
        if missing := {"factors", "rotation"} - intervention.batch.keys():
            raise ValueError(f"beside a true generator a batch needs {min(missing)}, found none")
        factors, true_pose = intervention.batch["factors"], _given_pose(intervention.batch)
        elsewhere = intervention.permute_pose(true_pose, 1)
        first = model.infer(intervention.show(generator, factors, elsewhere))
        rows |= {"factors": factors, "true_pose": elsewhere.rotation}
        rows |= {"z_first": first.mean, "pose_first": _rotation(first)}
        return rows | _change(model, generator, factors, true_pose, intervention)

    def _explain(self, rows: dict[str, Tensor | None], *, infers_pose: bool) -> None:
        """Says which metrics can't be had."""
        if not infers_pose:
            reason = "the model takes poses from the data and infers none"
            self.unavailable = dict.fromkeys(_POSE_METRICS, reason)
        if rows["pose_oracle"] is not None:
            self.unavailable.pop("volume_pose_invariance", None)
        elif self._truth[1] is not None:
            self.unavailable["volume_pose_invariance"] = "the oracle infers no pose"


def _rotation(inference: Inference) -> Tensor | None:
    return None if inference.pose is None else inference.pose.rotation


def _given_pose(batch: ParticleBatch) -> Pose:
    return Pose(batch["rotation"], batch.get("translation"), batch.get("precision"))


def _change(
    model: LatentImageModel,
    generator: GeneratesImages,
    conformation: Tensor,
    pose: Pose,
    intervention: Intervention,
) -> dict[str, Tensor | None]:
    """Infers from a second pose and, where poses are inferred, of a second conformation."""
    elsewhere = model.infer(
        intervention.show(generator, conformation, intervention.permute_pose(pose, 2))
    )
    if elsewhere.pose is None:
        return {"z_turned": elsewhere.mean}
    # Against the direction of the poses: of two particles, too, both conformations change.
    other = intervention.permute_rows(conformation, -1)
    changed = model.infer(intervention.show(generator, other, intervention.permute_pose(pose, 1)))
    return {"z_turned": elsewhere.mean, "pose_changed": _rotation(changed)}


def _conformation_scores(rows: dict[str, Tensor], own: ConformationScore) -> dict[str, Tensor]:
    volume = encoder = own
    if "z_oracle" in rows:
        volume = volume_consistency(rows["z"], align_latents(rows["z_oracle"], rows["z"]))
    first, scores = rows.get("z_first", rows["z_own"]), {}
    if "factors" in rows:
        factors = rows["factors"]
        encoder = conformation_encoder_consistency(factors, align_latents(first, factors))
        if factors.shape == first.shape:
            unaligned = conformation_encoder_consistency(factors, first)
            name = "conformation_encoder_consistency_unaligned_normalized"
            scores[name] = unaligned.normalized
    invariance = conformation_pose_invariance(first, rows["z_turned"])
    for name, score, axes in (
        ("volume_consistency", volume, "r2"),
        ("conformation_encoder_consistency", encoder, "r2"),
        ("conformation_pose_invariance", invariance, "icc"),
    ):
        scores |= {
            name: score.raw,
            f"{name}_normalized": score.normalized,
            f"{name}_{axes}_mean": score.per_axis.mean(),
            f"{name}_{axes}_min": score.per_axis.min(),
        }
    return scores


def _pose_scores(rows: dict[str, Tensor]) -> dict[str, Tensor]:
    scores: dict[str, Tensor] = {}
    if "pose_oracle" in rows:
        scores |= _aligned("volume_pose_invariance", rows["pose"], rows["pose_oracle"])
    if "pose_own" not in rows:
        return scores
    if "z_oracle" not in rows:
        own = volume_pose_invariance(rows["pose"], rows["pose_own"])
        scores |= _entries("volume_pose_invariance", own)
    if "true_pose" in rows:
        scores |= _aligned("pose_encoder_consistency", rows["true_pose"], rows["pose_first"])
    else:
        own = pose_encoder_consistency(rows["pose"], rows["pose_own"])
        scores |= _entries("pose_encoder_consistency", own)
    first = rows.get("pose_first", rows["pose_own"])
    invariance = pose_conformation_invariance(first, rows["pose_changed"])
    return scores | _entries("pose_conformation_invariance", invariance)


def _aligned(name: str, pose: Tensor, answer: Tensor) -> dict[str, Tensor]:
    """Scores poses that have axes and a hand of their own."""
    gauge = fit_pose_gauge(answer, pose)
    score = pose_encoder_consistency(pose, gauge.apply(answer.double()))
    return _entries(name, score) | {f"{name}_mirrored": gauge.mirrored.double()}


def _entries(name: str, score: PoseScore) -> dict[str, Tensor]:
    return {
        name: score.raw,
        f"{name}_normalized": score.normalized,
        f"{name}_median_deg": score.median_deg,
        f"{name}_below_5_deg": score.below_5_deg,
        f"{name}_below_10_deg": score.below_10_deg,
    }
