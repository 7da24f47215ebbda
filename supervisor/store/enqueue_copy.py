"""Puts many jobs in with COPY: half the work of the function, for those that may run at once and have no key.

Where a limit or the depth of the queue has a say, it is the function all the same. One that was set while a COPY was
under way is obeyed at the start of the jobs, and by the next.

The rows are made in the binary format, in which nothing has to be escaped: of a row only the id and the arguments are
its own, the rest is the same bytes for all.
https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format"
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from struct import Struct, pack
from typing import TYPE_CHECKING, Final

from supervisor.store import enqueue
from supervisor.store.job_rows import USUAL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    import asyncpg

    from supervisor.store.enqueue import JobOptions
    from supervisor.store.link import Link

_IDS: Final = """
SELECT known.queue, known.service, known.max_attempts, known.timeout_s, known.changes, known.essential,
       clock_timestamp(),
       CASE WHEN supervisor.is_free(coalesce($3, known.queue), known.kind, known.service, $4)
            THEN ARRAY(SELECT nextval('supervisor.job_ids') FROM generate_series(1, $2::integer)) END
FROM supervisor.job_kinds AS known WHERE known.kind = $1
"""
_WAKE: Final = "SELECT supervisor.wake(ARRAY[$1])"
_COLUMNS: Final = (
    *("id", "args", "kind", "queue", "service", "tenant", "priority", "run_at", "created_at"),
    *("max_attempts", "timeout_s", "changes", "essential", "trace_parent"),
)
_PIECE: Final = 1_000
"""Rows that are made while PostgreSQL stores those before."""

_BEGIN: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END: Final = b"\xff\xff"
_NULL: Final = b"\xff\xff\xff\xff"
_JSONB: Final = 1  # the version of its binary form: the text follows
_own: Final = Struct(">hiqiB").pack  # number of columns, length of the id, the id, length of the arguments, version
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)


async def copy(  # noqa: PLR0913 - what a job consists of
    link: Link,
    kind: str,
    args: Sequence[str],
    options: JobOptions,
    trace_parent: str | None,
    *,
    within: float = USUAL,
) -> Sequence[int] | None:
    """Put jobs in that may run at once, inside a transaction; returns their ids, None if nobody offered the kind.

    The rows are those that the function makes. `within` is for each of three statements.
    """
    known = await link.fetchrow(_IDS, kind, len(args), options.queue, options.tenant, within=within)
    if known is None:
        return None
    ids: list[int] | None = known[7]
    if ids is None:
        made = await enqueue.many(enqueue.OnLink(link, within), kind, args, options, None, trace_parent)
        return None if made is None else [row[0] for row in made]
    queue = options.queue or known[0]
    rows = _pieces(zip(ids, args, strict=True), _shared(kind, queue, known, options, trace_parent))
    await link.copy("jobs", _COLUMNS, rows, binary=True, within=within)
    await link.fetch(_WAKE, queue, within=within)
    return ids


async def _pieces(jobs: Iterator[tuple[int, str]], shared: bytes) -> AsyncIterator[bytes]:
    yield _BEGIN
    while rows := [_row(job, args.encode(), shared) for job, args in islice(jobs, _PIECE)]:
        yield b"".join(rows)
    yield _END


def _row(job: int, args: bytes, shared: bytes) -> bytes:
    return b"%b%b%b" % (_own(len(_COLUMNS), 8, job, len(args) + 1, _JSONB), args, shared)


def _shared(kind: str, queue: str, known: asyncpg.Record, options: JobOptions, trace_parent: str | None) -> bytes:
    """Write the columns behind the arguments, which are the same in all rows."""
    _, service, max_attempts, timeout, changes, essential, at, _ = known
    now = pack(">q", (at - _EPOCH) // timedelta(microseconds=1))
    columns = (
        *(kind.encode(), queue.encode(), service.encode(), _text(options.tenant), pack(">h", options.priority)),
        *(now, now, pack(">h", options.max_attempts or max_attempts), pack(">f", timeout), pack(">?", changes)),
        *(pack(">?", essential), _text(trace_parent)),
    )
    return b"".join(_NULL if column is None else pack(">i", len(column)) + column for column in columns)


def _text(text: str | None) -> bytes | None:
    return None if text is None else text.encode()
