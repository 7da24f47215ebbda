"""Draws tables of plain text that fit the terminal, with colours where they can be seen."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NARROWEST: Final = 80
WIDEST: Final = 120
"""Columns: a table is never made narrower than the one, nor wider than the other."""

_GAP: Final = 2


@dataclass(frozen=True, slots=True)
class Column:
    """A column; one with a `least` width gives way, down to that, when the table is too wide."""

    title: str
    right: bool = False
    least: int | None = None


@dataclass(frozen=True, slots=True)
class Cell:
    """A text with a colour, as `typer.style` names them, or bold with `bold`."""

    text: str
    colour: str | None = None


def table(columns: Sequence[Column], rows: Sequence[Sequence[Cell | str]], *, width: int, colours: bool) -> list[str]:
    """Draw a table with its titles; a column that is empty in every row is left out."""
    cells = [[cell if isinstance(cell, Cell) else Cell(cell) for cell in row] for row in rows]
    for row in cells:
        row[:] = [Cell(plain(cell.text), cell.colour) for cell in row]
    shown = [place for place in range(len(columns)) if not cells or any(row[place].text for row in cells)]
    columns = [columns[place] for place in shown]
    cells = [[row[place] for place in shown] for row in cells]
    widths = _widths(columns, cells, width)
    titles = [Cell(column.title, "bold") for column in columns]
    return list(_lines(columns, [titles, *cells], widths, colours=colours))


def plain(text: str) -> str:
    """Put a text on one line, and show what could move the cursor: an error's text may come from anywhere."""
    text = " ".join(text.split("\n"))
    return text if text.isprintable() else "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def counted(count: int, noun: str) -> str:
    """Write a number with its noun: `1 job`, `2 jobs`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def styled(text: str, colour: str | None, *, colours: bool) -> str:
    """Colour a text, where colours can be seen."""
    if not colours or colour is None:
        return text
    return typer.style(text, bold=True) if colour == "bold" else typer.style(text, fg=colour)


def colours_wanted() -> bool:
    """Whether standard output is a terminal whose user has not refused colours."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def terminal_width() -> int:
    """Return how wide a table may be: the terminal's width within the limits, the widest where there is none."""
    return min(WIDEST, max(NARROWEST, shutil.get_terminal_size((WIDEST, 24)).columns))


def _widths(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], room: int) -> list[int]:
    """Make each column as wide as its texts; what is too much is taken from the widest of those that give way."""
    from rich.cells import cell_len

    widths = [
        max([cell_len(column.title), *(cell_len(row[place].text) for row in rows)])
        for place, column in enumerate(columns)
    ]
    while sum(widths) + _GAP * (len(widths) - 1) > room:
        wider = [place for place, column in enumerate(columns) if column.least and widths[place] > column.least]
        if not wider:
            break
        widths[max(wider, key=widths.__getitem__)] -= 1
    return widths


def _lines(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell]], widths: Sequence[int], *, colours: bool
) -> Iterator[str]:
    for row in rows:
        texts = []
        for column, cell, width in zip(columns, row, widths, strict=True):
            texts.append(styled(_fitted(cell.text, width, right=column.right), cell.colour, colours=colours))
        yield (" " * _GAP).join(texts).rstrip()


def _fitted(text: str, width: int, *, right: bool) -> str:
    from rich.cells import cell_len, set_cell_size

    if cell_len(text) > width:
        return f"{set_cell_size(text, width - 1)}…"
    padding = " " * (width - cell_len(text))
    return padding + text if right else text + padding
