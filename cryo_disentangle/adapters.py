"""How a module and a training loop that know nothing of this package meet its contract."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from typing import Any, cast

from torch import Tensor, nn

from cryo_disentangle.types import Inference, ParticleBatch, Pose, observation

__all__ = ["AdaptedModel", "ModelAdapter", "adapt", "resolve_function"]

_Function = Callable[..., Any]
_STATISTICS = {"information", "precision", "index"}


class AdaptedModel:
    """A module seen as a `LatentImageModel`; `adapt` makes it.

    What the functions return is checked at every call: their shapes alone, which costs nothing.

    Args:
        module: The module.
        infer: Called with the module and single particles.
        generate: Called with the module, conformations, poses and single particles; None for a
            module that can't render, which some penalties and metrics don't ask for.
    """

    def __init__(self, module: nn.Module, infer: _Function, generate: _Function | None) -> None:
        self.module = module
        self._infer, self._generate = infer, generate

    def infer(self, batch: ParticleBatch) -> Inference:
        """Infers the posterior of the conformation, and the pose where the module does.

        Args:
            batch: B single particles.

        Returns:
            The posterior, mean (B, Z).

        Raises:
            TypeError: If the module's function returns something else.
        """
        found = self._infer(self.module, batch)
        return _as_inference(found, len(observation(batch)), _source(self._infer))

    def generate(self, conformation: Tensor, pose: Pose, batch: ParticleBatch) -> Tensor:
        """Renders noise-free images as the batch has them.

        Args:
            conformation: Shape (B, Z).
            pose: Poses of B particles.
            batch: B single particles.

        Returns:
            Images of the shape of ``batch["images"]``, or information vectors in their place.

        Raises:
            TypeError: If the module can't render, or its function returns something else.
        """
        images = self.renderer()(self.module, conformation, pose, batch)
        expected = tuple(observation(batch).shape)
        if not isinstance(images, Tensor) or tuple(images.shape) != expected:
            raise TypeError(
                f"{_source(self.renderer())} must return images as the batch has them, a tensor "
                f"of shape {expected}, found {_describe(images)}"
            )
        return images

    @property
    def can_generate(self) -> bool:
        """Whether the module can render."""
        return self._generate is not None

    def renderer(self) -> _Function:
        """The function that renders.

        Returns:
            A function of module, conformation, pose and batch.

        Raises:
            TypeError: If the module can't render.
        """
        if self._generate is None:
            raise TypeError(
                f"{type(self.module).__name__} has no generate(conformation, pose, batch): give "
                "generate, a function of (module, conformation, pose, batch) that returns images, "
                "or its dotted name"
            )
        return self._generate


def adapt(
    module: nn.Module,
    infer: str | _Function | None = None,
    generate: str | _Function | None = None,
) -> AdaptedModel:
    """Makes a `LatentImageModel` of any module.

    Args:
        module: A module of anybody's.
        infer: Function of (module, batch), ``batch`` a `ParticleBatch` of B single particles, that
            returns an `Inference`, or mean and log-variance of the conformation, each (B, Z), and
            where the module infers poses also rotations (B, 3, 3), or rotations and translations.
            Or its dotted name, ``package.module.function``. None takes ``module.infer(batch)``.
        generate: Function of (module, conformation, pose, batch) that returns noise-free images of
            the shape of ``batch["images"]``; or its dotted name. None takes
            ``module.generate(conformation, pose, batch)``, where there is one.

    Returns:
        The module with ``infer`` and ``generate``.

    Raises:
        TypeError: If a dotted name can't be imported, what it names can't be called, or the module
            has no ``infer`` and none is given.
    """
    inferring = resolve_function(infer, "infer") or _method(module, "infer")
    if inferring is None:
        raise TypeError(
            f"{type(module).__name__} has no infer(batch): give infer, a function of (module, "
            "batch) that returns (mean, log_variance), or its dotted name"
        )
    generating = resolve_function(generate, "generate") or _method(module, "generate")
    return AdaptedModel(module, inferring, generating)


class ModelAdapter:
    """Functions through which a callback reaches a model of any training loop.

    Args:
        infer: As for `adapt`.
        generate: As for `adapt`.
        as_batch: Function that makes a `ParticleBatch`, of single particles or pairs of frames, of
            what the loop's data loader delivers; or its dotted name. None takes the loop's batch,
            which then must be one.

    Raises:
        TypeError: If a dotted name can't be imported, or what it names can't be called.
    """

    def __init__(
        self,
        infer: str | _Function | None = None,
        generate: str | _Function | None = None,
        as_batch: str | _Function | None = None,
    ) -> None:
        self._infer = resolve_function(infer, "infer")
        self._generate = resolve_function(generate, "generate")
        self._as_batch = resolve_function(as_batch, "as_batch")

    def model(self, module: nn.Module) -> AdaptedModel:
        """Adapts a module.

        Args:
            module: The loop's module.

        Returns:
            The module with ``infer`` and ``generate``.

        Raises:
            TypeError: If it has no ``infer`` and none was given.
        """
        return adapt(module, self._infer, self._generate)

    def batch(self, batch: object) -> ParticleBatch:
        """Makes particles of a batch.

        Args:
            batch: What the loop's data loader delivers, on the module's device.

        Returns:
            Particles (B, ...) or pairs of frames (B, 2, ...).

        Raises:
            TypeError: If these are no particles.
        """
        particles = batch if self._as_batch is None else self._as_batch(batch)
        if not isinstance(particles, Mapping) or not any(
            kind <= set(particles) for kind in ({"images", "index"}, _STATISTICS)
        ):
            raise TypeError(
                'a batch must be a mapping with "images" and "index" (a ParticleBatch), found '
                f"{_describe(particles)}: give as_batch, a function that makes one of the loop's "
                "batch, or its dotted name"
            )
        seen, index = observation(cast(ParticleBatch, particles)), particles["index"]
        # An information vector stands for the image's two axes.
        images = seen[..., None] if "information" in particles else seen
        if images.ndim != index.ndim + 2 or images.shape[: index.ndim] != index.shape:
            raise TypeError(
                "a batch must have images (B, L, L) and index (B,), or (B, 2, L, L) and (B, 2) for "
                f"pairs of frames, found {tuple(seen.shape)} and {tuple(index.shape)}"
            )
        return cast(ParticleBatch, particles)


def resolve_function(function: str | _Function | None, argument: str) -> _Function | None:
    """Finds a function that may be given by its dotted name.

    Args:
        function: The function, ``package.module.function``, or None.
        argument: What the function was given as, for messages.

    Returns:
        The function, or None of None.

    Raises:
        TypeError: If the name can't be imported, or what it names can't be called.
    """
    found: object = function
    if isinstance(function, str):
        try:
            found = pkgutil.resolve_name(function)
        except (ImportError, AttributeError, ValueError) as error:
            raise TypeError(
                f"{argument}: cannot import {function!r}, the dotted name package.module.function "
                f"of a function on Python's path was expected: {error}"
            ) from error
    if found is not None and not callable(found):
        raise TypeError(
            f"{argument} must be a function or its dotted name, found {function!r}, "
            f"{_describe(found)}"
        )
    return found


def _method(module: nn.Module, name: str) -> _Function | None:
    """A method as a function of the module and the rest."""
    if not callable(getattr(module, name, None)):
        return None

    def call(module: nn.Module, *arguments: object) -> object:
        return getattr(module, name)(*arguments)

    call.__qualname__ = f"{type(module).__name__}.{name}"
    return call


def _as_inference(found: object, count: int, source: str) -> Inference:
    """What a module's function returned for ``count`` particles, as an `Inference`."""
    if not isinstance(found, tuple | list) or len(found) not in (2, 3, 4):
        raise TypeError(
            f"{source} must return an Inference, (mean, log_variance) or (mean, log_variance, "
            f"pose), found {_describe(found)}"
        )
    mean, log_variance = found[:2]
    tensors = isinstance(mean, Tensor) and isinstance(log_variance, Tensor)
    if not tensors or mean.ndim != 2 or len(mean) != count or mean.shape != log_variance.shape:
        raise TypeError(
            f"{source} must return mean and log_variance of shape ({count}, Z) for {count} "
            f"particles, found {_describe(mean)} and {_describe(log_variance)}"
        )
    pose = _as_pose(found[2] if len(found) > 2 else None, count, source)
    scale_tril = found[3] if len(found) == 4 else None
    if scale_tril is not None and scale_tril.shape != (*mean.shape, mean.shape[1]):
        raise TypeError(
            f"{source} must return scale_tril of shape {(*mean.shape, mean.shape[1])}, found "
            f"{_describe(scale_tril)}"
        )
    return Inference(mean, log_variance, pose, scale_tril)


def _as_pose(found: object, count: int, source: str) -> Pose | None:
    """An inferred pose: none, rotations, or rotations and translations."""
    if found is None:
        return None
    pair: Any = found if isinstance(found, tuple | list) and len(found) in (2, 3) else (found, None)
    rotation, translation = pair[:2]
    right = isinstance(rotation, Tensor) and rotation.shape == (count, 3, 3)
    moved = isinstance(translation, Tensor) and translation.shape == (count, 2)
    if not right or not (translation is None or moved):
        raise TypeError(
            f"{source} must return poses as rotations ({count}, 3, 3), or as rotations and "
            f"translations ({count}, 2), for {count} particles, found {_describe(rotation)} and "
            f"{_describe(translation)}"
        )
    return Pose(rotation, translation)


def _source(function: _Function) -> str:
    """What to call a function in a message."""
    return getattr(function, "__qualname__", None) or repr(function)


def _describe(thing: object) -> str:
    """What something is, in a message."""
    if isinstance(thing, Tensor):
        return f"a tensor of shape {tuple(thing.shape)}"
    if thing is None:
        return "None"
    if isinstance(thing, Mapping):
        return f"{type(thing).__name__} with keys {sorted(map(str, thing))}"
    return type(thing).__name__
