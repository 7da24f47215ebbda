"""A file of arguments: every line is checked before the first is used, and it is read again from any place."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass

import pytest

from supervisor.jobs.args_file import MAX_LINE, MAX_MISTAKES, args_from, survey
from supervisor.jobs.args_lines import LineReader
from supervisor.jobs.job import job
from supervisor.jobs.payload import MAX_BYTES


@dataclass(frozen=True)
class Order:
    number: str


@job()
async def place(args: Order) -> None:
    """Do nothing."""


READER = LineReader.of(place)


def file(text: str | bytes) -> io.BytesIO:
    """Make a file with this content."""
    return io.BytesIO(text.encode() if isinstance(text, str) else text)


@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_comments_and_blank_lines_are_skipped(end: str) -> None:
    """What is no job is counted apart, whatever ends the lines, and a byte order mark is no part of the first."""
    content = b"\xef\xbb\xbf# orders\n\n  A-1  \n\t# more\n" + '{"number": "Ä-2"}'.encode() + end.encode()
    found = survey(file(content), READER)
    assert (found.lines, found.jobs, found.skipped, found.mistakes) == (5, 2, 3, [])
    assert found.digest == hashlib.sha256(content).hexdigest()
    assert list(args_from(file(content), READER)) == [Order("A-1"), Order("Ä-2")]


@pytest.mark.parametrize(("skip", "rest"), [(0, ["a", "b", "c"]), (2, ["c"]), (3, []), (9, [])])
def test_reading_goes_on_from_any_place(skip: int, rest: list[str]) -> None:
    """Jobs that are already enqueued are passed over, and comments do not count."""
    found = args_from(file("# x\na\n\nb\n# y\nc\n"), READER, skip)
    assert [order.number for order in found] == rest


def test_all_mistakes_are_found_in_one_go() -> None:
    """Each mistake has its line, its field and a remedy; the first twenty are kept, all are counted."""
    content = b"a\n[]\n\xff\n" + b'{"nmber": 1}\n' + b"x" * (MAX_BYTES + 1) + b"\n" + b"[1]\n" * 30
    found = survey(file(content), READER)
    assert (found.lines, found.jobs, found.mistake_count) == (35, 1, 34)
    assert len(found.mistakes) == MAX_MISTAKES
    assert [(each.line, each.field) for each in found.mistakes[:4]] == [(line, "args") for line in (2, 3, 4, 5)]
    assert "not UTF-8" in found.mistakes[1].reason
    assert "missing required field `number`" in str(found.mistakes[2])
    assert "the limit is" in str(found.mistakes[3])
    assert all(each.remedy for each in found.mistakes)


def test_an_endless_line_is_one_mistake() -> None:
    """A line beyond all limits is not read into memory as a whole, and those after it keep their numbers."""
    content = b"a\n" + b"x" * (3 * MAX_LINE) + b"\nb\n[]\n"
    found = survey(file(content), READER)
    assert (found.lines, found.jobs) == (4, 2)
    assert [each.line for each in found.mistakes] == [2, 4]
    assert found.digest == hashlib.sha256(content).hexdigest()


def test_progress_counts_bytes() -> None:
    """Whoever watches is told how much was read, at last all of it."""
    told: list[int] = []
    content = "a\n" * 10_000
    survey(file(content), READER, told.append)
    assert told == sorted(told)
    assert len(told) > 1
    assert told[-1] == len(content)
