"""What statistics were made of, so that they are not used for other particles."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from cryo_disentangle.particles import ParticleStack

__all__ = ["StatisticsOrigin", "digest_particles", "read_origin", "write_origin"]

_LOOKED_AT = 16


@dataclass(frozen=True)
class StatisticsOrigin:
    """Origin of statistics: particles, subspaces and settings.

    Args:
        subspace: Digest of the volumes, in hexadecimal.
        noise: Variance of the noise in each shell of the transform, in normalised units.
        particles: Particle file.
        digest: `digest_particles` of the particles that were read.
        n_particles: Number of particles in the file, selected or not.
        box_size: Image side D in pixels.
        pixel_size: Å per pixel.
    """

    subspace: str
    noise: tuple[float, ...]
    particles: str
    digest: str
    n_particles: int
    box_size: int
    pixel_size: float


def digest_particles(stack: ParticleStack) -> str:
    """Names particles by their content: poses, CTF and some images.

    Args:
        stack: The particles that statistics are made of, as selected.

    Returns:
        SHA-256 of number, box and pixel size, poses, CTF, place in the files, and the pixels of 16
        images evenly spaced, in hexadecimal; the same wherever the files lie.
    """
    digest = hashlib.sha256(f"{len(stack)} {stack.box_size} {stack.pixel_size:.6g}".encode())
    for values in (stack.rotation, stack.translation, stack.ctf):
        digest.update(b"none" if values is None else np.ascontiguousarray(values).tobytes())
    for name, terms in stack.ctf_terms.known().items():
        digest.update(name.encode() + np.ascontiguousarray(terms).tobytes())
    rows = np.unique(np.linspace(0, len(stack) - 1, _LOOKED_AT).astype(np.int64))
    digest.update(np.ascontiguousarray(stack.tolerant().read(rows)).tobytes())
    return digest.hexdigest()


def write_origin(path: Path, origin: StatisticsOrigin) -> None:
    """Writes an origin as JSON.

    Args:
        path: File to be written.
        origin: What the statistics are made of.
    """
    path.write_text(json.dumps(asdict(origin), indent=2), encoding="utf-8")


def read_origin(path: Path) -> StatisticsOrigin:
    """Reads what `write_origin` wrote.

    Args:
        path: The file.

    Returns:
        The origin.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds anything else.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; is {path.parent} a folder of statistics?")
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return StatisticsOrigin(
            subspace=str(found["subspace"]),
            noise=tuple(float(value) for value in found["noise"]),
            particles=str(found["particles"]),
            digest=str(found["digest"]),
            n_particles=int(found["n_particles"]),
            box_size=int(found["box_size"]),
            pixel_size=float(found["pixel_size"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        names = ", ".join(field.name for field in fields(StatisticsOrigin))
        raise ValueError(
            f"{path}: expected a JSON object with {names}, found otherwise: "
            f"{type(error).__name__} {error}"
        ) from error
