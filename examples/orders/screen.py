"""What the example shows: lines that stay, one that changes, and a table; plain text where there is no terminal."""

from __future__ import annotations

import os
import shutil
import sys
import time
from dataclasses import dataclass

QUIET = 5.0
"""Seconds without a word after which the progress is told where a line cannot be changed."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: what should be, what is, and whether that is right."""

    name: str
    expected: str
    found: str
    is_right: bool


class Screen:
    """Writes to the standard output."""

    def __init__(self) -> None:
        self._terminal = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        self._colours = self._terminal and not os.environ.get("NO_COLOR")
        self._live = ""
        self._said = 0.0

    def say(self, text: str = "") -> None:
        """Write a line that stays."""
        self.clear()
        self._said = time.monotonic()
        print(text, flush=True)

    def title(self, text: str) -> None:
        """Write a line that stays and is seen."""
        self.say(self._dyed(text, "1"))

    def live(self, text: str) -> None:
        """Write the line that changes; without a terminal, a line when nothing was said for a while."""
        if not self._terminal:
            if text != self._live and time.monotonic() - self._said >= QUIET:
                self._said = time.monotonic()
                print(text, flush=True)
        elif text != self._live:
            width = shutil.get_terminal_size().columns - 1
            print(f"\r\x1b[2K{text[:width]}", end="", flush=True)
        self._live = text

    def clear(self) -> None:
        """Take the line that changes away."""
        if self._live and self._terminal:
            print("\r\x1b[2K", end="", flush=True)
        self._live = ""

    def table(self, rows: list[Row]) -> None:
        """Write rows, with a verdict for each."""
        rows = [Row("", "expected", "found", is_right=True), *rows]
        name = max(len(row.name) for row in rows)
        expected, found = max(len(row.expected) for row in rows), max(len(row.found) for row in rows)
        for number, row in enumerate(rows):
            verdict = self._dyed("ok", "32") if row.is_right else self._dyed("WRONG", "1;31")
            line = f"  {row.name:{name}}  {row.expected:>{expected}}  {row.found:>{found}}"
            self.say(f"{line}  {verdict}" if number else line)

    def _dyed(self, text: str, colour: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._colours else text
