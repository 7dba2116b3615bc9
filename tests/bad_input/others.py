"""Bad input of ``simulate`` and ``benchmark``."""

from __future__ import annotations

from tests.bad_input.workspace import Kind, Spoil, replace, write


def _simulate(name: str, said: str, *words: str, spoil: Spoil | None = None) -> Kind:
    return Kind(f"simulate: {name}", "simulate", said, words, spoil)


def _benchmark(name: str, said: str, *words: str, spoil: Spoil | None = None) -> Kind:
    return Kind(f"benchmark: {name}", "benchmark", said, words, spoil)


SIMULATE = (
    _simulate("no folder", "the following arguments are required: out, molecule, process,", "!"),
    _simulate("an unknown option", "unrecognized arguments: --nothing=1", "--nothing=1"),
    _simulate(
        "no particles",
        "n_images and pixel_size must be positive and seed not negative,",
        "--n_images=0",
    ),
    _simulate("particles of a word", "n_images: expected int, found 'x'", "--n_images=x"),
    _simulate("an odd box", "box_size must be even and positive, found 31", "--box_size=31"),
    _simulate(
        "a box that is too small",
        "the molecule needs a box of 130 pixels at 1 Å per pixel (it",
        "--pixel_size=1.0",
    ),
    _simulate(
        "a pixel of nothing",
        "n_images and pixel_size must be positive and seed not negative,",
        "--pixel_size=0",
    ),
    _simulate(
        "noise without signal",
        "snr must be positive, found 0.0; for images without noise give",
        "--microscope.noise.init_args.snr=0",
    ),
    _simulate(
        "an unknown molecule",
        "molecule: expected a class that is imported, or its path",
        "--molecule=Nope",
    ),
    _simulate(
        "an unknown option of a molecule",
        "molecule: TwoArms: there is no option 'nope'",
        "--molecule.nope=1",
    ),
    _simulate(
        "a part of another kind",
        "molecule: expected a class that is imported, or its path",
        "--molecule=WhiteNoise",
    ),
    _simulate(
        "a negative seed",
        "n_images and pixel_size must be positive and seed not negative,",
        "--seed=-1",
    ),
    _simulate(
        "a configuration that is not there",
        "absent.yaml: no such file here, and none of this name comes with the package",
        "--config=absent.yaml",
    ),
    _simulate(
        "a configuration that contains itself",
        "a.yaml, line 1: an anchor (&name) contains its own alias (*name)",
        "--config=a.yaml",
        spoil=write("a.yaml", "molecule: &m {init_args: *m}\n"),
    ),
    _simulate(
        "a key that is there twice",
        "a.yaml, line 2: 'seed' is there twice",
        "--config=a.yaml",
        spoil=write("a.yaml", "seed: 1\nseed: 2\n"),
    ),
    _simulate(
        "a file in the way",
        "new: a file is in the way of this folder: choose another folder,",
        spoil=write("new", "in the way"),
    ),
    _simulate(
        "another simulation in the folder",
        "new already holds another simulation (simulation.yaml); choose",
        spoil=write("new/simulation.yaml", "seed: 9\n"),
    ),
    Kind(
        "simulate: no molecule",
        "simulate",
        "the following arguments are required: molecule, process,",
        ("!", "--out", "new"),
    ),
)
BENCHMARK = (
    _benchmark("no configuration", "the following arguments are required: --config (options:", "!"),
    _benchmark(
        "a configuration that is not there", "absent.yaml: no such file", "--config=absent.yaml"
    ),
    _benchmark(
        "an unknown option",
        "unrecognized arguments: --nothing (options: cryo-disentangle",
        "--nothing",
    ),
    _benchmark(
        "an unknown part",
        "benchmark.yaml: keys are seeds, held_out, restarts, defaults,",
        "--set=nothing=1",
    ),
    _benchmark("no value to set", "--set: KEY=VALUE expected, found 'seeds'", "--set=seeds"),
    _benchmark(
        "seeds of words",
        "benchmark.yaml: seeds: a list of different numbers from 0 on,",
        "--set=seeds=[a]",
    ),
    _benchmark(
        "seeds that are there twice",
        "benchmark.yaml: seeds: a list of different numbers from 0 on,",
        "--set=seeds=[1, 1]",
    ),
    _benchmark(
        "no data sets",
        "benchmark.yaml: datasets: at least one expected, found none",
        "--set=datasets={}",
    ),
    _benchmark(
        "no methods",
        "benchmark.yaml: methods: at least one expected, found none",
        "--set=methods={}",
    ),
    _benchmark(
        "an unknown kind of method",
        "benchmark.yaml: methods.x: kind must be one of training, latents,",
        "--set=methods.x.kind=guess",
    ),
    _benchmark(
        "a reading of nothing",
        "benchmark.yaml: methods.x: of must be one of plain, found",
        "--set=methods.x={kind: pca, of: nothing}",
    ),
    _benchmark(
        "more held out than there is",
        "benchmark.yaml: held_out must be at least 50 and below the 200",
        "--set=held_out=5000",
    ),
    _benchmark(
        "an unknown model",
        "benchmark.yaml: plain on arms: model: expected a class that is",
        "--set=methods.plain.model.class_path=Nope",
    ),
    _benchmark(
        "an unknown option of a model",
        "benchmark.yaml: plain on arms: model:",
        "--set=methods.plain.model.init_args.nope=1",
    ),
    _benchmark(
        "a simulation that can't be",
        "benchmark.yaml: datasets.arms: box_size must be even and",
        "--set=datasets.arms.simulate.box_size=31",
    ),
    _benchmark(
        "an unknown data set",
        "--datasets: the benchmark has arms, found 'legs'",
        "--datasets",
        "legs",
    ),
    _benchmark(
        "an unknown method",
        "--methods: the benchmark has plain, found 'guess'",
        "--methods",
        "guess",
    ),
    _benchmark(
        "no processes", "--processes and --threads must be above 0, found 0 and 1", "--processes=0"
    ),
    _benchmark(
        "a queue without a value",
        "--slurm: KEY=VALUE expected, found 'timeout_min'",
        "--slurm",
        "timeout_min",
    ),
    _benchmark(
        "a file in the way",
        "new: a file is in the way of this folder: choose another folder,",
        spoil=write("new", "in the way"),
    ),
    _benchmark(
        "a configuration that contains itself",
        "benchmark.yaml, line 1: an anchor (&name) contains its own alias",
        spoil=write("benchmark.yaml", "methods: &m {a: *m}\n"),
    ),
    _benchmark(
        "a key that is there twice",
        "benchmark.yaml, line 31: 'seeds' is there twice",
        spoil=replace("benchmark.yaml", "seeds:", "seeds: [1]\nseeds:"),
    ),
)
