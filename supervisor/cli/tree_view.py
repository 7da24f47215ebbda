"""Draws the tree of a running process for a terminal, in lines that fit its width."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec
from rich.cells import cell_len, set_cell_size
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from rich.console import Console, ConsoleOptions, RenderResult

_GAP: Final = 2
_SHORTEST: Final = 8  # a column of names gets no narrower than this
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_COLOURS: Final = {
    "running": "green",
    "starting": "yellow",
    "backoff": "yellow",
    "standby": "cyan",
    "draining": "yellow",
    "cancelling": "bold yellow",
    "killing": "bold red",
    "abandoned": "bold red",
    "failed": "bold red",
}
_FULL: Final = 0.8  # of a mailbox, from which on it is shown in red


class Node(msgspec.Struct, frozen=True):
    """One node as the process describes it; see `NodeSnapshot`. Ages are in seconds."""

    name: str
    kind: str
    state: str
    stage: str | None = None
    restarts: int = 0
    age: float | None = None
    busy: bool = False
    last_progress: float | None = None
    mailbox: int = 0
    capacity: int = 0
    last_outcome: str | None = None
    stack: str | None = None
    children: tuple[Node, ...] = ()


class Process(msgspec.Struct, frozen=True):
    """What a process answers about itself; `started_at` is in seconds of the Unix clock."""

    name: str
    pid: int
    state: str
    started_at: float
    tree: Node
    version: str | None = None


@dataclass(slots=True)
class _Row:
    """One node's line: its columns as text and style, then the marks, then the notes below it."""

    columns: list[tuple[str, str]]
    marks: list[tuple[str, str]]
    notes: list[tuple[str, str]] = field(default_factory=list)
    below: str = ""


class TreeView:
    """The drawing of one process's tree, for a rich console. `now` is in seconds of the Unix clock."""

    def __init__(self, process: Process, now: float) -> None:
        self._process = process
        self._now = now

    @classmethod
    def of(cls, answer: Mapping[str, object]) -> TreeView:
        """Draw what a process answered just now. Raises msgspec.ValidationError if it is not what it should be."""
        return cls(msgspec.convert(answer, Process), time.time())

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines."""
        process = self._process
        yield Text.assemble(
            (process.name, "bold"),
            f"  pid {process.pid}  ",
            (process.state, _COLOURS.get(process.state, "")),
            f"  up {duration(self._now - process.started_at)}",
            f"  version {process.version}" if process.version else "",
        )
        ascii_only = options.ascii_only or options.legacy_windows
        rows = list(_rows(process.tree, _ASCII if ascii_only else _LINES, "", ""))
        widths = _widths(rows, options.max_width)
        for row in rows:
            yield from _lines(row, widths, options.max_width)


def duration(seconds: float) -> str:
    """Write an age in at most two units: `0.4s`, `12s`, `3m05s`, `2h10m`, `4d3h`."""
    seconds = max(0.0, seconds)
    whole = int(seconds)
    if seconds < 10:  # noqa: PLR2004 - below it a tenth matters
        return f"{seconds:.1f}s"
    if whole < _MINUTE:
        return f"{whole}s"
    if whole < _HOUR:
        return f"{whole // _MINUTE}m{whole % _MINUTE:02}s"
    if whole < _DAY:
        return f"{whole // _HOUR}h{whole % _HOUR // _MINUTE:02}m"
    return f"{whole // _DAY}d{whole % _DAY // _HOUR}h"


@dataclass(frozen=True, slots=True)
class _Guides:
    fork: str
    last: str
    pipe: str


_LINES: Final = _Guides("├─ ", "└─ ", "│  ")
_ASCII: Final = _Guides("+- ", "`- ", "|  ")


def _rows(node: Node, guides: _Guides, lead: str, below: str) -> Iterator[_Row]:
    """List the lines of a node and all under it; `lead` stands before its name, `below` before what follows."""
    row = _row(node, lead)
    row.below = below + (guides.pipe if node.children else "   ")
    yield row
    for child in node.children:
        last = child is node.children[-1]
        further = below + ("   " if last else guides.pipe)
        yield from _rows(child, guides, below + (guides.last if last else guides.fork), further)


def _row(node: Node, lead: str) -> _Row:
    state = node.stage if node.stage is not None and node.state == "stopping" else node.state
    alive = node.state in {"starting", "running", "stopping"}
    up = f"up {duration(node.age)}" if alive and node.age is not None else ""
    progress = ""
    if alive and node.last_progress is not None:
        progress = f"{'busy' if node.busy else 'idle'} {duration(node.last_progress)}"
    row = _Row(
        columns=[
            (f"{lead}{node.name}", "bold" if node.children else ""),
            (node.kind, "cyan" if node.children else "dim cyan"),
            (state, _COLOURS.get(state, "dim")),
            (up, "dim"),
            (progress, "" if node.busy else "dim"),
        ],
        marks=[],
    )
    if node.mailbox:
        full = node.mailbox >= node.capacity * _FULL
        row.marks.append((f"mail {node.mailbox}/{node.capacity}", "bold red" if full else "yellow"))
    if node.restarts:
        row.marks.append((f"{node.restarts} restart{'s' if node.restarts > 1 else ''}", "yellow"))
    if node.last_outcome is not None and node.last_outcome.startswith("crashed"):
        row.notes.append((_plain(node.last_outcome), "red"))
    row.notes += [(_plain(line), "dim") for line in (node.stack or "").splitlines()]
    return row


def _plain(text: str) -> str:
    """Show what could move the cursor: an error's text may come from anywhere."""
    return text if text.isprintable() else "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def _widths(rows: list[_Row], room: int) -> list[int]:
    """Make the columns as wide as their texts; if that is too wide, first the kinds give way, then the names."""
    widths = [max(cell_len(row.columns[column][0]) for row in rows) for column in range(len(rows[0].columns))]
    excess = sum(width + _GAP for width in widths if width) - _GAP - room
    for column in (1, 0):
        cut = min(max(0, excess), max(0, widths[column] - _SHORTEST))
        widths[column] -= cut
        excess -= cut
    return widths


def _lines(row: _Row, widths: list[int], room: int) -> Iterator[Text]:
    """Yield a node's line; its marks go below it if they do not fit in."""
    line = _styled((_fitted(text, width), style) for (text, style), width in zip(row.columns, widths, strict=True))
    marks = _styled(row.marks)
    line.rstrip()
    if marks and line.cell_len + _GAP + marks.cell_len <= room:
        line.append(" " * _GAP).append_text(marks)
        marks = Text()
    yield line
    for note in (marks, *(Text(text, style) for text, style in row.notes)):
        if note:
            yield Text(row.below, "dim", no_wrap=True, overflow="ellipsis").append_text(note)


def _styled(pieces: Iterable[tuple[str, str]]) -> Text:
    parts = [Text(text, style) for text, style in pieces if text]
    return Text(" " * _GAP, no_wrap=True, overflow="ellipsis").join(parts)


def _fitted(text: str, width: int) -> str:
    if cell_len(text) > width:
        return f"{set_cell_size(text, width - 1)}…"
    return set_cell_size(text, width)
