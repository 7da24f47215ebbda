"""Puts many jobs in with COPY: half the work of the function, for those that may run at once and have no key."""

from __future__ import annotations

from datetime import UTC
from itertools import islice
from typing import TYPE_CHECKING, Final

from supervisor.store.job_rows import USUAL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from datetime import datetime

    import asyncpg

    from supervisor.store.enqueue import JobOptions
    from supervisor.store.link import Link

_IDS: Final = """
SELECT known.queue, known.service, known.max_attempts, known.timeout_s, known.changes, known.essential,
       clock_timestamp(), ARRAY(SELECT nextval('supervisor.job_ids') FROM generate_series(1, $2::integer))
FROM supervisor.job_kinds AS known WHERE known.kind = $1
"""
_WAKE: Final = "SELECT supervisor.wake(ARRAY[$1])"
_COLUMNS: Final = (
    *("id", "args", "kind", "queue", "service", "tenant", "priority", "run_at", "created_at"),
    *("max_attempts", "timeout_s", "changes", "essential", "trace_parent"),
)
_ESCAPES: Final = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})
_PIECE: Final = 1_000
"""Rows that are made while PostgreSQL stores those before."""


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
    known = await link.fetchrow(_IDS, kind, len(args), within=within)
    if known is None:
        return None
    queue = options.queue or known[0]
    ids: list[int] = known[7]
    rows = _pieces(zip(ids, args, strict=True), _rest(kind, queue, known, options, trace_parent))
    await link.copy("jobs", _COLUMNS, rows, within=within)
    await link.fetch(_WAKE, queue, within=within)
    return ids


async def _pieces(jobs: Iterator[tuple[int, str]], rest: str) -> AsyncIterator[bytes]:
    # The JSON that we write has no control characters, so that only the backslash has a meaning for COPY.
    while rows := [f"{job}\t{_doubled(args)}{rest}" for job, args in islice(jobs, _PIECE)]:
        yield "".join(rows).encode()


def _doubled(args: str) -> str:
    return args.replace("\\", r"\\")


def _rest(kind: str, queue: str, known: asyncpg.Record, options: JobOptions, trace_parent: str | None) -> str:
    """Write the columns that all rows share, as the text format of COPY wants them."""
    at: datetime = known[6]
    now = at.astimezone(UTC).isoformat()
    _, service, max_attempts, timeout, changes, essential, *_ = known
    shared = (
        *(kind, queue, service, options.tenant, options.priority, now, now),
        *(options.max_attempts or max_attempts, timeout, changes, essential, trace_parent),
    )
    return "".join(f"\t{_written(value)}" for value in shared) + "\n"


def _written(value: object) -> str:
    return r"\N" if value is None else str(value).translate(_ESCAPES)
