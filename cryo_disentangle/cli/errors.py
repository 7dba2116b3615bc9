"""How a command ends that could not do its work."""

from __future__ import annotations

import errno
import os
import re
import sys
import traceback
from collections.abc import Iterator

from cryo_disentangle.options.sentences import LONGEST, one_sentence

__all__ = ["leave"]

_PROGRAM = "cryo-disentangle: "
_TRACEBACK = "CRYO_DISENTANGLE_TRACEBACK"
# As argparse exits.
_WRONG_WORDS = 2
# 128 + SIGINT, as shells say.
_INTERRUPTED = 130
# 128 + SIGPIPE, as shells say.
_PIPE_CLOSED = 141

# Other libraries' errors that are no fault of the program, by name: importing torch and Lightning
# only to know them would make every command slow.
_OF_INPUT = {
    "ArgumentError",
    "ArgumentTypeError",
    "MisconfigurationException",
    "UnpicklingError",
    "YAMLError",
}
# Kinds that come of a mistake in the program, though they are kinds of the errors of input.
_OF_PROGRAM = (NotImplementedError, RecursionError)
_ROOMS = ("cryo_disentangle", "lightning", "jsonargparse")

# What to do about what the system refuses.
_ADVICE = {
    errno.EEXIST: "a file is in the way of this folder: choose another folder, or move the file",
    errno.ENOTDIR: "a file is in the way of this folder: choose another folder, or move the file",
    errno.EACCES: "no permission: choose another folder, or ask who owns this one",
    errno.EROFS: "the file system can't be written to: choose another folder",
    errno.ENOSPC: "the disk is full: make room, then run the same command again",
    errno.EDQUOT: "the quota is used up: make room, then run the same command again",
    errno.EMFILE: "too many files are open: raise the limit (ulimit -n), or lower num_workers",
}

# What libraries say in words that do not help, and what is said instead.
_KNOWN = (
    (
        r"Found more than one stateful callback of type `(\w+)`.*",
        r"trainer.callbacks: \1 is there twice under one name: give each a name of its own, or "
        "leave one out",
    ),
    (
        r"`ModelCheckpoint\(monitor='?(.*?)'?\)` could not find the monitored key in the returned "
        r"metrics: (\[.*?\]).*",
        r"checkpoint.monitor: expected one of \2, found '\1'",
    ),
    (
        r"`Trainer\(devices=(.*?)\)` value is not a valid input using (\w+) accelerator.*",
        r"trainer.devices: expected a number of devices above 0 or 'auto' (accelerator \2), "
        r"found \1",
    ),
    (
        r"No supported gpu backend found!",
        "trainer.accelerator: found gpu, and this machine has none that torch can use: give cpu",
    ),
    (
        r"Invalid learning rate: (.*)",
        r"model.optimizer: expected a learning rate (lr) from 0 on, found \1",
    ),
    (
        r"trainer\.logger: (\w+): the following arguments are required: save_dir",
        r"trainer.logger: \1 needs a folder, found none: give --trainer.logger.save_dir FOLDER, or "
        "leave --trainer.logger out, for CSV and TensorBoard logs in the folder of the run",
    ),
    (
        r"(-?\d+) is not in bounds, numpy accepts from 0 to (\d+)",
        r"seed_everything: expected a whole number from 0 to \2, found \1",
    ),
)


def leave(error: BaseException) -> None:
    """Ends the process with a sentence on what went wrong.

    Args:
        error: What ended the command.

    Raises:
        SystemExit: Unless a traceback was asked for, or the error ends the process already.
    """
    if isinstance(error, SystemExit):
        # Lightning turns Ctrl-C into an exit with status 1.
        if not isinstance(error.__context__, KeyboardInterrupt) or error.code != 1:
            return
        error = error.__context__
    if os.environ.get(_TRACEBACK):
        return
    if isinstance(error, KeyboardInterrupt):
        print(f"{_PROGRAM}interrupted", file=sys.stderr)
        sys.exit(_INTERRUPTED)
    if isinstance(error, OSError) and error.errno == errno.EPIPE:
        # Whoever read the output has gone: nobody is left to be told.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(_PIPE_CLOSED)
    sentence = _PROGRAM + _sentence(error)
    if type(error).__name__ == "ArgumentError":
        print(sentence, file=sys.stderr)
        sys.exit(_WRONG_WORDS)
    sys.exit(sentence)


def _sentence(error: BaseException) -> str:
    """What is said of an error."""
    begin, end = "error: ", ""
    if not _is_of_input(error):
        begin = f"this looks like a bug ({type(error).__name__}"
        place = _place(error)
        begin += f" at {place}): " if place else "): "
        end = f"; report it with the traceback that {_TRACEBACK}=1 before the command shows"
    return begin + _said(error, LONGEST - len(_PROGRAM + begin + end)) + end


def _is_of_input(error: BaseException) -> bool:
    """Whether input is at fault."""
    if isinstance(error, _OF_PROGRAM):
        return False
    if isinstance(error, OSError | ValueError | TypeError | OverflowError | MemoryError):
        return True
    if isinstance(error, ImportError):
        return not (error.name or "").startswith("cryo_disentangle")
    names = {kind.__name__ for kind in type(error).__mro__}
    if names & _OF_INPUT:
        return True
    # Libraries raise RuntimeError for what they were given and for what they were used wrongly.
    return isinstance(error, RuntimeError) and (
        "OutOfMemoryError" in names or _room(error) in _ROOMS or _came_from_worker(error)
    )


def _said(error: BaseException, room: int) -> str:
    """The message, in the program's words where the library's don't help."""
    if type(error).__name__ == "OutOfMemoryError":
        return "the device has too little memory: lower --data.batch_size, or give a smaller model"
    if isinstance(error, MemoryError):
        return f"this machine has too little memory: {one_sentence(error, room)}"
    if isinstance(error, OSError) and error.strerror and error.filename:
        advice = _ADVICE.get(error.errno or 0, error.strerror)
        return f"{os.fsdecode(error.filename)}: {advice}"
    whole = one_sentence(error, 10**6)
    for pattern, said in _KNOWN:
        if match := re.fullmatch(pattern, whole):
            return one_sentence(ValueError(match.expand(said)), room)
    return one_sentence(error, room)


def _frames(error: BaseException) -> Iterator[str]:
    """Modules that the error came through, the innermost first."""
    stack = list(traceback.walk_tb(error.__traceback__))
    for frame, line in reversed(stack):
        yield f"{frame.f_globals.get('__name__', '')}:{line}"


def _room(error: BaseException) -> str:
    """Package in which an error was raised."""
    return next(_frames(error), "").split(".")[0].split(":")[0]


def _place(error: BaseException) -> str:
    """Where in this package an error was raised or came through last."""
    return next((place for place in _frames(error) if place.startswith(_ROOMS[0])), "")


def _came_from_worker(error: BaseException) -> bool:
    """Whether an error was caught in a worker of a DataLoader, whose kind it keeps."""
    return "Original Traceback" in str(error)
