"""Words of a command line."""

from __future__ import annotations

from argparse import Action, ArgumentDefaultsHelpFormatter, ArgumentError, ArgumentParser
from typing import NoReturn

__all__ = ["CommandParser"]


class _Formatter(ArgumentDefaultsHelpFormatter):
    """Shows defaults that say something."""

    def _get_help_string(self, action: Action) -> str | None:
        empty = action.default is None or action.default is False or action.default == []
        return action.help if empty else super()._get_help_string(action)


class CommandParser(ArgumentParser):
    """An argument parser that raises what it would print after its usage, and takes whole names.

    Args:
        command: Name of the command.
        description: What it does.
    """

    def __init__(self, command: str, description: str) -> None:
        super().__init__(
            f"cryo-disentangle {command}",
            description=description,
            formatter_class=_Formatter,
            # An abbreviation would mean something else once another option begins alike.
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        """Refuses the words.

        Args:
            message: What is wrong with them.

        Raises:
            ArgumentError: Always.
        """
        end = f" (options: {self.prog} --help)"
        raise ArgumentError(None, message if message.endswith(end) else message + end)
