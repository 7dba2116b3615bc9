"""Words of a command line."""

from __future__ import annotations

from argparse import ArgumentError, ArgumentParser
from typing import NoReturn

__all__ = ["CommandParser"]


class CommandParser(ArgumentParser):
    """An argument parser that raises what it would print after its usage."""

    def error(self, message: str) -> NoReturn:
        """Refuses the words.

        Args:
            message: What is wrong with them.

        Raises:
            ArgumentError: Always.
        """
        end = f" (options: {self.prog} --help)"
        raise ArgumentError(None, message if message.endswith(end) else message + end)
