"""The results for people: a table on a terminal, the same as plain text elsewhere, and as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import TextIO

    from benchmarks.results import Row

HEADINGS: Final = ("figure", "ours", "compared with", "ratio", "target", "reached")
_NUMBERS: Final = frozenset({"ours", "ratio", "target"})


def show(rows: Sequence[Row], facts: Mapping[str, str], out: TextIO) -> None:
    """Print the table as suits `out`."""
    if out.isatty():
        _rich(rows, facts, out)
    else:
        out.write(plain(rows, facts))


def plain(rows: Sequence[Row], facts: Mapping[str, str]) -> str:
    """Columns aligned with spaces."""
    table = [HEADINGS, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(HEADINGS))]
    aligned = [
        "  ".join(
            cell.rjust(width) if heading in _NUMBERS else cell.ljust(width)
            for cell, width, heading in zip(line, widths, HEADINGS, strict=True)
        ).rstrip()
        for line in table
    ]
    aligned.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join([*aligned, "", *(f"{name}: {value}" for name, value in facts.items())]) + "\n"


def markdown(rows: Sequence[Row], facts: Mapping[str, str]) -> str:
    """A table for the documentation, with the machine's facts below it."""
    rules = ("--:" if heading in _NUMBERS else "---" for heading in HEADINGS)
    lines = [_line(HEADINGS), _line(rules), *(_line(row.cells()) for row in rows)]
    facts_line = "; ".join(f"{name}: {value}" for name, value in facts.items())
    return "\n".join([*lines, "", f"Measured on {facts_line}."]) + "\n"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _rich(rows: Sequence[Row], facts: Mapping[str, str], out: TextIO) -> None:
    from rich.console import Console  # noqa: PLC0415 - plain output does without
    from rich.table import Table  # noqa: PLC0415 - the same
    from rich.text import Text  # noqa: PLC0415 - the same

    table = Table()
    for heading in HEADINGS:
        table.add_column(heading, justify="right" if heading in _NUMBERS else "left")
    for row in rows:
        *cells, reached = row.cells()
        table.add_row(*map(Text, cells), Text(reached, style="green" if row.reached else "bold red"))
    console = Console(file=out)
    console.print(table)
    for name, value in facts.items():
        console.print(Text(f"{name}: {value}", style="dim"))
