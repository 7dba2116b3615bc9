"""Options of the commands that take words alone; here, so that their help loads nothing else."""

from __future__ import annotations

import math
import os
from pathlib import Path

from cryo_disentangle.options.parsers import CommandParser

__all__ = [
    "axes_parser",
    "benchmark_parser",
    "compare_parser",
    "completion_parser",
    "configs_parser",
    "evaluate_parser",
    "export_parser",
    "inspect_parser",
    "report_parser",
    "select_parser",
]

_AXES_BY = ("time", "evidence", "temperature", "independent", "principal")
_KEY = "which of several latents a run of another program has"


def evaluate_parser() -> CommandParser:
    """Returns the options of ``evaluate``."""
    parser = _of_finished_run(
        "evaluate",
        "Tests what the latent space of a finished run of any program encodes: conformation, the "
        "viewing direction, or nothing. Writes metrics.json, pictures and report.html.",
    )
    add = parser.add_argument
    add("--z", metavar="KEY", help=_KEY)
    add("--truth", type=Path, help="truth.npz of a simulated stack")
    add("--out", type=Path, help="folder to write to; by default RUN/evaluation")
    add("--sample", type=int, default=4000, help="particles for tests by rotation and intervention")
    add(
        "--minutes",
        type=float,
        help="time limit of rendering, by default 4: it compares fewer Fourier pixels, then fewer "
        "particles",
    )
    add("--resamples", type=int, default=40, help="random halves for intervals; 0 for none")
    add("--states", type=int, default=6, help="k-means clusters with volumes and views; 0 for none")
    add("--kelvin", type=float, metavar="K", help="temperature of all particles: free energies")
    return parser


def report_parser() -> CommandParser:
    """Returns the options of ``report``."""
    parser = _of_finished_run(
        "report",
        "Writes one HTML page of a finished run from the results of `evaluate`. If this epoch has "
        "not been evaluated with this inference, it is evaluated first, with default options.",
    )
    parser.add_argument("--out", type=Path, help="folder to write to; by default RUN/evaluation")
    parser.add_argument("--z", metavar="KEY", help=_KEY)
    parser.set_defaults(inference=None)  # what has been looked at, however
    return parser


def export_parser() -> CommandParser:
    """Returns the options of ``export``."""
    parser = _of_finished_run(
        "export",
        "Writes a finished run as a folder of cryodrgn train_vae.",
    )
    parser.add_argument(
        "--format", choices=["cryodrgn"], default="cryodrgn", help="format of the folder"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    return parser


def _of_finished_run(name: str, description: str) -> CommandParser:
    """Options that commands on finished runs share."""
    parser = CommandParser(name, description)
    add = parser.add_argument
    add("run", type=Path, metavar="RUN", help="finished run, or its latents")
    add("--epoch", type=int, help="weights after EPOCH epochs; by default the newest")
    for option, what in (
        ("particles", "particle file"),
        ("poses", "poses.pkl"),
        ("ctf", "ctf.pkl"),
        ("datadir", "folder of the stacks"),
    ):
        add(f"--{option}", type=Path, help=f"{what}, in place of the run's configuration")
    ways = {
        "run": "as the run infers it",
        "rendering": "by rendering through its decoder",
        "statistics": "by statistics of images in the decoder's volumes, in minutes",
    }
    if name == "export":
        del ways["statistics"]
    found = "; ".join(f"{way}: {what}" for way, what in ways.items())
    add("--inference", choices=list(ways), default="run", help=f"how z is found. {found}")
    add(
        "--radius",
        type=int,
        help="Fourier radius of rendering, in pixels; by default half the box",
    )
    add("--batch-size", type=int, default=64, help="particles a batch")
    add("--device", default="auto", help="cpu, cuda, cuda:1 ... or auto")
    return parser


def select_parser() -> CommandParser:
    """Returns the options of ``select``."""
    parser = CommandParser(
        "select",
        "Writes a set of particles, chosen in a latent space, from the particle file that the run "
        "was given. Rows and columns are copied byte for byte, in the file's order.",
    )
    add = parser.add_argument
    add("latents", type=Path, metavar="RUN", help="finished run of any program, or its latents")
    add("--particles", type=Path, required=True, help="particle file, .star or .cs")
    add("--z", metavar="KEY", help="which of several latents the run has")
    add("--out", type=Path, required=True, help="file to write: as the particle file, or indices")
    add("--kmeans", type=int, metavar="K", help="k-means with K clusters; --clusters are taken")
    add("--mixture", type=int, metavar="K", help="the same with a mixture of normal distributions")
    add("--clusters", type=int, nargs="+", metavar="N", help="clusters to take; 0 is the largest")
    add("--axis", type=int, metavar="N", help="coordinate of z, from 1, between --min and --max")
    add("--min", type=float, default=-math.inf, help="smallest value along --axis")
    add("--max", type=float, default=math.inf, help="largest value along --axis")
    add("--near", nargs="+", metavar="X,Y", help="nearest to a point, or to a path of points")
    add("--count", type=int, help="number of particles taken by --near")
    add("--outliers", type=float, metavar="S", help="farther from others than S times the median")
    add("--lasso", type=Path, metavar="FILE", help="lasso saved from a page of evaluate")
    add("--rows", type=Path, metavar="FILE", help="of another file: .star, .cs, .pkl, .npy, .txt")
    add("--complement", action="store_true", help="take all other particles that have latents")
    add("--keep-in", type=Path, metavar="FILE", help="only particles that are also in this file")
    add("--add", type=Path, metavar="FILE", help="add the particles of this file")
    add("--seed", type=int, default=0, help="seed of clustering")
    return parser


def inspect_parser() -> CommandParser:
    """Returns the options of ``inspect``."""
    parser = CommandParser(
        "inspect",
        "Prints and draws what a particle stack contains: number, box, sign of the contrast, "
        "defocus, viewing directions, shifts, and anything unusual.",
    )
    add = parser.add_argument
    add("particles", type=Path, metavar="PARTICLES", help=".star, .cs, .mrcs, .mrc or .txt")
    add("--poses", type=Path, help=".star, .cs or poses.pkl, in place of the particle file's")
    add("--ctf", type=Path, help=".star, .cs or ctf.pkl, in place of the particle file's")
    add("--labels", type=Path, help=".npz with time, trajectory, temperature or factors")
    add("--indices", type=Path, help="selection of images: .pkl, .npy or .txt")
    add("--datadir", type=Path, help="folder of the stacks")
    add("--out", type=Path, metavar="PNG", help="picture; by default NAME_inspection.png here")
    return parser


def compare_parser() -> CommandParser:
    """Returns the options of ``compare``."""
    parser = CommandParser(
        "compare",
        "Compares the latent spaces of runs, seeds, halves or methods on the same particles: which "
        "axes are reproduced, and up to what maps the spaces agree.",
    )
    add = parser.add_argument
    add("runs", type=Path, nargs="+", metavar="RUN", help="finished runs of any program")
    add("--z", nargs="+", metavar="KEY", help="which of several latents, one for all or for each")
    add("--particles", type=Path, help="particle file that matches runs of different programs")
    add("--out", type=Path, default=Path("comparison"), help="folder to write to")
    add("--seed", type=int, default=0, help="seed of resampling")
    return parser


def axes_parser() -> CommandParser:
    """Returns the options of ``axes``."""
    parser = CommandParser(
        "axes",
        "Finds the axes of a latent space along which a molecule moves, by the times or "
        "temperatures of its particles, tests whether they are determined, and estimates the free "
        "energy along them; with images, reconstructs maps at both ends of each axis.",
    )
    add = parser.add_argument
    add("latents", type=Path, metavar="RUN", help="finished run of any program, or its latents")
    add("--z", metavar="KEY", help="which of several latents the run has")
    add("--labels", type=Path, metavar="FILE", help=".npz with time and trajectory, or temperature")
    add("--by", choices=_AXES_BY, help="what determines the axes; by default the labels given")
    add("--errors", action="store_true", help="covariances are those of errors, not of posteriors")
    add("--kelvin", type=float, metavar="K", help="temperature of all particles")
    add("--particles", type=Path, help="particle file, for maps at both ends of each axis")
    for option, what in (
        ("poses", "poses.pkl, .star or .cs, in place of the run's or the particle file's"),
        ("ctf", "ctf.pkl, .star or .cs, in place of the particle file's"),
        ("datadir", "folder of the stacks"),
    ):
        add(f"--{option}", type=Path, help=what)
    add(
        "--invert",
        choices=["yes", "no"],
        help="multiply images by -1; by default as the file says, or yes",
    )
    add("--ends", type=float, default=0.2, metavar="SHARE", help="of the particles at each end")
    add("--axis", type=int, nargs="+", metavar="N", help="axes to make maps of; by default all")
    add("--out", type=Path, default=Path("axes"), help="folder to write to")
    return parser


def completion_parser() -> CommandParser:
    """Returns the options of ``completion``, of which there are none."""
    return CommandParser(
        "completion",
        "Prints the shell code that completes commands, options and shipped configurations: put "
        'eval "$(cryo-disentangle completion)" into ~/.bashrc, or into ~/.zshrc after '
        "`autoload bashcompinit && bashcompinit`.",
    )


def configs_parser() -> CommandParser:
    """Returns the options of ``configs``."""
    parser = CommandParser(
        "configs",
        "Lists the configuration files and cluster scripts that come with the package; commands "
        "take them by name.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="files to list; by default all")
    parser.add_argument("--copy", type=Path, metavar="FOLDER", help="copy them into this folder")
    return parser


def benchmark_parser() -> CommandParser:
    """Returns the options of ``benchmark``."""
    parser = CommandParser(
        "benchmark",
        "Trains methods on simulated particles, scores them against the truth, and ranks them. "
        "Finished cells are not run again, so the same command resumes an interrupted benchmark.",
    )
    add = parser.add_argument
    for what in ("datasets", "methods"):
        add(
            f"--{what}",
            nargs="+",
            metavar="NAME",
            help=f"run only these {what}; tables have all",
        )
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    add("--config", type=Path, required=True, help="YAML file of the benchmark")
    add("--out", type=Path, default=Path("runs/benchmark"), help="folder to run in")
    add(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a key of the file, such as seeds=[0] or defaults.trainer.max_steps=100",
    )
    add("--processes", type=int, default=cores, help="cells to run at once")
    add("--threads", type=int, default=1, help="threads, or cores, per cell")
    add(
        "--slurm",
        nargs="*",
        metavar="KEY=VALUE",
        help="run as a SLURM array, with submitit's parameters, such as timeout_min=60 "
        "slurm_partition=gpu slurm_array_parallelism=20",
    )
    add(
        "--rerun",
        action="store_true",
        help="run finished cells again if their settings have changed",
    )
    add("--data-only", action="store_true", help="only simulate the particles")
    return parser
