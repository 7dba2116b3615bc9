"""Bad input of commands on latents of any program, and of ``statistics``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.bad_input.workspace import Kind, Spoil, both, write


def _select(name: str, said: str, *words: str, spoil: Spoil | None = None) -> Kind:
    return Kind(f"select: {name}", "select", said, words, spoil)


def _compare(name: str, said: str, *words: str) -> Kind:
    return Kind(f"compare: {name}", "compare", said, words, _LATENTS)


def _axes(name: str, said: str, *words: str, spoil: Spoil | None = None) -> Kind:
    return Kind(f"axes: {name}", "axes", said, words, spoil or _LATENTS)


def _statistics(name: str, said: str, *words: str, spoil: Spoil | None = None) -> Kind:
    return Kind(f"statistics: {name}", "statistics", said, words, spoil)


def _write_latents(folder: Path) -> None:
    latents = np.random.default_rng(0).normal(size=(20, 2))
    for name in ("z.npz", "other.npz"):
        np.savez(folder / name, latents=latents, row=np.arange(20))


_LATENTS: Spoil = _write_latents


SELECT = (
    _select("no words", "the following arguments are required: RUN, --particles, --out", "!"),
    _select(
        "an unknown option",
        "unrecognized arguments: --nothing (options: cryo-disentangle",
        "--nothing",
    ),
    _select("no way to choose", "choose particles in one way of --kmeans, --mixture, --axis,"),
    _select(
        "two ways to choose",
        "choose particles in one way of --kmeans, --mixture, --axis,",
        "--kmeans=2",
        "--axis=1",
    ),
    _select(
        "no such run",
        "absent: no such file or folder",
        "!",
        "absent",
        "--particles=data/stack.mrcs",
        "--out=x.star",
        "--axis=1",
    ),
    _select(
        "no particles",
        "absent.star: no such file",
        "--axis=1",
        "--particles=absent.star",
        spoil=_LATENTS,
    ),
    _select(
        "an axis that is not there", "--axis: expected 1 to 2, found 3", "--axis=3", spoil=_LATENTS
    ),
    _select(
        "clusters that are not chosen",
        "--clusters: expected some of 0 to 1, found none",
        "--kmeans=2",
        spoil=_LATENTS,
    ),
    _select(
        "a point of words",
        "--near: expected numbers with commas between, found ['a,b']",
        "--near=a,b",
        "--count=2",
        spoil=_LATENTS,
    ),
    _select(
        "a point without a number of particles",
        "--near takes a number of particles: give --count",
        "--near=0,0",
        spoil=_LATENTS,
    ),
    _select(
        "rows beyond the file",
        "rows.txt: indices must lie within 0 and 19",
        "--rows=rows.txt",
        spoil=both(_LATENTS, write("rows.txt", "99")),
    ),
    _select(
        "a lasso of text",
        "run.yaml: not a lasso that a page has saved: Expecting value:",
        "--lasso=run.yaml",
        spoil=_LATENTS,
    ),
)


COMPARE = (
    _compare("no words", "the following arguments are required: RUN (options:", "!"),
    _compare("one run", "a comparison takes two runs at least, found one", "!", "z.npz"),
    _compare("no such run", "absent: no such file or folder", "!", "absent", "run"),
    _compare("the same run twice", "the same run is given twice", "!", "z.npz", "z.npz"),
    _compare(
        "an option cut short",
        "unrecognized arguments: --part=x (options: cryo-disentangle",
        "--part=x",
    ),
    _compare(
        "keys for other runs",
        "--z: expected one key or one for each run, found 3",
        "--z",
        "a",
        "b",
        "c",
    ),
    _compare(
        "text for latents",
        "run.yaml: expected one of .npy, .npz, .csv, .txt, .pkl, found",
        "!",
        "run.yaml",
        "z.npz",
    ),
    _compare("a seed of a word", "argument --seed: invalid int value: 'x' (options:", "--seed=x"),
)


AXES = (
    _axes("no words", "the following arguments are required: RUN (options:", "!"),
    _axes("no such run", "absent: no such file or folder", "!", "absent"),
    _axes(
        "an unknown way",
        "argument --by: invalid choice: 'colour' (choose from 'time',",
        "--by=colour",
    ),
    _axes(
        "times without labels",
        "--by time needs --labels with arrays time and trajectory",
        "--by=time",
    ),
    _axes(
        "temperatures without labels",
        "--by temperature needs --labels with an array temperature",
        "--by=temperature",
    ),
    _axes(
        "evidence without covariances",
        "--by evidence needs --labels with arrays time and trajectory",
        "--by=evidence",
    ),
    _axes(
        "poses without images",
        "--poses goes with maps of images: give --particles, too",
        "--poses=data/poses.pkl",
    ),
    _axes("images that are not there", "absent.mrcs: no such file", "--particles=absent.mrcs"),
    _axes(
        "a cold temperature", "--kelvin: a positive temperature expected, found -3", "--kelvin=-3"
    ),
    _axes("labels that are not there", "absent.npz: no such file", "--labels=absent.npz"),
    _axes(
        "text for labels",
        "run.yaml: labels must be an .npz archive, and the file is none",
        "--labels=run.yaml",
    ),
    _axes(
        "a file in the way",
        "new: a file is in the way of this folder: choose another folder,",
        spoil=both(_LATENTS, write("new", "in the way")),
    ),
)


STATISTICS = (
    _statistics("no words", "the following arguments are required: particles, out", "!"),
    _statistics("no such particles", "absent.mrcs: no such file", "!", "absent.mrcs", "--out=new"),
    _statistics("an unknown option", "unrecognized arguments: --nothing=1", "--nothing=1"),
    _statistics(
        "an option cut short",
        "unrecognized arguments: --pose=data/poses.pkl",
        "--pose=data/poses.pkl",
    ),
    _statistics("a rank of a word", "rank: expected int or null, found x", "--rank=x"),
    _statistics("a rank of none", "rank must be at least 1, found 0", "--rank=0"),
    _statistics(
        "a device that is not there",
        "--device: cpu, cuda or auto expected, found 'tpu9'; this machine has",
        "--device=tpu9",
    ),
    _statistics(
        "two subspaces",
        "a subspace comes from --run, from --latents, or from --mean and --components",
        "--run=run",
        "--mean=mean.mrc",
    ),
    _statistics("a run that is not there", "absent: no such folder", "--run=absent"),
    _statistics(
        "no poses",
        "data/stack.mrcs: no poses found; images are used at the poses of a",
        "!",
        "data/stack.mrcs",
        "--out=new",
    ),
    _statistics(
        "a folder that is there",
        "new exists: choose another folder, or give --overwrite",
        spoil=write("new/x", "mine"),
    ),
    _statistics(
        "a configuration that is not there",
        "/absent.yaml'",
        "--config=absent.yaml",
    ),
    _statistics(
        "a key that is there twice",
        "a.yaml, line 2: 'rank' is there twice",
        "--config=a.yaml",
        spoil=write("a.yaml", "rank: 1\nrank: 2\n"),
    ),
)
