"""Remembers how far a file of jobs is in the database, so that its enqueue can go on where it was cut off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from supervisor.store.job_rows import USUAL

if TYPE_CHECKING:
    from datetime import datetime

    from supervisor.store.link import Link

_BEGIN = (
    "INSERT INTO supervisor.enqueue_files AS file (batch, position, total) VALUES ($1, 0, $2) "
    "ON CONFLICT (batch) DO UPDATE SET total = file.total "
    "RETURNING file.position, file.total, file.started_at, file.finished_at"
)
_AGAIN = (
    "UPDATE supervisor.enqueue_files SET position = 0, started_at = clock_timestamp(), finished_at = NULL "
    "WHERE batch = $1 AND finished_at IS NOT NULL"
)
_ADVANCE = (
    "UPDATE supervisor.enqueue_files AS file SET position = file.position + $3::bigint, "
    "finished_at = CASE WHEN file.position + $3::bigint >= file.total THEN clock_timestamp() END "
    "WHERE file.batch = $1 AND file.position = $2 RETURNING file.position"
)


@dataclass(frozen=True, slots=True)
class EnqueueFile:
    """A file on its way: so many of its `total` jobs are in the database."""

    position: int
    total: int
    started_at: datetime
    finished_at: datetime | None


async def begin(link: Link, batch: str, total: int, *, within: float = USUAL) -> EnqueueFile:
    """Write that a file is begun, or find how far it is."""
    (row,) = await link.fetch(_BEGIN, batch, total, within=within)
    return EnqueueFile(*row)


async def again(link: Link, batch: str, *, within: float = USUAL) -> None:
    """Begin a finished file anew; one that is not finished stays where it is."""
    await link.fetch(_AGAIN, batch, within=within)


async def advance(link: Link, batch: str, position: int, count: int, *, within: float = USUAL) -> bool:
    """Move a file on by `count` jobs, which the caller enqueues in the same transaction; False: it is elsewhere."""
    return bool(await link.fetch(_ADVANCE, batch, position, count, within=within))
