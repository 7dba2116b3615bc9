"""Particles written in every format, with every oddity, are read as the same images and physics."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cryo_disentangle.files.star import write_star
from cryo_disentangle.imaging import FourierDisc, contrast_transfer
from cryo_disentangle.imaging.ctf import ctf_terms
from cryo_disentangle.particles import HartleyPreprocessing, ParticleStack
from cryo_disentangle.particles.dataset import ParticleDataset
from tests.particles import formats
from tests.particles.formats import BOX, COUNT, PIXEL, Truth, write_stack

Writer = Callable[[Path, Truth], dict[str, Any]]


def _star(folder: Path, made: Truth, **options: Any) -> dict[str, Any]:
    write_stack(folder / "stack.mrcs", made.images())
    return {"particles": formats.star(folder, made, **options)}


def _corrected(state: int, label: str) -> Writer:
    def write(folder: Path, made: Truth) -> dict[str, Any]:
        # RELION's CTF is this one's negative; it multiplies images by its sign, or by itself.
        white = torch.from_numpy(made.images())
        relion = torch.fft.rfft2(white) / torch.fft.rfft2(torch.from_numpy(made.projections))
        factor = relion.real.sign() if state == 1 else relion.real
        changed = torch.fft.irfft2(torch.fft.rfft2(white) * factor, s=(BOX, BOX))
        write_stack(folder / "stack.mrcs", changed.numpy())
        return {"particles": formats.star(folder, made, {label: [1]})}

    return write


def _scaled(folder: Path, made: Truth) -> dict[str, Any]:
    scale, b_factor = np.linspace(0.5, 1.5, COUNT), np.linspace(0, 60, COUNT)
    terms = {"scale": torch.from_numpy(scale), "b_factor": torch.from_numpy(b_factor)}
    write_stack(folder / "stack.mrcs", made.images(terms=terms))
    return {"particles": formats.star(folder, made, CtfScalefactor=scale, CtfBfactor=b_factor)}


def _old(folder: Path, made: Truth) -> dict[str, Any]:
    write_stack(folder / "stack.mrcs", made.images())
    return {"particles": formats.old_star(folder, made)}


def _without_pixel_size(folder: Path, made: Truth) -> dict[str, Any]:
    return _star(folder, made, of_optics={"ImagePixelSize": None})


def _binned(folder: Path, made: Truth) -> dict[str, Any]:
    """The table is of the images before they were binned fourfold."""
    return _star(folder, made, of_optics={"ImagePixelSize": [PIXEL / 4], "ImageSize": [BOX * 4]})


def _not_the_largest_table(folder: Path, made: Truth) -> dict[str, Any]:
    write_stack(folder / "stack.mrcs", made.images())
    tables = {
        "optics": formats.optics(),
        "micrographs": {"_rlnMicrographName": [f"{i}.mrc" for i in range(3 * COUNT)]},
        "particles": formats.particles(made),
    }
    write_star(folder / "p.star", tables)
    return {"particles": folder / "p.star"}


def _in_a_project(folder: Path, made: Truth) -> dict[str, Any]:
    write_stack(folder / "Extract/job002/Micrographs/stack.mrcs", made.images())
    (folder / "Refine3D/job009").mkdir(parents=True)
    names = [f"{i + 1:06d}@Extract/job002/Micrographs/stack.mrcs:mrcs" for i in range(COUNT)]
    return {"particles": formats.star(folder / "Refine3D/job009", made, ImageName=names)}


def _imported_by_cryosparc(folder: Path, made: Truth) -> dict[str, Any]:
    write_stack(folder / "flat/stack.mrcs", made.images())
    name = "J1/imported/000090334788266266069_stack.mrcs"
    names = [f"{i + 1:06d}@{name}" for i in range(COUNT)]
    return {"particles": formats.star(folder, made, ImageName=names), "datadir": folder / "flat"}


def _cs(folder: Path, made: Truth, sign: int = -1, **options: float) -> dict[str, Any]:
    write_stack(folder / "J1/extract/stack.mrcs", made.images(sign))
    table = formats.cs_table(made, sign=sign, **options)
    return {"particles": formats.save_cs(folder / "p.cs", table)}


def _positive_cs(folder: Path, made: Truth) -> dict[str, Any]:
    return _cs(folder, made, sign=1)


def _rebinned_cs(folder: Path, made: Truth) -> dict[str, Any]:
    return _cs(folder, made, aligned_psize=1.3)


def _cs_without(*names: str) -> Writer:
    def write(folder: Path, made: Truth) -> dict[str, Any]:
        _cs(folder, made)
        table = formats.cs_table(made)
        return {"particles": formats.save_cs(folder / "p.cs", table, lambda n: n not in names)}

    return write


def _split_cs(folder: Path, made: Truth) -> dict[str, Any]:
    """Poses in another file, whose rows are in another order and finer pixels."""
    _cs(folder, made)
    table = formats.cs_table(made, aligned_psize=0.7)
    order = np.random.default_rng(0).permutation(COUNT)
    images = formats.save_cs(folder / "p.cs", table, lambda n: not n.startswith("align"))
    poses = formats.save_cs(
        folder / "poses.cs", table[order], lambda n: n.startswith("align") or n == "uid"
    )
    return {"particles": images, "poses": poses}


def _pickles(folder: Path, made: Truth) -> dict[str, Any]:
    stack = write_stack(folder / "stack.mrcs", made.images())
    return {"particles": stack, **formats.pickles(folder, made)}


def _tables_of_a_stack(folder: Path, made: Truth) -> dict[str, Any]:
    """A stack, and a STAR file in another order that names its images in another folder."""
    stack = write_stack(folder / "stack.mrcs", made.images())
    order = np.random.default_rng(1).permutation(COUNT)
    names = [f"{i + 1:06d}@Extract/job012/stack.mrcs" for i in range(COUNT)]
    columns = formats.particles(made, ImageName=names)
    turned = {name: [values[i] for i in order] for name, values in columns.items()}
    write_star(folder / "run_data.star", {"optics": formats.optics(), "particles": turned})
    return {"particles": stack, "poses": folder / "run_data.star", "ctf": folder / "run_data.star"}


_WRITERS: dict[str, tuple[Writer, str]] = {
    "RELION 3.1": (_star, ""),
    "RELION 3.0": (_old, ""),
    "scale and B factors": (_scaled, ""),
    "phases flipped": (_corrected(1, "CtfDataArePhaseFlipped"), "had their phases flipped"),
    "premultiplied": (_corrected(2, "CtfDataAreCtfPremultiplied"), "were multiplied by their CTF"),
    "no pixel size": (_without_pixel_size, "no pixel size; 2 Å of the header"),
    "table before binning": (_binned, ""),
    "not the largest table": (_not_the_largest_table, ""),
    "names from the project": (_in_a_project, ""),
    "names of cryoSPARC": (_imported_by_cryosparc, ""),
    "cryoSPARC": (_cs, ""),
    "sign of +1": (_positive_cs, ""),
    "aligned in other pixels": (_rebinned_cs, ""),
    "no shape": (_cs_without("blob/shape"), ""),
    "no pixel size of images": (_cs_without("blob/psize_A"), "no pixel size; 2 Å of the header"),
    "no pixel size of shifts": (_cs_without("alignments3D/psize_A"), ""),
    "no sign": (_cs_without("blob/sign"), ""),
    "poses elsewhere": (_split_cs, ""),
    "pickles": (_pickles, ""),
    "tables of a stack": (_tables_of_a_stack, ""),
}


@pytest.mark.parametrize("rows", [None, [5, 2, 2, 0]])
@pytest.mark.parametrize("name", _WRITERS)
@pytest.mark.filterwarnings("ignore:.*p.(star|cs). (no pixel size|7 images)")
def test_round_trip(name: str, rows: list[int] | None, tmp_path: Path) -> None:
    write, told = _WRITERS[name]
    made = formats.truth()
    options = write(tmp_path, made)
    if rows is not None:
        options["indices"] = formats.selection(tmp_path, rows)
    if told:
        with pytest.warns(UserWarning, match=told):
            stack = ParticleStack.open(**options)
    else:
        stack = ParticleStack.open(**options)
    chosen = list(range(COUNT)) if rows is None else rows
    assert stack.rows.tolist() == chosen
    assert stack.rotation is not None
    assert stack.translation is not None
    assert stack.ctf is not None
    assert stack.pixel_size == pytest.approx(PIXEL)
    np.testing.assert_allclose(stack.rotation, made.rotation[chosen], atol=1e-5)
    found = stack.translation * stack.pixel_size
    np.testing.assert_allclose(found, made.shift_angstrom[chosen], atol=1e-4)
    _assert_images_are_seen(stack, made, chosen)


def _assert_images_are_seen(stack: ParticleStack, made: Truth, chosen: list[int]) -> None:
    """A batch is the projection's transform times the transfer function that models apply."""
    prepare = HartleyPreprocessing(window_radius=None, norm=(0.0, 1.0))
    batch = ParticleDataset(stack, prepare).__getitems__(range(len(chosen)))
    disc = FourierDisc(BOX)
    plain = HartleyPreprocessing(False, None, (0.0, 1.0))(torch.from_numpy(made.projections))
    transfer = contrast_transfer(disc.frequencies, batch["ctf"], BOX, **ctf_terms(batch))
    expected = disc.select(plain)[chosen] * transfer
    torch.testing.assert_close(disc.select(batch["images"]), expected, rtol=1e-3, atol=2e-3)
    ctf = torch.from_numpy(made.ctf)[chosen]
    nine = contrast_transfer(disc.frequencies, batch["ctf"], BOX)
    torch.testing.assert_close(
        nine, contrast_transfer(disc.frequencies, ctf, BOX), atol=2e-4, rtol=0
    )
