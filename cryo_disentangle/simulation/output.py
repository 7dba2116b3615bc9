"""A simulation as files that RELION and cryoDRGN read."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import overload

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from cryo_disentangle.files.paths import replacing
from cryo_disentangle.files.stacks import MrcsWriter
from cryo_disentangle.particles.export import write_particles_star
from cryo_disentangle.particles.pickles import write_ctf, write_poses
from cryo_disentangle.simulation.configuration import dump_yaml, molecule_yaml, to_configuration
from cryo_disentangle.simulation.contact_sheet import draw_contact_sheet
from cryo_disentangle.simulation.images import SimulatedImages
from cryo_disentangle.simulation.particles import Particles

__all__ = ["simulate_chunks", "write_simulation"]

_STACK = "particles.mrcs"
_CONFIGURATION = "simulation.yaml"
_SIDE_FILES = (
    "particles.star",
    "poses.pkl",
    "ctf.pkl",
    "truth.npz",
    "molecule.yaml",
    "contact_sheet.png",
)
_ROWS_PER_BLOCK = 2**16


def write_simulation(simulation: SimulatedImages, out: Path, overwrite: bool) -> None:
    """Writes a simulation to a folder; ``particles.mrcs`` appears last.

    The unfinished stack is ``particles.mrcs.partial``. A run that finds it beside the same
    ``simulation.yaml`` goes on after its last whole image.

    Args:
        simulation: What to write.
        out: Folder, made where absent.
        overwrite: Whether to replace what another simulation left there.

    Raises:
        FileExistsError: If the folder holds another, or a finished, simulation.
    """
    configuration = dump_yaml(to_configuration(simulation)["init_args"])
    out.mkdir(parents=True, exist_ok=True)
    _claim(out, configuration, overwrite)
    # Calibrated before the threads start, which would each do it again.
    _ = simulation.noise_std
    writer = MrcsWriter(out / _STACK, simulation.box_size, simulation.pixel_size, resume=True)
    with writer:
        with _progress() as progress:
            task = progress.add_task("simulate", total=simulation.n_images)
            progress.update(task, completed=writer.n_written)
            for images in simulate_chunks(simulation, writer.n_written):
                writer.write(images.numpy())
                progress.update(task, completed=writer.n_written)
        _write_side_files(simulation, out)


def _claim(out: Path, configuration: str, overwrite: bool) -> None:
    """Takes a folder that is empty, holds the same unfinished simulation, or may be overwritten."""
    names = (_STACK, f"{_STACK}.partial", _CONFIGURATION, *_SIDE_FILES)
    present = [name for name in names if (out / name).exists()]
    settings = out / _CONFIGURATION
    same = settings.is_file() and settings.read_text(encoding="utf-8") == configuration
    unfinished = _STACK not in present
    if present and not overwrite and not (same and unfinished):
        state = "a finished" if same else "another"
        raise FileExistsError(
            f"{out} already holds {state} simulation ({present[0]}); choose another folder or "
            "overwrite it (--overwrite)"
        )
    if overwrite:
        # The stack goes first: without it the folder is no finished simulation.
        for name in present:
            (out / name).unlink()
    with replacing(settings) as temporary:
        temporary.write_text(configuration, encoding="utf-8")


def _progress() -> Progress:
    """A bar with images done, of how many, and time left."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


def simulate_chunks(simulation: SimulatedImages, first: int = 0) -> Iterator[Tensor]:
    """Simulates the stack, in order, a few chunks side by side.

    Args:
        simulation: What to simulate.
        first: First particle.

    Yields:
        Images of the particles that follow, shape (B, D, D), float32.
    """
    size, total = simulation.chunk_size, simulation.n_images

    def render(start: int) -> Tensor:
        return simulation.images(simulation.stack_draws(start, min(size, total - start)))[0]

    threads = torch.get_num_threads()
    # One thread for a chunk: threads that share each small operation wait for one another.
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        waiting: deque[Future[Tensor]] = deque()
        try:
            for start in range(first, total, size):
                waiting.append(pool.submit(render, start))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
            torch.set_num_threads(threads)


def _describe_all(simulation: SimulatedImages) -> Particles:
    """What is true of every particle of the stack."""
    blocks = [
        simulation.describe(
            simulation.stack_draws(start, min(_ROWS_PER_BLOCK, simulation.n_images - start))
        )
        for start in range(0, simulation.n_images, _ROWS_PER_BLOCK)
    ]
    return Particles(
        *(
            None if parts[0] is None else torch.cat([p for p in parts if p is not None])
            for parts in zip(*blocks, strict=True)
        )  # type: ignore[arg-type]  # which fields are None is the same in every block
    )


def _write_side_files(simulation: SimulatedImages, out: Path) -> None:
    """Writes all but the stack."""
    particles = _describe_all(simulation)
    box_size = simulation.box_size
    write_poses(out / "poses.pkl", particles.rotation, particles.translation, box_size)
    if particles.ctf is not None:
        write_ctf(out / "ctf.pkl", particles.ctf)
    write_particles_star(
        out / "particles.star",
        _ImageNames(range(1, simulation.n_images + 1)),
        box_size=box_size,
        pixel_size=simulation.pixel_size,
        rotation=particles.rotation,
        translation_px=particles.translation,
        ctf=particles.ctf,
    )
    known = {key: value.numpy() for key, value in particles._asdict().items() if value is not None}
    with replacing(out / "truth.npz") as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            **known,
            seed=np.int64(simulation.seed),
            noise_std=np.float64(simulation.noise_std),
            pixel_size=np.float64(simulation.pixel_size),
            box_size=np.int64(box_size),
        )
    with replacing(out / "molecule.yaml") as temporary:
        temporary.write_text(molecule_yaml(simulation), encoding="utf-8")
    with replacing(out / "contact_sheet.png") as temporary:
        draw_contact_sheet(simulation, temporary)


class _ImageNames(Sequence[str]):
    """``_rlnImageName`` of each image, made when asked for."""

    def __init__(self, numbers: range) -> None:
        self._numbers = numbers

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> _ImageNames: ...
    def __getitem__(self, index: int | slice) -> str | _ImageNames:
        """Names one image or a range of them."""
        if isinstance(index, slice):
            return _ImageNames(self._numbers[index])
        return f"{self._numbers[index]:06d}@{_STACK}"
