"""``cryo-disentangle inspect``: a first look at a particle stack, before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.figure import Figure

from cryo_disentangle.drawing.stack import draw_stack
from cryo_disentangle.files.paths import replacing
from cryo_disentangle.geometry.rotations import rotation_to_euler_zyz
from cryo_disentangle.options.commands import inspect_parser
from cryo_disentangle.particles import ParticleStack

__all__ = ["StackSummary", "inspect_command", "inspect_stack"]

Array = npt.NDArray[np.floating]

_SAMPLE, _PICTURED = 500, 5
# Radii, in halves of the box, of the disc that a particle fills and of the ring around it.
_CENTRE, _RING = 0.5, (0.85, 1.0)
# Standard errors beyond which the sign of the contrast is told.
_SURE = 5.0
# Particles for each cell of the map of views, and the most cells.
_PER_CELL, _CELLS = 10, 288
# Of more particles views are those of some, evenly spread.
_MOST_VIEWS = 200_000
# Shares of the views' cells that are told as odd.
_FEW_VIEWS = 0.5
_FAR_SHIFT = 0.25
# An image is odd whose standard deviation differs so many times from the median's spread.
_OUTLYING = 10.0


@dataclass(frozen=True)
class StackSummary:
    """What a first look at a stack finds.

    Attributes:
        lines: What is known, by what it is about.
        odd: What is unusual, a sentence each.
    """

    lines: dict[str, str]
    odd: list[str]

    def __str__(self) -> str:
        width = max(map(len, self.lines))
        told = [f"  {name:{width}}  {text}" for name, text in self.lines.items()]
        told += [f"  {'odd':{width}}  {text}" for text in self.odd or ["nothing"]]
        return "\n".join(told)


def inspect_stack(stack: ParticleStack) -> StackSummary:
    """Looks at a stack: contrast, defocus, views, shifts, and what is odd.

    Args:
        stack: The particles; about 500 images are read, evenly spread.

    Returns:
        What was found.
    """
    images = _sample(stack)
    lines = {"particles": _size(stack)}
    odd = list(_odd_images(images))
    lines["contrast"], about = _contrast(
        images[_usable(images)], stack.positive, has_ctf=stack.ctf is not None
    )
    odd += about
    for name, told in (("defocus", _defocus(stack)), ("views", _views(stack))):
        if told is None:
            lines[name] = "not known"
            odd.append(f"{'no CTF' if name == 'defocus' else 'no poses'} in {stack.path.name}")
        else:
            lines[name] = told[0]
            odd += told[1]
    if stack.translation is not None:
        lines["shifts"], about = _shifts(stack.translation, stack.box_size)
        odd += about
    labels = stack.labels.known()
    if labels:
        lines["labels"] = ", ".join(labels)
    return StackSummary(lines, odd)


def inspect_command(args: Sequence[str] | None = None) -> None:
    """Runs ``cryo-disentangle inspect``.

    Args:
        args: Words after the command's name; None takes the process's own.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is damaged, or has no particles.
    """
    options = inspect_parser().parse_args(args)
    files = {name: getattr(options, name) for name in ("poses", "ctf", "labels", "indices")}
    stack = ParticleStack.open(options.particles, datadir=options.datadir, **files)
    if not len(stack):
        raise ValueError(f"{options.particles}: expected particles, found none")
    print(f"{options.particles}\n{inspect_stack(stack)}")
    out = options.out or Path(f"{options.particles.stem}_inspection.png")
    with replacing(out) as temporary:
        _picture(stack).savefig(temporary, format="png", dpi=130)
    print(f"Picture: {out}")
    given = {"particles": options.particles, **files, "datadir": options.datadir}
    words = " ".join(f"--data.{name} {value}" for name, value in given.items() if value)
    config = "particles.yaml" if stack.rotation is not None else "two_arm_pose_vae.yaml"
    print(f"Next:    cryo-disentangle fit --config {config} {words}")


def _sample(stack: ParticleStack) -> npt.NDArray[np.float32]:
    """Images evenly spread, bad ones as NaN."""
    count = min(len(stack), _SAMPLE)
    return stack.tolerant().read(np.arange(count) * len(stack) // count)


def _usable(images: Array) -> npt.NDArray[np.bool_]:
    return np.asarray(np.isfinite(images).all((1, 2)))


def _size(stack: ParticleStack) -> str:
    side, pixel = stack.box_size, stack.pixel_size
    return f"{len(stack):,} of {side} px, {pixel:.4g} Å per px (box {side * pixel:.4g} Å)"


def _odd_images(images: Array) -> Iterator[str]:
    """Images that are not like the others."""
    usable = _usable(images)
    if not usable.all():
        bad = int((~usable).sum())
        yield f"{bad} of {len(images)} inspected images are constant or not finite"
    if usable.sum() < 3:
        return
    spread = np.log(images[usable].std((1, 2)))
    middle = np.median(spread)
    usual = 1.4826 * np.median(np.abs(spread - middle))
    far = int((np.abs(spread - middle) > _OUTLYING * max(usual, 1e-3)).sum())
    if far:
        yield f"{far} of {len(images)} inspected images have an unusual standard deviation"


def _contrast(images: Array, told: bool | None, *, has_ctf: bool) -> tuple[str, list[str]]:
    """The sign of the contrast as measured, in words, and what is odd about it.

    Our CTF is negative at low frequency: what training takes, inverted or not, must then be dark,
    and bright where no CTF is known.
    """
    says = {None: "the file does not say", True: "blob/sign is +1", False: "blob/sign is -1"}
    if not len(images):
        return f"not measured; {says[told]}", []
    side = images.shape[-1]
    x = (np.arange(side) - side // 2) / (side / 2)
    radius = np.hypot(x[:, None], x[None])
    centre, ring = radius < _CENTRE, (radius >= _RING[0]) & (radius <= _RING[1])
    edge = images[:, ring]
    step = (images[:, centre].mean(1) - edge.mean(1)) / np.where(edge.std(1) > 0, edge.std(1), 1)
    error = float(step.std() / np.sqrt(len(step))) or 1e-12
    mean = float(step.mean())
    measured = f"centre {mean:+.2g} ± {error:.1g} standard deviations"
    if abs(mean) < _SURE * error:
        return f"not clear ({measured}); {says[told]}", []
    word = "bright" if mean > 0 else "dark"
    odd = []
    inverts = not told
    if (mean > 0) == (inverts != has_ctf):
        does = "inverts images" if inverts else "does not invert images"
        why = "where the file does not say" if told is None else f"whose {says[told]}"
        other = str(not inverts).lower()
        odd.append(
            f"particles are {word}, and fit {does} {why}: volumes come out negative without "
            f"--data.invert {other} (of images: --data.preprocessing.invert {other})"
        )
    return f"particles are {word} ({measured}); {says[told]}", odd


def _defocus(stack: ParticleStack) -> tuple[str, list[str]] | None:
    """The microscope's values, and what is odd about them."""
    if stack.ctf is None:
        return None
    ctf = stack.ctf.astype(float)
    defocus = ctf[:, 2:4].mean(1) / 1e4
    low, high = np.percentile(defocus, (2.5, 97.5))
    values = ", ".join(
        f"{'/'.join(f'{value:.4g}' for value in np.unique(np.round(ctf[:, k], 3))[:4])}{unit}"
        for k, unit in ((5, " kV"), (6, " mm Cs"), (7, " amplitude contrast"))
    )
    odd = []
    under = int((defocus < 0).sum())
    if under:
        odd.append(f"{under:,} particles are overfocused (negative defocus)")
    return f"{low:.2f} to {high:.2f} µm (95 % of particles), {values}", odd


def _views(stack: ParticleStack) -> tuple[str, list[str]] | None:
    """How evenly viewing directions are distributed, and what is odd about them."""
    if stack.rotation is None:
        return None
    rotation = stack.rotation[:: max(1, len(stack) // _MOST_VIEWS)]
    rot, tilt = _angles(rotation).T
    cells = int(np.clip(len(rot) // _PER_CELL, 1, _CELLS))
    across = max(1, int(np.sqrt(2 * cells)))
    down = max(1, cells // across)
    counts, *_ = np.histogram2d(
        rot, np.cos(np.deg2rad(tilt)), bins=(across, down), range=[[-180, 180], [-1, 1]]
    )
    share = counts[counts > 0] / counts.sum()
    # As many even cells have the same entropy.
    covered = float(np.exp(-(share * np.log(share)).sum())) / counts.size
    odd = []
    if covered < _FEW_VIEWS:
        odd.append(
            f"views are uneven, as if from {100 * covered:.0f} % of directions: maps may be smeared"
        )
    if len(rot) > 1 and float(np.abs(rotation - rotation[:1]).max()) < 1e-6:
        odd.append("all particles have the same pose")
    return f"spread as over {100 * covered:.0f} % of all directions", odd


def _angles(rotation: npt.NDArray[np.float32]) -> Array:
    """Angles rot and tilt in degrees, shape (N, 2)."""
    return rotation_to_euler_zyz(torch.from_numpy(rotation))[:, :2].numpy()


def _shifts(translation: npt.NDArray[np.float32], side: int) -> tuple[str, list[str]]:
    length = np.linalg.norm(translation.astype(float), axis=1)
    far = int((length > _FAR_SHIFT * side).sum())
    odd = [f"{far:,} particles are shifted by more than a quarter of the box"] if far else []
    rms = float(np.sqrt((length**2).mean()))
    return f"{rms:.2g} px root mean square, at most {length.max():.2g} px", odd


def _picture(stack: ParticleStack) -> Figure:
    """A few images, their mean, views and defocus."""
    images = _sample(stack)
    images = images[_usable(images)]
    if not len(images):
        raise ValueError(f"{stack.path}: expected images, found only constant or infinite ones")
    angles = None if stack.rotation is None else _angles(stack.rotation)
    defocus = None if stack.ctf is None else stack.ctf[:, 2:4].mean(1) / 1e4
    return draw_stack(images[:_PICTURED], images.mean(0), stack.pixel_size, angles, defocus)
