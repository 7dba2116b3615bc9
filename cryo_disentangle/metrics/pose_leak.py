"""How a model's conformations depend on pose and other nuisances, on its own data."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from cryo_disentangle.metrics.functional.leak import nuisance_leak, pose_leak
from cryo_disentangle.metrics.particle_rows import ParticleRowsMetric
from cryo_disentangle.types import Inference, ParticleBatch, flatten_particles

__all__ = ["PoseLeak", "rows_of_nuisances"]

_NUISANCES = ("defocus", "shift", "time", "temperature")


def rows_of_nuisances(
    inference: Inference | Tensor, batch: ParticleBatch
) -> dict[str, Tensor | None]:
    """Takes latents and what they should not know from a batch.

    Args:
        inference: What was inferred, or conformations (B, K); (B, 2, K) for pairs of frames.
        batch: The particles, or pairs of frames, which count one by one.

    Returns:
        ``z`` (B, K), ``rotation`` (the particles', or else the inferred), ``defocus``, ``shift``,
        ``time`` and ``temperature``; None for what is not known.
    """
    z, pose = inference if isinstance(inference, Tensor) else inference.mean, None
    if isinstance(inference, Inference) and inference.pose is not None:
        pose = inference.pose.rotation.reshape(-1, 3, 3)
    batch = flatten_particles(batch)
    ctf = batch.get("ctf")
    return {
        "z": z.reshape(-1, z.shape[-1]),
        "rotation": batch.get("rotation", pose),
        "defocus": None if ctf is None else ctf[:, 2:4],
        "shift": batch.get("translation"),
        "time": batch.get("time"),
        "temperature": batch.get("temperature"),
    }


class PoseLeak(ParticleRowsMetric):
    """Leak of pose, defocus, shift, time and temperature into the latents.

    All are 0 for independent ones; those are measured for which the batches have data. A
    conformation may depend on time and temperature, but not on pose, defocus and shift.

    As input to ``update``:
        inference: What a model inferred, or conformations (B, K) alone.
        batch: The particles: ``rotation`` (or else the inferred pose), ``ctf``, ``translation``,
            ``time`` and ``temperature`` are used where present.

    As output of ``compute``, a dictionary of float64 scalars:
        ``pose_leak_linear_r2`` and ``pose_leak_nonlinear_r2``, the mean over latents of the
        held-out R² of the latent from the rotation, ``pose_leak_nonlinear_r2_max`` of the worst
        latent, ``pose_leak_rotation_linear_r2`` and ``pose_leak_rotation_nonlinear_r2``, the
        rotation from the latents, and ``pose_leak_mutual_information``, the largest of a latent
        and an angle in nats. NAME_leak_linear_r2, NAME_leak_nonlinear_r2,
        NAME_leak_nonlinear_r2_max and NAME_leak_mutual_information with NAME defocus, shift, time
        and temperature. See `pose_leak` and `nuisance_leak`.

    Args:
        bins: Bins of the mutual information.
        seed: As in `pose_leak`.
        **kwargs: What torchmetrics' Metric takes.
    """

    def __init__(self, *, bins: int = 20, seed: int = 0, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(("z", "rotation", *_NUISANCES), **kwargs)
        self.bins, self.seed = bins, seed

    def update(self, inference: Inference | Tensor, batch: ParticleBatch) -> None:
        """Stores a batch.

        Args:
            inference: What was inferred, or conformations (B, K); (B, 2, K) for pairs of frames.
            batch: The particles, or pairs of frames, which count one by one.
        """
        self.keep(flatten_particles(batch)["index"], rows_of_nuisances(inference, batch))

    def evaluate(self, rows: dict[str, Tensor]) -> dict[str, Tensor]:
        """Scores rows of at least 12 particles; see `ParticleRowsMetric.evaluate`."""
        z, scores = rows["z"], {}
        if "rotation" in rows:
            leak = pose_leak(z, rows["rotation"], bins=self.bins, seed=self.seed)
            scores = {
                "pose_leak_linear_r2": leak.linear_r2.mean(),
                "pose_leak_nonlinear_r2": leak.nonlinear_r2.mean(),
                "pose_leak_nonlinear_r2_max": leak.nonlinear_r2.max(),
                "pose_leak_rotation_linear_r2": leak.rotation_linear_r2,
                "pose_leak_rotation_nonlinear_r2": leak.rotation_nonlinear_r2,
                "pose_leak_mutual_information": leak.mutual_information.max(),
            }
        nuisances = {name: rows[name] for name in _NUISANCES if name in rows}
        for name, found in nuisance_leak(z, nuisances, bins=self.bins, seed=self.seed).items():
            scores |= {
                f"{name}_leak_linear_r2": found.linear_r2.mean(),
                f"{name}_leak_nonlinear_r2": found.nonlinear_r2.mean(),
                f"{name}_leak_nonlinear_r2_max": found.nonlinear_r2.max(),
                f"{name}_leak_mutual_information": found.mutual_information.max(),
            }
        return scores
