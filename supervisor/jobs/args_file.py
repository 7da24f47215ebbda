"""Reads a file with the arguments of one job on each line: checks all of it first, then yields it from any place."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, Final, TypeVar

from supervisor.errors import InvalidPayload
from supervisor.jobs.payload import MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from supervisor.jobs.args_lines import LineReader

A = TypeVar("A")

MAX_MISTAKES: Final = 20
"""So many mistakes are kept, to be shown; the rest is counted."""

MAX_LINE: Final = 4 * MAX_BYTES
"""Bytes of the longest line that is read as a whole; JSON with spaces or escapes may be longer than its payload."""

_BOM: Final = b"\xef\xbb\xbf"
_REPORT_EVERY: Final = 4096


@dataclass(frozen=True, slots=True)
class Mistake:
    """A line that cannot become a job; `line` counts from 1."""

    line: int
    field: str
    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.field}: {self.reason}; {self.remedy}"


@dataclass(slots=True)
class Survey:
    """What a file holds. `skipped` lines are comments and blank ones; `digest` is SHA-256 of the content, in hex."""

    lines: int = 0
    jobs: int = 0
    skipped: int = 0
    digest: str = ""
    mistakes: list[Mistake] = field(default_factory=list)
    mistake_count: int = 0

    def note(self, mistake: Mistake) -> None:
        """Count a mistake, and keep it if it is among the first."""
        self.mistake_count += 1
        if len(self.mistakes) < MAX_MISTAKES:
            self.mistakes.append(mistake)


def survey(file: BinaryIO, reader: LineReader[A], progress: Callable[[int], object] = lambda _: None) -> Survey:
    """Read a whole file and check every line; `progress` gets the bytes read so far, from time to time."""
    found, content, size = Survey(), hashlib.sha256(), 0
    file.seek(0)
    for number, raw in _lines(file):
        content.update(raw)
        size += len(raw)
        if number == found.lines:
            continue  # the rest of a line that is too long
        found.lines = number
        if not number % _REPORT_EVERY:
            progress(size)
        _look_at(number, raw, reader, found)
    found.digest = content.hexdigest()
    progress(size)
    return found


def args_from(file: BinaryIO, reader: LineReader[A], skip: int = 0) -> Iterator[A]:
    """Yield the arguments that stand in a file without mistakes, from the one after the first `skip`."""
    file.seek(0)
    for number, raw in _lines(file):
        text = _text(raw, number)
        if not text or text[0] == "#":
            continue
        if skip > 0:
            skip -= 1
        else:
            yield reader.read(text)


def _look_at(number: int, raw: bytes, reader: LineReader[A], found: Survey) -> None:
    if len(raw) > MAX_LINE:
        reason = f"the line has more than {MAX_LINE} bytes"
        found.note(Mistake(number, "args", reason, "store the data elsewhere and pass a reference"))
        return
    try:
        text = _text(raw, number)
        if not text or text[0] == "#":
            found.skipped += 1
        else:
            reader.check(reader.read(text))
            found.jobs += 1
    except UnicodeDecodeError as error:
        reason = f"byte {error.start + 1} of the line is not UTF-8"
        found.note(Mistake(number, "args", reason, "save the file as UTF-8"))
    except InvalidPayload as error:
        found.note(Mistake(number, error.path, error.reason, error.remedy))


def _text(raw: bytes, number: int) -> str:
    return (raw.removeprefix(_BOM) if number == 1 else raw).decode().strip()


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield lines with their numbers; one that is too long comes in pieces under the same number."""
    number, whole = 0, True
    while raw := file.readline(MAX_LINE + 1):
        number += whole
        yield number, raw
        whole = raw.endswith(b"\n")
