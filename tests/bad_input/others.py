"""Bad input of ``simulate``, ``benchmark``, ``select`` and ``compare``."""

from __future__ import annotations

from tests.bad_input.workspace import Kind, Spoil, replace, write


def _simulate(name: str, said: str, *words: str, spoil: Spoil | None = None) -> Kind:
    return Kind(f"simulate: {name}", "simulate", said, words, spoil)


def _benchmark(name: str, said: str, *words: str, spoil: Spoil | None = None) -> Kind:
    return Kind(f"benchmark: {name}", "benchmark", said, words, spoil)


def _select(name: str, said: str, *words: str, spoil: Spoil | None = None) -> Kind:
    return Kind(f"select: {name}", "select", said, words, spoil)


SIMULATE = (
    _simulate("no folder", "", "!"),
    _simulate("an unknown option", "", "--nothing=1"),
    _simulate("no particles", "", "--n_images=0"),
    _simulate("particles of a word", "", "--n_images=x"),
    _simulate("an odd box", "", "--box_size=31"),
    _simulate("a box that is too small", "", "--pixel_size=1.0"),
    _simulate("a pixel of nothing", "", "--pixel_size=0"),
    _simulate("noise without signal", "", "--microscope.noise.init_args.snr=0"),
    _simulate("an unknown molecule", "", "--molecule=Nope"),
    _simulate("an unknown option of a molecule", "", "--molecule.nope=1"),
    _simulate("a part of another kind", "", "--molecule=WhiteNoise"),
    _simulate("a negative seed", "", "--seed=-1"),
    _simulate("a configuration that is not there", "", "--config=absent.yaml"),
    _simulate(
        "a configuration that contains itself",
        "",
        "--config=a.yaml",
        spoil=write("a.yaml", "molecule: &m {init_args: *m}\n"),
    ),
    _simulate(
        "a key that is there twice",
        "",
        "--config=a.yaml",
        spoil=write("a.yaml", "seed: 1\nseed: 2\n"),
    ),
    _simulate("a file in the way", "", spoil=write("new", "in the way")),
    _simulate(
        "another simulation in the folder", "", spoil=write("new/simulation.yaml", "seed: 9\n")
    ),
    Kind("simulate: no molecule", "simulate", "", ("!", "--out", "new")),
)
BENCHMARK = (
    _benchmark("no configuration", "", "!"),
    _benchmark("a configuration that is not there", "", "--config=absent.yaml"),
    _benchmark("an unknown option", "", "--nothing"),
    _benchmark("an unknown part", "", "--set=nothing=1"),
    _benchmark("no value to set", "", "--set=seeds"),
    _benchmark("seeds of words", "", "--set=seeds=[a]"),
    _benchmark("seeds that are there twice", "", "--set=seeds=[1, 1]"),
    _benchmark("no data sets", "", "--set=datasets={}"),
    _benchmark("no methods", "", "--set=methods={}"),
    _benchmark("an unknown kind of method", "", "--set=methods.x.kind=guess"),
    _benchmark("a reading of nothing", "", "--set=methods.x={kind: pca, of: nothing}"),
    _benchmark("more held out than there is", "", "--set=held_out=5000"),
    _benchmark("an unknown model", "", "--set=methods.plain.model.class_path=Nope"),
    _benchmark("an unknown option of a model", "", "--set=methods.plain.model.init_args.nope=1"),
    _benchmark("a simulation that can't be", "", "--set=datasets.arms.simulate.box_size=31"),
    _benchmark("an unknown data set", "", "--datasets", "legs"),
    _benchmark("an unknown method", "", "--methods", "guess"),
    _benchmark("no processes", "", "--processes=0"),
    _benchmark("a queue without a value", "", "--slurm", "timeout_min"),
    _benchmark("a file in the way", "", spoil=write("new", "in the way")),
    _benchmark(
        "a configuration that contains itself",
        "",
        spoil=write("benchmark.yaml", "methods: &m {a: *m}\n"),
    ),
    _benchmark(
        "a key that is there twice",
        "",
        spoil=replace("benchmark.yaml", "seeds:", "seeds: [1]\nseeds:"),
    ),
)
SELECT = (
    _select("no words", "", "!"),
    _select("an unknown option", "", "--nothing"),
    _select("no way to choose", ""),
    _select("two ways to choose", "", "--kmeans=2", "--axis=1"),
    _select(
        "no such run", "", "!", "absent", "--particles=data/stack.mrcs", "--out=x.star", "--axis=1"
    ),
    _select("no particles", "", "--axis=1"),
    Kind("compare: no such run", "compare", "", ("!", "absent", "run")),
)
