"""What particle tables say that this program cannot follow: refused or named, never passed over."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from cryo_disentangle.files.star import StarTable
from cryo_disentangle.particles.cryosparc import CryosparcParticles
from cryo_disentangle.particles.star import StarParticles

__all__ = ["refuse_tomography", "warn_of_corrections", "warn_of_ignored_columns"]

_TILT_STACKS = "_rlnTomoSubTomosAre2DStacks"
# Of subtomograms, and of the frames of movies.
_SERIES = ("_rlnCtfImage", "_rlnMovieFrameNumber")
_UNSUPPORTED = (
    "subtomograms, tilt series and movies are not supported, only images of single particles"
)
_MAGNIFICATION = {"_rlnMagMat00": 1, "_rlnMagMat01": 0, "_rlnMagMat10": 0, "_rlnMagMat11": 1}
_STAR_NUMBERS = {
    "_rlnBeamTiltX": 0,
    "_rlnBeamTiltY": 0,
    **_MAGNIFICATION,
    "_rlnOriginZ": 0,
    "_rlnOriginZAngst": 0,
}
_STAR_VECTORS = ("_rlnOddZernike", "_rlnEvenZernike")
_SAME_FOR_ALL = "_rlnNormCorrection"
_CRYOSPARC_NUMBERS = {
    "ctf/tilt_A": 0,
    "ctf/shift_A": 0,
    "ctf/trefoil_A": 0,
    "ctf/tetra_A": 0,
    "ctf/anisomag": 0,
    "ctf/bfactor": 0,
    "ctf/scale": 1,
}


def refuse_tomography(table: StarParticles) -> None:
    """Refuses tables of subtomograms, of stacks of tilts and of the tilts of tilt series.

    Args:
        table: Particles.

    Raises:
        ValueError: If it is one of them; says by which column.
    """
    for mark in _tomography_marks(table):
        raise ValueError(f"{table.path}: {mark}: {_UNSUPPORTED}")


def _tomography_marks(table: StarParticles) -> Iterator[str]:
    """Says what in a table is of tomography."""
    for other in (table.particles, *table.others.values()):
        if _TILT_STACKS in other:
            yield f"{_TILT_STACKS} in data_{other.name}"
    yield from _columns_of_series(table)
    if "_rlnImageDimensionality" in table:
        dimension = table.numbers("_rlnImageDimensionality")
        bad = np.flatnonzero(dimension != 2)
        if bad.size:
            yield f"row {bad[0] + 1}: _rlnImageDimensionality is {dimension[bad[0]]:g}, expected 2"
    if "_rlnCtfDataAreCtfCorrected" in table and table.numbers("_rlnCtfDataAreCtfCorrected").any():
        yield "_rlnCtfDataAreCtfCorrected is 1 and images have no CTF any more"
    if _is_single_tilts(table.particles):
        yield (
            "each _rlnGroupName is a series of images of one particle (_rlnCtfScalefactor goes "
            "down with the tilt), as Warp and M write single tilts"
        )


def _columns_of_series(table: StarParticles) -> Iterator[str]:
    """Says which columns of the particles only tomograms and movies have."""
    for part in (table.particles, table.optics):
        for label in () if part is None else part.labels:
            if label[4:8] == "Tomo" or label in _SERIES:
                yield f"{label} among the particles' columns"
    if "_rlnCoordinateZ" in table:
        depth = table.numbers("_rlnCoordinateZ")
        deep = np.flatnonzero(depth)
        if deep.size:
            yield f"row {deep[0] + 1}: _rlnCoordinateZ is {depth[deep[0]]:g}, as of a tomogram"


def _is_single_tilts(table: StarTable) -> bool:
    """Whether rows of a group are the tilts of one particle.

    Their scale factors fall with the tilt and their B factors grow with the dose, in the order of
    the rows, or each lies in another micrograph, of which a group of single particles has many in
    one.
    """
    group_label = next((g for g in ("_rlnGroupName", "_rlnGroupNumber") if g in table), None)
    if group_label is None or "_rlnCtfScalefactor" not in table:
        return False
    factors = table.numbers("_rlnCtfScalefactor")
    if (factors == factors[0]).all():
        return False
    group = np.unique(list(table.strings(group_label)), return_inverse=True)[1]
    order = np.argsort(group, kind="stable")
    same = np.diff(group[order]) == 0
    scale = np.abs(np.diff(factors[order])[same])
    # Tilts of a particle are many, and their scale never stays the same.
    if len(group) < 2 * (group.max() + 1) or not (scale > 0).mean() > 1 / 4:
        return False
    if "_rlnCtfBfactor" in table:
        steps = np.diff(table.numbers("_rlnCtfBfactor")[order])[same]
        if (steps > 0).all() or (steps < 0).all():
            return True
    if "_rlnMicrographName" not in table:
        return False
    micrograph = np.unique(list(table.strings("_rlnMicrographName")), return_inverse=True)[1]
    pairs = np.stack([group, micrograph])
    return np.unique(pairs, axis=1).shape[1] == len(group)


def warn_of_ignored_columns(table: StarParticles | CryosparcParticles) -> None:
    """Warns once, by name, which columns say something of images that no model here follows.

    Args:
        table: Particles.

    Raises:
        ValueError: If one of these columns holds no numbers.
    """
    find = _ignored_by_cryosparc if isinstance(table, CryosparcParticles) else _ignored_by_relion
    ignored = list(find(table))  # type: ignore[arg-type]  # each takes its own kind of table
    if ignored:
        warnings.warn(
            f"{table.path}: ignored: {', '.join(ignored)} (documentation: Limits)", stacklevel=5
        )


def warn_of_corrections(applied: npt.NDArray[np.int64] | None, source: str) -> None:
    """Warns once that images were corrected for their CTF, and what is done about it.

    Args:
        applied: What was done to each image, shape (N,), as in `ParticleBatch`; None for nothing.
        source: File that says so.
    """
    if applied is None:
        return
    for state, words in (
        (1, "had their phases flipped (_rlnCtfDataArePhaseFlipped): models take |CTF|"),
        (2, "were multiplied by their CTF (_rlnCtfDataAreCtfPremultiplied): models take CTF²"),
    ):
        count = int((applied == state).sum())
        if count:
            warnings.warn(f"{source}: {count} images {words}", stacklevel=5)


def _ignored_by_relion(table: StarParticles) -> Iterator[str]:
    """Labels whose values are not those of a plain CTF."""
    for label, plain in _STAR_NUMBERS.items():
        if label in table and (np.abs(table.numbers(label) - plain) > 1e-6).any():
            yield label
    yield from (label for label in _STAR_VECTORS if _is_vector_in_use(table, label))
    if _SAME_FOR_ALL in table:
        values = table.numbers(_SAME_FOR_ALL)
        if values.max() - values.min() > 1e-6:
            yield _SAME_FOR_ALL


def _is_vector_in_use(table: StarParticles, label: str) -> bool:
    """Whether a list of numbers is there and not all zeros."""
    optics = table.optics
    where = optics if optics is not None and label in optics else table.particles
    return label in where and any(set(text) & set("123456789") for text in where.strings(label))


def _ignored_by_cryosparc(table: CryosparcParticles) -> Iterator[str]:
    """Fields whose values are not those of a plain CTF."""
    for field, plain in _CRYOSPARC_NUMBERS.items():
        if field in table and (table[field] != plain).any():
            yield field
    for group in table.pose_groups():
        scale = f"{group}/alpha"
        if scale in table and (table[scale] != table[scale][0]).any():
            yield scale
