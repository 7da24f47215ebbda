"""Reads the documentation: its pages, their fenced blocks, links and tables."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

from tests.source import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FENCE: Final = re.compile(r"^```(\w*)[ \t]*([^\n`]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK: Final = re.compile(r"\]\(([^)\s]+)\)")
_HEADING: Final = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block. `line` is that of its first line of text, `words` what follows the language."""

    language: str
    words: frozenset[str]
    text: str
    line: int


@dataclass(frozen=True, slots=True)
class Page:
    """One file of the documentation."""

    path: Path

    def __str__(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @property
    def text(self) -> str:
        """The whole file."""
        return self.path.read_text(encoding="utf-8")

    def blocks(self, language: str) -> list[Block]:
        """List the fenced blocks in this language."""
        text = self.text
        return [
            Block(found[1], frozenset(found[2].split()), found[3], text.count("\n", 0, found.start(3)) + 1)
            for found in _FENCE.finditer(text)
            if found[1] == language
        ]

    @property
    def prose(self) -> str:
        """The file without its fenced blocks."""
        return _FENCE.sub("", self.text)

    @property
    def links(self) -> list[str]:
        """The targets of its links."""
        return _LINK.findall(self.prose)

    @property
    def anchors(self) -> set[str]:
        """What a link can name after `#`: the headings, as GitHub spells them."""
        kept = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in _HEADING.findall(self.prose))
        return {heading.replace(" ", "-") for heading in kept}

    def rows(self, first: str) -> list[tuple[str, ...]]:
        """Return the rows of the table whose first column is called `first`, without its head."""
        lines = iter(self.prose.splitlines())
        if not any(_cells(line)[:1] == (first,) for line in lines):
            return []
        next(lines)
        return list(_table(lines))


@dataclass(frozen=True, slots=True)
class Program:
    """Python blocks of one page that belong together. Each line stands where it stands in the page."""

    page: Page
    number: int
    text: str
    runs: bool

    @property
    def name(self) -> str:
        """A module name: `docs_actors_2` is the second program of `docs/actors.md`."""
        return re.sub(r"\W", "_", str(self.page).removesuffix(".md")).lower() + f"_{self.number}"


@cache
def pages() -> tuple[Page, ...]:
    """Return every page of the documentation."""
    return tuple(map(Page, (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))))


def programs(page: Page) -> list[Program]:
    """List the programs of a page; a block marked `more` goes on with the one before it, and `run` is to be run."""
    found: list[Program] = []
    for block in page.blocks("python"):
        before = found.pop() if "more" in block.words else Program(page, len(found) + 1, "", runs=False)
        gap = "\n" * (block.line - 1 - before.text.count("\n"))
        found.append(Program(page, before.number, before.text + gap + block.text, before.runs or "run" in block.words))
    return found


def _cells(line: str) -> tuple[str, ...]:
    return tuple(cell.strip() for cell in line.strip().strip("|").split("|")) if line.startswith("|") else ()


def _table(lines: Iterator[str]) -> Iterator[tuple[str, ...]]:
    for line in lines:
        if not (cells := _cells(line)):
            return
        yield cells
