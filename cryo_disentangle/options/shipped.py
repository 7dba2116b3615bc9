"""Configuration files and cluster scripts that come with the package."""

from __future__ import annotations

import difflib
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from cryo_disentangle.options.commands import configs_parser

__all__ = ["configs_command", "find_config", "shipped_names", "with_shipped"]

# Where they lie, in a wheel as in a clone.
_FOLDER = Path(__file__).parents[1] / "configs"
_SUFFIXES = (".yaml", ".sh")
_CONFIG = ("--config", "-c")


def configs_command(args: Sequence[str] | None = None) -> None:
    """Runs ``cryo-disentangle configs``: lists the files, or copies them.

    Args:
        args: Words after the command's name; None takes the process's own.

    Raises:
        FileExistsError: If a file that would be written is there.
        FileNotFoundError: If no such file is shipped.
    """
    options = configs_parser().parse_args(args)
    files = _shipped()
    chosen = list(files) if not options.names else [_named(name) for name in options.names]
    if options.copy is None:
        width = max(map(len, chosen))
        for name in chosen:
            print(f"{name:{width}}  {_purpose(files[name])}")
        print("\nTake one by its name (fit --config particles.yaml), or copy them (--copy .)")
        return
    there = [name for name in chosen if (options.copy / name).exists()]
    if there:
        raise FileExistsError(
            f"{options.copy / there[0]} is there already: choose another folder with --copy, or "
            "move it"
        )
    for name in chosen:
        (options.copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(files[name], options.copy / name)
    print(f"{len(chosen)} files in {options.copy}")


def shipped_names() -> list[str]:
    """Returns the names of YAML files as ``--config`` takes them."""
    return sorted({path.name for path in _shipped().values() if path.suffix == ".yaml"})


def with_shipped(words: Sequence[str], folder: str = "") -> list[str]:
    """Puts shipped configuration files in the place of names that are no files here.

    Args:
        words: Command line; files follow ``--config`` or ``-c``.
        folder: Which shipped files are meant first: ``simulate`` or ``benchmark``; "" are those of
            training.

    Returns:
        The same words with paths of shipped files.

    Raises:
        FileNotFoundError: If a file is neither here nor shipped.
    """
    found = list(words)
    for place, word in enumerate(words):
        option, equals, value = word.partition("=")
        if option not in _CONFIG:
            continue
        if equals:
            found[place] = f"{option}={find_config(value, folder)}"
        elif place + 1 < len(words):
            found[place + 1] = str(find_config(words[place + 1], folder))
    return found


def find_config(value: str | Path, folder: str = "") -> str | Path:
    """Finds a configuration file here, else among the shipped ones.

    Args:
        value: Its path or name; what is not that of a YAML file is left alone.
        folder: As for `with_shipped`.

    Returns:
        The path.

    Raises:
        FileNotFoundError: If it is neither here nor shipped.
    """
    path = Path(value)
    if path.suffix not in (".yaml", ".yml") or "{" in str(value) or path.is_file():
        return value
    files = _shipped()
    name = path.as_posix().removeprefix("./").removeprefix("configs/")
    for candidate in (f"{folder}/{name}" if folder else name, name):
        if candidate in files:
            print(f"{value}: the file that comes with cryo-disentangle", file=sys.stderr)
            return files[candidate]
    known = [each for each in files if each.rpartition("/")[0] == folder and ".yaml" in each]
    known = [each.rpartition("/")[2] for each in known]
    near = difflib.get_close_matches(path.name, known, 1)
    meant = f"did you mean {near[0]}? " if near else ""
    raise FileNotFoundError(
        f"{value}: no such file here, and none of this name comes with the package: {meant}there "
        f"are {', '.join(known)} (cryo-disentangle configs)"
    )


def _shipped() -> dict[str, Path]:
    """The files, by name within their folder."""
    paths = (path for path in _FOLDER.glob("**/*") if path.suffix in _SUFFIXES)
    names = {path.relative_to(_FOLDER).as_posix(): path for path in paths}
    return dict(sorted(names.items(), key=lambda item: (item[0].count("/"), item[0])))


def _named(name: str) -> str:
    """A file's name as the list has it."""
    known = _shipped()
    wanted = name.removeprefix("configs/")
    if wanted not in known:
        raise FileNotFoundError(f"{name}: not shipped: there are {', '.join(known)}")
    return wanted


def _purpose(path: Path) -> str:
    """The first sentence of a file's first comment."""
    words: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        # Deeper lines are commands.
        if re.match(r"# \S", line) is None:
            if words:
                break
            continue
        words.append(line.removeprefix("# "))
    return re.split(r"[.:;] |[.:]$", " ".join(words), maxsplit=1)[0]
