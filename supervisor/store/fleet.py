"""Statements on the fleet: which workers there are, what is wrong among them, and who runs which singleton."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from supervisor.store.job_rows import USUAL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from supervisor.store.link import Link

SINGLETON_HELD: Final = "SV004"
"""The SQLSTATE of a registration that another worker with the same singleton stands against."""
SINGLETON_OVER: Final = "SV006"
"""The SQLSTATE of `hold_singleton` with a fence that is over."""

_WORKERS: Final = """
    SELECT id, name, host, pid, worker_type, status, version, drifts, singleton, started_at, last_heartbeat_at,
           lease_expires_at, stopping_at, stopped_at, uptime_s, silent_s, longest_gap_s, heartbeats, running,
           confirmed_epoch, singletons, metadata::text
    FROM supervisor.worker_overview
    WHERE ($1::bigint IS NULL OR id = $1) AND ($2 OR is_live OR $1 IS NOT NULL)
    ORDER BY is_live DESC, id DESC LIMIT $3
"""
_NOW: Final = "SELECT clock_timestamp(), (SELECT epoch FROM supervisor.control)"


class Taken(NamedTuple):
    """What became of an attempt to take a singleton.

    `fence` is None if it was not taken. Then `holder` is the worker that has it, None while it changes hands.
    """

    name: str
    taken: bool
    fence: int | None
    holder: int | None


class Alert(NamedTuple):
    """Something that should not be: `alert` says what, `subject` where, `since` when it began if that is known."""

    alert: str
    subject: str
    since: datetime | None
    detail: str


class Restarts(NamedTuple):
    """How often processes of one host have started, and been lost."""

    host: str
    worker_type: str
    live: int
    starts_1h: int
    starts_24h: int
    lost_24h: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRow:
    """A worker as the table has it. Durations are in seconds.

    drifts: it lives, and its version is not that of most. silent: since its last heartbeat; None once it is over.
    longest_gap: the longest time between two heartbeats. running: jobs, as of its last heartbeat. singletons: the
    actors that run only here.
    """

    id: int
    name: str
    host: str
    pid: int
    worker_type: str
    status: str
    version: str
    drifts: bool
    singleton: str | None
    started_at: datetime
    last_heartbeat_at: datetime
    lease_expires_at: datetime
    stopping_at: datetime | None
    stopped_at: datetime | None
    uptime: float
    silent: float | None
    longest_gap: float
    heartbeats: int
    running: int
    confirmed_epoch: int
    singletons: tuple[str, ...]
    metadata: Mapping[str, object]


class Fleet(NamedTuple):
    """Workers, those that live first and the latest first, with the database's clock and epoch at that time."""

    workers: list[WorkerRow]
    now: datetime
    epoch: int


# --- who is there ---------------------------------------------------------------------------------------


async def workers(
    link: Link, *, worker: int | None = None, ended: bool = False, most: int = 1000, within: float = USUAL
) -> Fleet:
    """List up to `most` workers that live, with `ended` also those that are over; or the one with this id."""
    rows = await link.fetch(_WORKERS, worker, ended, most, within=within)
    now, epoch = (await link.fetch(_NOW, within=within))[0]
    return Fleet([_worker(*row) for row in rows], now, epoch)


async def alerts(link: Link, *, within: float = USUAL) -> list[Alert]:
    """List what should not be among the workers."""
    rows = await link.fetch("SELECT alert, subject, since, detail FROM supervisor.worker_alerts", within=within)
    return [Alert(*row) for row in rows]


async def versions(link: Link, *, within: float = USUAL) -> dict[str, int]:
    """Count the live workers of each version."""
    rows = await link.fetch("SELECT version, workers FROM supervisor.worker_versions", within=within)
    return {row[0]: row[1] for row in rows}


async def restarts(link: Link, *, within: float = USUAL) -> list[Restarts]:
    """Count starts and losses of the processes of each host."""
    sql = "SELECT host, worker_type, live, starts_1h, starts_24h, lost_24h FROM supervisor.worker_restarts"
    return [Restarts(*row) for row in await link.fetch(sql, within=within)]


# --- singletons -----------------------------------------------------------------------------------------


async def take_singletons(link: Link, worker: int, names: Sequence[str], *, within: float = USUAL) -> list[Taken]:
    """Take those of the names that are free; raises LeaseLost where the worker has no lease."""
    sql = "SELECT name, taken, fence, holder FROM supervisor.take_singletons($1, $2)"
    return [Taken(*row) for row in await link.fetch(sql, worker, list(names), within=within)]


async def release_singletons(link: Link, worker: int, names: Sequence[str], *, within: float = USUAL) -> set[str]:
    """Give names back; returns those that the worker had."""
    rows = await link.fetch("SELECT supervisor.release_singletons($1, $2)", worker, list(names), within=within)
    return {row[0] for row in rows}


async def hold_singleton(link: Link, name: str, fence: int, *, within: float = USUAL) -> None:
    """Let nobody take a singleton over before this transaction has ended.

    Raises StatementRefused with SQLSTATE `SINGLETON_OVER` where somebody has already.
    """
    await link.fetch("SELECT supervisor.hold_singleton($1, $2)", name, fence, within=within)


def _worker(*row: Any) -> WorkerRow:  # noqa: ANN401 - columns, in the order of the statement
    *plain, singletons, metadata = row
    names = list(WorkerRow.__dataclass_fields__)
    fields = dict(zip(names, [*plain, tuple(singletons), json.loads(metadata)], strict=True))
    return WorkerRow(**fields)
