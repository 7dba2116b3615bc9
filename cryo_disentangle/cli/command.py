"""``cryo-disentangle`` and its commands."""

from __future__ import annotations

import difflib
import importlib
import sys
from argparse import ArgumentError
from collections.abc import Callable, Sequence
from typing import NamedTuple

from cryo_disentangle.cli.errors import leave
from cryo_disentangle.options import commands

__all__ = ["command_names", "main"]


class _Command(NamedTuple):
    """A command, whose module is imported when it runs.

    Attributes:
        module: Where its function is.
        function: Takes the words after the command's name.
        purpose: What it does, in a line.
        parser: Makes the parser of its words, in `options.commands`; "" where that takes as long to
            load as the command.
    """

    module: str
    function: str
    purpose: str
    parser: str = ""


_LIGHTNING = "cryo_disentangle.cli.training"
_EVALUATION = "cryo_disentangle.evaluation.command"
_COMMANDS = {
    "inspect": _Command(
        "cryo_disentangle.inspection",
        "inspect_command",
        "describe a particle stack, and what is unusual in it",
        "inspect_parser",
    ),
    "fit": _Command(_LIGHTNING, "fit", "train a model on particles"),
    "validate": _Command(
        _LIGHTNING, "validate", "compute a trained model's loss on held-out particles"
    ),
    "test": _Command(_LIGHTNING, "test", "the same, after training"),
    "predict": _Command(_LIGHTNING, "predict", "write latents and volumes of a trained model"),
    "evaluate": _Command(
        _EVALUATION,
        "evaluate_command",
        "test what the latents of a finished run encode",
        "evaluate_parser",
    ),
    "report": _Command(
        _EVALUATION, "report_command", "write a page on a finished run", "report_parser"
    ),
    "export": _Command(
        _EVALUATION,
        "export_command",
        "write a finished run for cryoDRGN's tools",
        "export_parser",
    ),
    "select": _Command(
        "cryo_disentangle.selection.command",
        "select_command",
        "write particles chosen in any program's latent space",
        "select_parser",
    ),
    "axes": _Command(
        "cryo_disentangle.evaluation.axes_command",
        "axes_command",
        "name latent axes; free energies along them, maps at their ends",
        "axes_parser",
    ),
    "compare": _Command(
        "cryo_disentangle.comparison.command",
        "compare_command",
        "find which axes another run reproduces",
        "compare_parser",
    ),
    "statistics": _Command(
        "cryo_disentangle.evaluation.statistics_command",
        "statistics_command",
        "read particles of known poses once: a subspace, and statistics in it",
    ),
    "assemble": _Command(
        "cryo_disentangle.evaluation.assembling",
        "assemble_command",
        "turn a model trained on statistics into a model of images",
    ),
    "simulate": _Command(
        "cryo_disentangle.simulation.command", "main", "simulate particles with known factors"
    ),
    "configs": _Command(
        "cryo_disentangle.options.shipped",
        "configs_command",
        "list and copy configuration files and cluster scripts",
        "configs_parser",
    ),
    "completion": _Command(
        "cryo_disentangle.cli.completion",
        "completion_command",
        "print shell code that completes commands and options",
        "completion_parser",
    ),
    "benchmark": _Command(
        "cryo_disentangle.benchmark.command",
        "benchmark_command",
        "train and rank methods on simulated particles",
        "benchmark_parser",
    ),
}


# What cryoDRGN calls it, or others do.
_ELSEWHERE = {"analyze": "report", "train": "fit", "train_vae": "fit", "infer": "predict"}


def command_names() -> list[str]:
    """Returns the names of all commands."""
    return list(_COMMANDS)


def main(args: Sequence[str] | None = None) -> None:
    """Runs a command of ``cryo-disentangle``.

    Bad input ends it with one sentence and exit status 1, or 2 if the command line is wrong; Ctrl-C
    with 130. ``CRYO_DISENTANGLE_TRACEBACK=1`` in the environment shows the traceback.

    Args:
        args: Words after the program's name; None takes the process's.

    Raises:
        SystemExit: If input is bad, or help was asked for.
    """
    words = sys.argv[1:] if args is None else list(args)
    # What a terminal can't show is escaped rather than the end of a run.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        _run(words)
    except BaseException as error:
        leave(error)
        raise


def _run(words: Sequence[str]) -> None:
    """Imports and runs the command."""
    if not words or words[0] in ("-h", "--help", "help"):
        print(_help())
    elif words[0] in ("-V", "--version"):
        from cryo_disentangle import __version__

        print(f"cryo-disentangle {__version__}")
    else:
        name, *rest = words
        command = _COMMANDS.get(name)
        if command is None:
            raise ArgumentError(None, _unknown(name))
        if command.parser:
            # Help, and words that are refused, need nothing of the command.
            getattr(commands, command.parser)().parse_args(rest)
        # Classes in the current folder can be named by class_path.
        if "" not in sys.path:
            sys.path.append("")
        function: Callable[[list[str]], None] = getattr(
            importlib.import_module(command.module), command.function
        )
        function(rest)


def _help() -> str:
    """All commands."""
    width = max(map(len, _COMMANDS))
    lines = (f"  {name:{width}}  {command.purpose}" for name, command in _COMMANDS.items())
    return "\n".join(
        [
            "usage: cryo-disentangle COMMAND ...",
            "",
            "Trains and tests the latent spaces of heterogeneous cryo-EM reconstruction.",
            "",
            "commands:",
            *lines,
            "",
            "Options of a command: cryo-disentangle COMMAND --help",
            'Completion in bash and zsh: eval "$(cryo-disentangle completion)"',
        ]
    )


def _unknown(name: str) -> str:
    """What to say of a command that there is not."""
    elsewhere = _ELSEWHERE.get(name)
    near = [elsewhere] if elsewhere else difflib.get_close_matches(name, _COMMANDS, 1)
    meant = f"did you mean {near[0]!r}? " if near else ""
    return f"no command {name!r}: {meant}there are {', '.join(_COMMANDS)}"
