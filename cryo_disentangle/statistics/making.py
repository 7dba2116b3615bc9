"""Makes a folder of statistics from a particle stack: subspace, pass, poses and report."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cryo_disentangle.files import write_volume
from cryo_disentangle.files.paths import replacing
from cryo_disentangle.particles import ParticleStack
from cryo_disentangle.particles.dataset import ParticleDataset
from cryo_disentangle.statistics.checks import Calibration, HeldOutGains
from cryo_disentangle.statistics.estimation import (
    Estimate,
    adopt,
    estimate,
)
from cryo_disentangle.statistics.folder import SUBSPACE, StatisticsFolder
from cryo_disentangle.statistics.gathering import Gathering
from cryo_disentangle.statistics.mean import HalfMaps
from cryo_disentangle.statistics.origin import StatisticsOrigin, digest_particles
from cryo_disentangle.statistics.pictures import draw_correlations, draw_gains, save_picture
from cryo_disentangle.statistics.poses import PoseErrors, corrected_poses, write_refined_poses
from cryo_disentangle.statistics.posterior import Coefficients
from cryo_disentangle.statistics.processes import process, wait_for_all
from cryo_disentangle.statistics.searching import search_poses
from cryo_disentangle.statistics.settings import Progress, SubspaceSettings
from cryo_disentangle.statistics.subspace import Subspace
from cryo_disentangle.statistics.views import open_images
from cryo_disentangle.statistics.writing import StatisticsWriter
from cryo_disentangle.types import Pose

__all__ = ["ParticleRows", "make_statistics"]

_ESTIMATE, _POSES = "estimate.pt", "poses.pt"
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class ParticleRows:
    """Which particles of a file are at hand.

    Args:
        images: The selected ones.
        index: Row of each in the particle file, shape (N,), int64.
        total: Number of particles in the file.
    """

    images: ParticleDataset
    index: npt.NDArray[np.int64]
    total: int


def half_sets(count: int, seed: int) -> Tensor:
    """Assigns particles to two halves at random.

    Args:
        count: Number N of particles.
        seed: The halves are a function of this and ``count`` alone.

    Returns:
        0 or 1, shape (N,), int64.
    """
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    return order % 2


def known_half_sets(stack: ParticleStack, seed: int) -> tuple[Tensor, str]:
    """Assigns particles to two halves: those of the refinement if files have them, else at random.

    Args:
        stack: The particles.
        seed: As for `half_sets`.

    Returns:
        0 or 1, shape (N,), int64, and where that comes from, in words.

    Raises:
        ValueError: If files have other than two.
    """
    given = stack.half_sets
    known = None if given is None else given.halves()
    if given is not None and known is not None:
        return torch.from_numpy(known), f"as in {given.source}"
    why = "no file has any" if given is None else f"only one in {given.source}"
    return half_sets(len(stack), seed), f"drawn at random ({why})"


def make_statistics(
    particles: ParticleRows,
    out: Path,
    settings: SubspaceSettings,
    progress: Progress,
    source: Tensor | Coefficients | None = None,
    device: torch.device = _CPU,
) -> StatisticsFolder | None:
    """Estimates a subspace and writes particles' statistics in it.

    An interrupted call is resumed: the subspace is kept beside ``out`` until the end.
    Several processes of torch.distributed share the particles.

    Args:
        particles: The particles.
        out: Folder to be written.
        settings: How.
        progress: Receives the progress.
        source: What the subspace comes from, where not from the images alone: a mean and volumes
            from elsewhere, up to a factor, shape (K + 1, D, D, D), axes z, y, x; or the
            particles' coefficients, which volumes are fitted to.
        device: Where the work is done.

    Returns:
        The folder, in the first process; None in others.

    Raises:
        ValueError: If the particles have no poses, or do not support what is asked for.
        OSError: If the folder can't be written to.
    """
    kept = _kept_beside(out)
    half, origin = known_half_sets(particles.images.stack, settings.seed)
    progress.say(f"half sets {origin}: {int((half == 0).sum())} and {int(half.sum())} particles")
    started = time.perf_counter()
    images, probability = _posed(particles.images, half, settings, kept, progress)
    found = _estimated(images, half, settings, kept, progress, source, device)
    seconds = {"subspace": time.perf_counter() - started}
    started = time.perf_counter()
    writer, poses = _prepared(particles, images.stack, half, settings, found, out)
    progress.start("statistics", -(-len(writer.missing) // process()[1]))
    first, second = (subspace.to(device) for subspace in found.halves)
    gathering = Gathering((first, second), settings.nuisance)
    gathering.run(images, half, found.error, writer, poses, progress.advance)
    wait_for_all()
    seconds["statistics"] = time.perf_counter() - started
    if process()[0]:
        return None
    _write_findings(writer.partial, found, settings, seconds)
    if poses is not None:
        errors = poses.read()
        write_refined_poses(writer.partial, images.stack, settings.nuisance, *errors, probability)
    folder = writer.finish()
    shutil.rmtree(kept, ignore_errors=True)
    return folder


def _kept_beside(out: Path) -> Path:
    """Where the subspace is kept while statistics are made."""
    return out.with_name(f".{out.name}.subspace")


def _posed(
    images: ParticleDataset,
    half: Tensor,
    settings: SubspaceSettings,
    kept: Path,
    progress: Progress,
) -> tuple[ParticleDataset, Tensor | None]:
    """The images at the poses that a search finds, where one is asked for, and how sure it is."""
    if not settings.search.wanted:
        return images, None
    key, path = _key(images, half, settings), kept / _POSES
    left = torch.load(path, map_location="cpu", weights_only=True) if path.is_file() else {}
    if left.get("key") != key:
        pose, probability = search_poses(images, half, settings, progress)
        left = {
            "key": key,
            "rotation": pose.rotation,
            "translation": pose.translation,
            "probability": probability,
        }
        _keep(left, path)
    invert = getattr(images.preprocessing, "invert", True)
    stack = images.stack.posed(Pose(left["rotation"], left["translation"]))
    moved = open_images(stack, invert=invert, norm=images.preprocessing.fitted_norm[1])
    return moved, left["probability"]


def _key(
    images: ParticleDataset,
    half: Tensor,
    settings: SubspaceSettings,
    source: Tensor | Coefficients | None = None,
) -> str:
    """Names what an interrupted call has made by what it was made of."""
    digest = hashlib.sha256(
        f"{digest_particles(images.stack)} {settings} {images.preprocessing}".encode()
    )
    digest.update(half.numpy().tobytes())
    for part in source if isinstance(source, Coefficients) else (source,):
        if part is not None:
            digest.update(part.numpy().tobytes())
    return digest.hexdigest()


def _keep(values: dict[str, Any], path: Path) -> None:
    """Keeps values for a call that goes on with an interrupted one; the first process does."""
    if not process()[0]:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            torch.save(values, temporary)


def _prepared(
    particles: ParticleRows,
    posed: ParticleStack,
    half: Tensor,
    settings: SubspaceSettings,
    found: Estimate,
    out: Path,
) -> tuple[StatisticsWriter, PoseErrors | None]:
    """What takes the statistics, and the errors of poses; the first process makes the files."""
    stack, nuisance = particles.images.stack, settings.nuisance
    origin = StatisticsOrigin(
        subspace=found.merged.digest,
        noise=tuple(found.merged.noise.tolist()),
        particles=str(stack.path),
        digest=digest_particles(stack),
        n_particles=particles.total,
        box_size=stack.box_size,
        pixel_size=stack.pixel_size,
    )
    rotation = corrected_poses(posed, nuisance, found.error).rotation.numpy()
    rank = found.merged.rank
    if process()[0]:
        wait_for_all()
    writer = StatisticsWriter(out, origin, particles.index, half.numpy(), rotation, rank)
    poses = None
    if nuisance.pose_count:
        poses = PoseErrors(writer.partial, len(half), nuisance.count)
    if not process()[0]:
        wait_for_all()
    return writer, poses


def _estimated(
    images: ParticleDataset,
    half: Tensor,
    settings: SubspaceSettings,
    kept: Path,
    progress: Progress,
    source: Tensor | Coefficients | None,
    device: torch.device,
) -> Estimate:
    """The subspace, as an interrupted call left it or estimated now."""
    key = _key(images, half, settings, source)
    path = kept / _ESTIMATE
    if path.is_file():
        left = torch.load(path, map_location="cpu", weights_only=True)
        if left["key"] == key:
            return _unpacked(left)
    if isinstance(source, Tensor):
        found = adopt(images, half, source, settings, progress, device)
    else:
        found = estimate(images, half, settings, progress, device, source)
    _keep({"key": key, **_packed(found)}, path)
    return found


def _packed(found: Estimate) -> dict[str, Any]:
    """An estimate as plain values."""
    values: dict[str, Any] = {name: found._asdict()[name] for name in ("error", "correlation")}
    values |= {name: tuple(found._asdict()[name]) for name in ("maps", "gains", "checked")}
    subspaces = [*found.halves, found.merged]
    names = Subspace.__dataclass_fields__
    values["subspaces"] = [{name: getattr(each, name) for name in names} for each in subspaces]
    return values


def _unpacked(values: dict[str, Any]) -> Estimate:
    """Inverts `_packed`."""
    first, second, merged = (Subspace(**each) for each in values["subspaces"])
    return Estimate(
        (first, second),
        merged,
        values["error"],
        HalfMaps(*values["maps"]),
        values["correlation"],
        HeldOutGains(*values["gains"]),
        Calibration(*values["checked"]),
    )


def _write_findings(
    folder: Path, found: Estimate, settings: SubspaceSettings, seconds: dict[str, float]
) -> None:
    """Writes volumes, pictures and what was found beside the statistics."""
    merged = found.merged
    merged.save(folder / SUBSPACE)
    volumes = merged.volumes().numpy()
    for number, volume in enumerate(volumes):
        name = f"volume_{number}.mrc" if number else "mean.mrc"
        write_volume(folder / name, volume, merged.pixel_size)
    for number, half in enumerate(found.halves, start=1):
        write_volume(folder / f"half{number}_mean.mrc", half.volumes()[0], merged.pixel_size)
    save_picture(draw_gains(found.gains, merged.rank), folder / "held_out_gain.png")
    side = merged.box_size * merged.pixel_size
    picture = draw_correlations(found.maps.correlation, found.correlation, side)
    save_picture(picture, folder / "fsc.png")
    report = {
        "rank": merged.rank,
        "radius": merged.radius,
        "settings": asdict(settings),
        "held_out_gain": found.gains.gain.tolist(),
        "held_out_gain_standard_error": found.gains.deviation.tolist(),
        "mean_fsc": found.maps.correlation.tolist(),
        "calibration": found.checked._asdict(),
        "seconds": seconds,
    }
    with replacing(folder / "report.json") as temporary:
        temporary.write_text(json.dumps(report, indent=2), encoding="utf-8")
