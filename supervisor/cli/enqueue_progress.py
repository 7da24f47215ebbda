"""Shows how far the enqueue of a file is: as a bar on a terminal, else as a line from time to time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Protocol

import typer

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from rich.progress import Progress, TaskID

EVERY: Final = 2.0
"""Seconds between two lines."""


class Shown(Protocol):
    """Where the progress of an enqueue goes; used as a context manager."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def checked(self, size: int, whole: int | None) -> None:
        """So many bytes of all are checked; None if nobody knows how many there are."""

    def moved(self, done: int, total: int) -> None:
        """So many jobs of all are in the database."""


def progress() -> Shown:
    """Return what fits standard error."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        return _Lines()
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    return _Bar(bar)


class _Lines:
    def __init__(self) -> None:
        self._last = time.monotonic()
        self._said = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def checked(self, size: int, whole: int | None) -> None:
        """Say nothing: the check of a file takes no longer than a line takes to read."""

    def moved(self, done: int, total: int) -> None:
        """Say so at first, at last, and from time to time."""
        now = time.monotonic()
        if not self._said or done == total or now - self._last >= EVERY:
            self._last, self._said = now, True
            typer.echo(f"enqueued {done} of {total}", err=True)


class _Bar:
    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._check: TaskID | None = None
        self._move: TaskID | None = None

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def checked(self, size: int, whole: int | None) -> None:
        if self._check is None:
            self._check = self._bar.add_task("checking (bytes)", total=whole)
        self._bar.update(self._check, completed=size)

    def moved(self, done: int, total: int) -> None:
        if self._move is None:
            if self._check is not None:
                self._bar.remove_task(self._check)
            self._move = self._bar.add_task("enqueuing", total=total)
        self._bar.update(self._move, completed=done)
