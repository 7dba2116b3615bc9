"""Progress of statistics on the terminal: a bar for each stage."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

__all__ = ["shown_stages"]


class _StageBars:
    """Shows each stage as a bar, and how long it took."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._stage: TaskID | None = None

    def say(self, what: str) -> None:
        """A choice was made."""
        if not self._bar.disable:
            self._bar.console.print(what, markup=False, highlight=False, soft_wrap=True)

    def start(self, what: str, total: int) -> None:
        """A stage begins, of so many units."""
        self._stage = self._bar.add_task(what, total=total)

    def advance(self, count: int) -> None:
        """So many more units are done."""
        if self._stage is not None:
            self._bar.advance(self._stage, count)


@contextmanager
def shown_stages(*, hidden: bool = False) -> Iterator[_StageBars]:
    """Shows bars while statistics are made.

    Args:
        hidden: Whether to show none.

    Yields:
        Receives the progress of the work (`settings.Progress`).
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), disable=hidden) as bar:
        yield _StageBars(bar)
