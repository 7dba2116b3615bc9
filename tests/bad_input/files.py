"""Particle files, poses, tables and folders that can't serve."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cryo_disentangle.files.locks import alone_in
from cryo_disentangle.files.stacks import MrcsWriter
from tests import tiny
from tests.bad_input.workspace import Kind, Spoil, cut, remove, write


class _Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.system, ("true",)


def _pickled(name: str, change: Callable[[Any], Any]) -> Spoil:
    def spoil(folder: Path) -> None:
        with (folder / name).open("rb") as file:
            content = pickle.load(file)
        (folder / name).write_bytes(pickle.dumps(change(content)))

    return spoil


def _filled(value: float, *at: int) -> Callable[[Any], Any]:
    def change(content: Any) -> Any:
        found = content[0] if isinstance(content, tuple) else content
        found = np.array(found)
        found[at] = value
        return (found, *content[1:]) if isinstance(content, tuple) else found

    return change


def _image(value: float) -> Spoil:
    def spoil(folder: Path) -> None:
        images = np.random.default_rng(0).normal(size=(20, 16, 16)).astype(np.float32)
        images[3] = value
        with MrcsWriter(str(folder / "data/stack.mrcs"), 16, tiny.PIXEL_SIZE) as writer:
            writer.write(images)

    return spoil


def _box(folder: Path) -> None:
    with MrcsWriter(str(folder / "data/stack.mrcs"), 15, tiny.PIXEL_SIZE) as writer:
        writer.write(np.random.default_rng(0).normal(size=(20, 15, 15)).astype(np.float32))


def _star(name: str, said: str, text: str) -> Kind:
    words = ("--data.particles=data/bad.star", "--data.poses=null", "--data.ctf=null")
    return Kind(name, "fit", said, words, write("data/bad.star", text))


def _spoilt(name: str, said: str, spoil: Spoil | None, *words: str) -> Kind:
    return Kind(name, "fit", said, words, spoil)


def _locked(folder: Path) -> None:
    # Held until the test ends, when it is collected.
    held = alone_in(folder / "new", "held")
    held.__enter__()
    _HELD.append(held)


_HELD: list[Any] = []
_LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 12\n"
_COLUMNS = "data_particles\nloop_\n_rlnImageName #1\n_rlnAngleRot #2\n"

FILES = (
    _spoilt(
        "a stack that is not there",
        "absent.mrcs: no such file",
        None,
        "--data.particles=absent.mrcs",
    ),
    _spoilt(
        "a folder for a stack",
        "data: a folder, expected a particle file",
        None,
        "--data.particles=data",
    ),
    _spoilt(
        "a stack of no known kind",
        "data/x.foo: unknown kind of particle file, ex",
        write("data/x.foo", "x"),
        "--data.particles=data/x.foo",
    ),
    _spoilt(
        "an empty stack",
        "data/stack.mrcs: the file is empty, expected ",
        write("data/stack.mrcs", ""),
    ),
    _spoilt(
        "a stack cut off", "data/stack.mrcs: truncated: 10752 bytes, the ", cut("data/stack.mrcs")
    ),
    _spoilt(
        "a header cut off",
        "data/stack.mrcs: truncated: 215 bytes, an MRC",
        cut("data/stack.mrcs", 0.01),
    ),
    _spoilt(
        "text for a stack",
        "data/stack.mrcs: not an MRC file: the header ",
        write("data/stack.mrcs", "some text\n" * 200),
    ),
    _spoilt(
        "a compressed stack",
        "data/stack.mrcs: compressed with gzip, expect",
        write("data/stack.mrcs", b"\x1f\x8b\x08" + bytes(2000)),
    ),
    _spoilt(
        "a pointer for a stack",
        "data/stack.mrcs: a Git LFS pointer instead of",
        write("data/stack.mrcs", _LFS),
    ),
    _spoilt(
        "a stack of zeros",
        "data/stack.mrcs: the header is all zeros, as ",
        write("data/stack.mrcs", bytes(4096)),
    ),
    _spoilt("an odd box", "data/stack.mrcs: images are 15 x 15, expected", _box),
    _spoilt(
        "an image that is not finite",
        "image 4@data/stack.mrcs has values that are n",
        _image(np.nan),
    ),
    _spoilt("a constant image", "image 4@data/stack.mrcs is constant (1)", _image(1.0)),
    _spoilt("poses that are not there", "data/poses.pkl: no such file", remove("data/poses.pkl")),
    _spoilt(
        "an empty pickle",
        "data/poses.pkl: the file is empty, expected a",
        write("data/poses.pkl", ""),
    ),
    _spoilt(
        "poses cut off", "data/poses.pkl: refused as a pickle: it is da", cut("data/poses.pkl")
    ),
    _spoilt(
        "text for poses",
        "data/poses.pkl: refused as a pickle: it is da",
        write("data/poses.pkl", "1 2 3\n"),
    ),
    _spoilt(
        "a pointer for poses",
        "data/poses.pkl: a Git LFS pointer instead of ",
        write("data/poses.pkl", _LFS),
    ),
    _spoilt(
        "poses that run code",
        "data/poses.pkl: refused as a pickle: it wants",
        write("data/poses.pkl", pickle.dumps(_Hostile())),
    ),
    _spoilt(
        "poses of another kind",
        "data/poses.pkl: rotation must be a numpy arra",
        write("data/poses.pkl", pickle.dumps({"a": 1})),
    ),
    _spoilt(
        "too few poses",
        "data/poses.pkl: 9 rows, expected one for each",
        _pickled("data/poses.pkl", lambda p: (p[0][:9], p[1][:9])),
    ),
    _spoilt(
        "poses that are not finite",
        "data/poses.pkl, row 4: rotation is not finite",
        _pickled("data/poses.pkl", _filled(np.nan, 3)),
    ),
    _spoilt(
        "poses that are no rotations",
        "data/poses.pkl, row 4: not a rotation matrix:",
        _pickled("data/poses.pkl", _filled(7.0, 3)),
    ),
    _spoilt("no CTF file", "data/ctf.pkl: no such file", remove("data/ctf.pkl")),
    _spoilt(
        "too few CTFs",
        "data/ctf.pkl: 9 rows, expected one for each i",
        _pickled("data/ctf.pkl", lambda rows: rows[:9]),
    ),
    _spoilt(
        "a CTF without a column",
        "data/ctf.pkl: CTF must have shape (N, 9), fou",
        _pickled("data/ctf.pkl", lambda rows: rows[:, :8]),
    ),
    _spoilt(
        "a CTF that is not finite",
        "data/ctf.pkl, row 4: CTF is not finite",
        _pickled("data/ctf.pkl", _filled(np.nan, 3, 2)),
    ),
    _spoilt(
        "poses for a CTF",
        "data/poses.pkl: CTF must be a numpy array of ",
        None,
        "--data.ctf=data/poses.pkl",
    ),
    _spoilt("no selection", "absent.pkl: no such file", None, "--data.indices=absent.pkl"),
    _spoilt(
        "a selection beyond the file",
        "ind.pkl, entry 2: index 99 is out of range, data/stack.mrcs has",
        write("ind.pkl", pickle.dumps(np.array([1, 99]))),
        "--data.indices=ind.pkl",
    ),
    _spoilt(
        "a selection of fractions",
        "ind.pkl: indices must be integers in one dimension, found shape",
        write("ind.pkl", pickle.dumps(np.array([1.5, 2]))),
        "--data.indices=ind.pkl",
    ),
    _spoilt(
        "a selection of nothing",
        "ind.pkl: no image is selected",
        write("ind.pkl", pickle.dumps(np.array([], int))),
        "--data.indices=ind.pkl",
    ),
    _spoilt(
        "labels that are not there", "absent.npz: no such file", None, "--data.labels=absent.npz"
    ),
    _spoilt(
        "text for labels",
        "l.npz: labels must be an .npz archive, and th",
        write("l.npz", "hello"),
        "--data.labels=l.npz",
    ),
    _star("a STAR file of nothing", "data/bad.star: the file is empty, expected a ", ""),
    _star(
        "a STAR file without particles",
        "data/bad.star: no particle table beside data_",
        "data_optics\nloop_\n_rlnOpticsGroup #1\n1\n",
    ),
    _star(
        "a STAR file without images",
        "data/bad.star: no column _rlnImageName in tab",
        "data_particles\nloop_\n_rlnAngleRot #1\n1.0\n",
    ),
    _star(
        "a STAR file of an absent stack",
        "data/bad.star, row 1 names absent.mrcs, found",
        _COLUMNS + "1@absent.mrcs 0.0\n",
    ),
    _star(
        "a STAR row that is short",
        "data/bad.star: not a readable STAR file: line",
        _COLUMNS + "1@stack.mrcs 0.0\n2@stack.mrcs\n",
    ),
    _star(
        "a STAR image beyond its stack",
        "data/bad.star, row 1: image 99 is out of rang",
        _COLUMNS + "99@stack.mrcs 0.0\n",
    ),
    _star(
        "a STAR file that is no text",
        "data/bad.star: no column _rlnAngleTilt in tab",
        _COLUMNS + "1@stack.mrcs \udcff\n".replace("\udcff", "é"),
    ),
    _spoilt(
        "a folder to run in that is a file",
        "new: a file is in the way of this folder: choose another folder,",
        write("new", "in the way"),
    ),
    _spoilt(
        "a folder that holds a run",
        "new already holds a run: resume it with --ckp",
        write("new/checkpoints/last.ckpt", "x"),
    ),
    _spoilt(
        "a folder that another process trains in",
        "new: another process trains here: wait for it, or choose another",
        _locked,
    ),
)
