"""The table of inferred particles: what is inferred, and known, of each, whoever inferred it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cryo_disentangle.judgement.gathering import GatheredRows
from cryo_disentangle.types import Inference, ParticleBatch, flatten_particles

__all__ = ["InferredParticles", "infer_particles"]

Array: TypeAlias = npt.NDArray[Any] | Tensor

# Besides rotations, what a batch may know of its particles.
_KNOWN = ("translation", "ctf", "time", "trajectory", "temperature", "half", "factors")


@dataclass(frozen=True)
class InferredParticles:
    """Latents and labels of N particles, a row each; on the host.

    A model fills it from images (`infer_particles`), and arrays of any program do (`of`). Only the
    latents must be there.

    Attributes:
        mean: Latents, or the means of their posteriors, shape (N, Z).
        log_variance: Logarithm of the posteriors' variances, shape (N, Z), or None.
        rotation: Known rotations, else inferred ones, shape (N, 3, 3), or None.
        index: Rows of the particle file, shape (N,), or None where the order is all that is known.
        labels: What else is known, by the keys of a `ParticleBatch`, each (N, ...).
        image_names: Names of the images, N of them, or None.
        frames: Places in this table of the earlier and the later frame of P pairs, shape (P, 2), or
            None where particles are no frames.
        covariance: Covariances of posteriors whose coordinates depend on each other, shape
            (N, Z, Z), or None.
    """

    mean: Tensor
    log_variance: Tensor | None = None
    rotation: Tensor | None = None
    index: Tensor | None = None
    labels: Mapping[str, Tensor] = field(default_factory=dict)
    image_names: Sequence[str] | None = None
    frames: Tensor | None = None
    covariance: Tensor | None = None

    @classmethod
    def of(
        cls,
        mean: Array,
        log_variance: Array | None = None,
        rotation: Array | None = None,
        index: Array | None = None,
        image_names: Sequence[str] | None = None,
        **labels: Array,
    ) -> InferredParticles:
        """Makes a table of arrays.

        Args:
            mean: Latents, shape (N, Z).
            log_variance: Logarithm of their variances, shape (N, Z), or None.
            rotation: Rotations, shape (N, 3, 3), or None.
            index: Rows of the particle file, shape (N,), or None.
            image_names: Names of the images, or None.
            **labels: What else is known of the particles, each (N, ...).

        Returns:
            The table.

        Raises:
            ValueError: If an array has another shape or a number is not finite.
        """
        latents = _checked("mean", mean)
        if latents.ndim != 2:
            raise ValueError(f"latents of shape (N, Z) expected, found {tuple(latents.shape)}")
        width, count = _optional("log_variance", log_variance), len(latents)
        if width is not None and width.shape != latents.shape:
            raise ValueError(
                f"log_variance must have the shape {tuple(latents.shape)} of the latents, found "
                f"{tuple(width.shape)}"
            )
        rotations = _optional("rotation", rotation)
        if rotations is not None and rotations.shape != (count, 3, 3):
            raise ValueError(
                f"rotations of shape ({count}, 3, 3) expected, as there are latents, found "
                f"{tuple(rotations.shape)}"
            )
        known = {name: _checked(name, array) for name, array in labels.items()}
        rows = None if index is None else torch.as_tensor(index, dtype=torch.int64)
        for name, each in {**known, "index": rows, "image_names": image_names}.items():
            if each is not None and len(each) != count:
                raise ValueError(f"{name} of {count} particles expected, found {len(each)}")
        return cls(latents, width, rotations, rows, known, image_names)

    @classmethod
    def joined(cls, parts: Sequence[InferredParticles]) -> InferredParticles:
        """Puts tables below each other.

        Args:
            parts: Tables of the same columns, without names of images and pairs of frames.

        Returns:
            One table.
        """
        first = parts[0]
        columns: dict[str, Any] = {
            column.name: torch.cat([getattr(part, column.name) for part in parts])
            for column in fields(cls)
            if isinstance(getattr(first, column.name), Tensor)
        }
        labels = {name: torch.cat([part.labels[name] for part in parts]) for name in first.labels}
        return cls(**columns, labels=labels)

    def __len__(self) -> int:
        """Number of particles."""
        return len(self.mean)

    @property
    def factors(self) -> Tensor | None:
        """True factors, shape (N, F), or None."""
        return self.labels.get("factors")

    def take(self, places: npt.NDArray[np.int64] | Tensor) -> InferredParticles:
        """Some of the particles.

        Args:
            places: Their places in this table, shape (S,).

        Returns:
            Their rows; pairs of frames are not kept.
        """
        at = torch.as_tensor(places, dtype=torch.int64)
        names = self.image_names
        return InferredParticles(
            self.mean[at],
            None if self.log_variance is None else self.log_variance[at],
            None if self.rotation is None else self.rotation[at],
            None if self.index is None else self.index[at],
            {name: values[at] for name, values in self.labels.items()},
            None if names is None else [names[place] for place in at.tolist()],
            covariance=None if self.covariance is None else self.covariance[at],
        )

    def with_labels(self, **labels: Tensor) -> InferredParticles:
        """The same with more labels, or others.

        Args:
            **labels: Labels, each (N, ...).

        Returns:
            A table that shares all else.
        """
        return replace(self, labels={**self.labels, **labels})

    def as_batch(self) -> ParticleBatch:
        """Returns the particles as a batch for metrics, without images.

        Returns:
            A batch; ``index`` counts from 0 where rows of a particle file are not known.
        """
        index = torch.arange(len(self)) if self.index is None else self.index
        known = {"index": index, **self.labels}
        if self.rotation is not None:
            known["rotation"] = self.rotation
        return cast("ParticleBatch", known)


def infer_particles(
    infer: Callable[[ParticleBatch], Inference],
    batches: Iterable[ParticleBatch],
    advance: Callable[[int], None] | None = None,
) -> InferredParticles:
    """Infers the latents of particles; images are not kept.

    Args:
        infer: Infers the posterior of single particles, as a model's ``infer``.
        batches: Single particles, or pairs of frames, which count one by one.
        advance: Called with the number of particles after each batch.

    Returns:
        One row a particle, in the order of the batches.

    Raises:
        ValueError: If there are no particles.
    """
    gathered = GatheredRows()
    paired = False
    for batch in batches:
        paired = batch["index"].ndim == 2
        particles = flatten_particles(batch)
        with torch.no_grad():
            found = infer(particles)
        gathered.add(_columns(particles, found))
        if advance is not None:
            advance(len(particles["index"]))
    columns = gathered.columns()
    if not columns:
        raise ValueError("there are no particles")
    return InferredParticles(
        columns["mean"],
        columns["log_variance"],
        columns.get("rotation"),
        columns["index"],
        {name: columns[name] for name in _KNOWN if name in columns},
        frames=torch.arange(len(columns["mean"])).reshape(-1, 2) if paired else None,
        covariance=columns.get("covariance"),
    )


def _columns(batch: ParticleBatch, found: Inference) -> dict[str, Tensor]:
    """What is kept of a batch."""
    known = cast("dict[str, Tensor]", batch)
    columns = {name: known[name] for name in ("index", "rotation", *_KNOWN) if name in known}
    if found.pose is not None:
        columns.setdefault("rotation", found.pose.rotation.float())
    if found.scale_tril is not None:
        columns["covariance"] = found.covariance.float()
    # NumPy, which draws and writes them, has no bfloat16.
    return columns | {"mean": found.mean.float(), "log_variance": found.log_variance.float()}


def _optional(name: str, array: Array | None) -> Tensor | None:
    return None if array is None else _checked(name, array)


def _checked(name: str, array: Array) -> Tensor:
    """An array of finite numbers as a tensor on the host, of single precision at most."""
    tensor = torch.as_tensor(array).detach().cpu()
    tensor = tensor.float() if tensor.is_floating_point() else tensor
    finite = tensor.isfinite()
    if not bool(finite.all()):
        row = int((~finite).nonzero()[0, 0])
        raise ValueError(f"{name} must be finite, row {row} is not")
    return tensor
