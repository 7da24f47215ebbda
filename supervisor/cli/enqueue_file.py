"""Enqueues a file of jobs: all of it is checked first, and what a killed process has begun, the next one finishes."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO, Final

import typer

from supervisor.cli.database_session import leave
from supervisor.cli.enqueue_order import make_known
from supervisor.errors import DatabaseUnavailable
from supervisor.process.exit_code import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from supervisor.cli.database_session import DatabaseSession
    from supervisor.cli.enqueue_order import Order
    from supervisor.cli.enqueue_progress import Shown
    from supervisor.jobs.args_file import Survey
    from supervisor.store.link import Link

CHUNK: Final = 5_000
"""Jobs of one transaction."""


@dataclass(frozen=True, slots=True)
class FileOrder:
    """What is to be enqueued: a job for each line of `source`; `again`: also if that was done before."""

    order: Order
    source: BinaryIO
    again: bool = False

    def batch(self, found: Survey) -> str:
        """Name the file by what it asks for: content, kind, queue and tenant. Lengths make the parts unmistakable."""
        parts = (self.order.kind, self.order.options.queue or "", self.order.options.tenant or "", found.digest)
        return hashlib.sha256("".join(f"{len(part)}:{part}" for part in parts).encode()).hexdigest()

    def texts(self, skip: int) -> Iterator[str]:
        """Yield the arguments as they are stored, behind the first `skip` jobs."""
        from supervisor.jobs.args_file import args_from

        reader = self.order.reader
        return map(reader.check, args_from(self.source, reader, skip))

    @property
    def state(self) -> tuple[int, int]:
        """What changes when somebody writes to the file: its size and time."""
        found = os.fstat(self.source.fileno())
        return found.st_size, found.st_mtime_ns


@dataclass(frozen=True, slots=True)
class Enqueued:
    """What became of a file. `before` jobs were there when this process began; `finished_at` is for a finished file."""

    batch: str
    jobs: int
    enqueued: int
    before: int
    seconds: float
    finished_at: datetime | None = None

    @property
    def per_second(self) -> float:
        """Jobs per second."""
        return self.enqueued / self.seconds if self.seconds > 0 else 0.0


@dataclass(slots=True)
class Place:
    """How far a file is."""

    batch: str
    position: int
    total: int


@contextmanager
def opened(path: str) -> Iterator[BinaryIO]:
    """Open a file, or standard input as `-`; what can be read only once is copied to a temporary file first."""
    try:
        source = sys.stdin.buffer if path == "-" else open(path, "rb")  # noqa: PTH123, SIM115 - closed below
    except OSError as error:
        raise typer.BadParameter(f"{path} cannot be read: {error.strerror}", param_hint="--file") from None
    try:
        if path != "-" and source.seekable():
            yield source
            return
        with tempfile.TemporaryFile() as spool:
            shutil.copyfileobj(source, spool)
            yield spool
    finally:
        if path != "-":
            source.close()


def surveyed(lines: FileOrder, shown: Shown) -> Survey:
    """Check the whole file before anything is written."""
    from supervisor.jobs.args_file import survey

    whole, _ = lines.state
    return survey(lines.source, lines.order.reader, lambda size: shown.checked(size, whole))


async def enqueue_lines(session: DatabaseSession, lines: FileOrder, found: Survey, shown: Shown) -> Enqueued:
    """Enqueue what is not yet in the database; another process may do the same at the same time."""
    from supervisor.store import enqueue_files

    started, batch = time.monotonic(), lines.batch(found)
    await make_known(session.link, lines.order)
    file = await enqueue_files.begin(session.link, batch, found.jobs)
    if file.finished_at is not None and not lines.again:
        return Enqueued(batch, found.jobs, 0, found.jobs, 0.0, file.finished_at)
    if file.finished_at is not None:
        await enqueue_files.again(session.link, batch)
        file = await enqueue_files.begin(session.link, batch, found.jobs)
    try:
        enqueued = await _move(session.link, lines, Place(batch, file.position, file.total), shown)
    except DatabaseUnavailable as error:
        leave(ExitCode.NO_START, f"{error}\n  remedy: run the same command again; it goes on where this one ended")
    return Enqueued(batch, found.jobs, enqueued, file.position, time.monotonic() - started)


async def _move(link: Link, lines: FileOrder, place: Place, shown: Shown) -> int:
    """Enqueue chunk by chunk; the position moves in the transaction of each, so that no line is lost or doubled."""
    from supervisor.store import enqueue_files

    was, enqueued = lines.state, 0
    texts = lines.texts(place.position)
    while place.position < place.total:
        chunk = list(islice(texts, CHUNK))
        if not chunk or lines.state != was:
            gone = f"the file was changed meanwhile; {place.position} jobs of what it was before are enqueued"
            leave(ExitCode.USAGE, gone)
        async with link.transaction():
            ours = await enqueue_files.advance(link, place.batch, place.position, len(chunk))
            if ours:
                await _put(link, lines.order, chunk)
        if ours:
            place.position += len(chunk)
            enqueued += len(chunk)
        else:  # another process enqueues this file too: go on behind what it has done
            place.position = (await enqueue_files.begin(link, place.batch, place.total)).position
            texts = lines.texts(place.position)
        shown.moved(place.position, place.total)
    return enqueued


async def _put(link: Link, order: Order, chunk: list[str]) -> None:
    from supervisor.store import enqueue, enqueue_copy

    if order.options.is_immediate:
        await enqueue_copy.copy(link, order.kind, chunk, order.options, None)
    else:
        await enqueue.many(link, order.kind, chunk, order.options, None, None)
