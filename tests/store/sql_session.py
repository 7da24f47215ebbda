"""Calls the functions of the schema as a worker does, so that a test of them says only what it is about."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import asyncpg

from supervisor.store.migrate import up
from tests.store.migration_folder import until
from tests.store.postgres import LIMIT, fresh_database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence

    from asyncpg import Connection as _Connection
    from asyncpg import Record

    Connection = _Connection[Record]
    Pair = tuple[int, int]


async def prepare(dsn: str) -> None:
    """Bring a database to the newest schema, with one kind of job in it."""
    await up(dsn)
    async with session(dsn) as opened:
        await add_kind(opened, "noop")


@contextlib.asynccontextmanager
async def session(dsn: str) -> AsyncIterator[Connection]:
    """Give a connection."""
    opened = await asyncpg.connect(dsn, timeout=LIMIT, command_timeout=3 * LIMIT)
    try:
        yield opened
    finally:
        await opened.close(timeout=LIMIT)


@contextlib.asynccontextmanager
async def schema() -> AsyncIterator[str]:
    """Give the DSN of a database with the schema and the kind `noop`."""
    async with fresh_database(prepare) as dsn:
        yield dsn


@contextlib.asynccontextmanager
async def connected() -> AsyncIterator[Connection]:
    """Give a connection to a database of its own with the schema and the kind `noop`."""
    async with schema() as dsn, session(dsn) as opened:
        yield opened


async def add_kind(
    opened: Connection, kind: str, *, attempts: int = 3, timeout_s: float = 300.0, essential: bool = False
) -> None:
    """Make a kind of job known."""
    await opened.execute(
        "INSERT INTO supervisor.job_kinds VALUES ($1, 'default', 'default', $2, $3, true, $4)",
        kind,
        attempts,
        timeout_s,
        essential,
    )


async def add_worker(opened: Connection, *, lease: float = 3600.0) -> int:
    """Register a running worker with a lease of so many seconds; return its id."""
    made = await opened.fetchval(
        "INSERT INTO supervisor.workers (name, host, pid, version, status, lease_expires_at) "
        "VALUES (gen_random_uuid()::text, 'host', 1, 'v1', 'RUNNING', "
        "clock_timestamp() + make_interval(secs => $1)) RETURNING id",
        lease,
    )
    return int(made)


async def enqueue(opened: Connection, count: int, *, kind: str = "noop") -> list[int]:
    """Enqueue so many jobs; return their ids."""
    rows = await opened.fetch("SELECT id FROM supervisor.enqueue_many($1, $2)", [kind] * count, ["{}"] * count)
    return [row["id"] for row in rows]


async def claim(
    opened: Connection, worker: int, most: int | None = 10, *, kinds: Sequence[str] = ("noop",)
) -> list[Record]:
    """Claim up to `most` jobs of the default queue, from its start; jobs of no tenant."""
    return await opened.fetch(
        "SELECT * FROM supervisor.claim($1, 'default', $2, $3, NULL, NULL, NULL)", worker, list(kinds), most
    )


async def claim_tenants(
    opened: Connection, worker: int, takes: dict[str, int], *, kinds: Sequence[str] = ("noop",)
) -> list[Record]:
    """Claim so many jobs of each of these tenants in the default queue, from its first."""
    none = [None] * len(takes)
    call = "SELECT * FROM supervisor.claim_tenants($1, 'default', $2, $3, $4, $5, $6, $7)"
    return await opened.fetch(call, worker, list(kinds), [*takes], [*takes.values()], none, none, none)


async def claim_in_order(
    opened: Connection, worker: int, most: int | None = 10, *, kinds: Sequence[str] = ("noop",)
) -> list[Record]:
    """Claim up to `most` jobs of tenants in the default queue, from its start."""
    call = "SELECT * FROM supervisor.claim_in_order($1, 'default', $2, $3, NULL, NULL, NULL)"
    return await opened.fetch(call, worker, list(kinds), most)


async def claim_suspects(
    opened: Connection,
    worker: int,
    most: int | None = 10,
    *,
    kinds: Sequence[str] = ("noop",),
    losses: tuple[int, int] = (1, 32767),
) -> list[Record]:
    """Claim up to `most` jobs of the default queue that have so many losses."""
    call = "SELECT * FROM supervisor.claim_suspects($1, '{default}', $2, $3, $4, $5)"
    return await opened.fetch(call, worker, list(kinds), most, *losses)


async def claim_one(opened: Connection, worker: int, *, suspect: bool = False) -> Pair:
    """Claim one job of no tenant or of any, which must be there; return its id and fence."""
    rows = await (claim_suspects if suspect else claim)(opened, worker, 1)
    if not rows:
        tenant = await opened.fetchval("SELECT tenant FROM supervisor.ready_tenants('default', NULL, 1)")
        rows = await claim_tenants(opened, worker, {tenant: 1})
    (row,) = rows
    return row["id"], row["lock_version"]


def pairs_of(rows: Iterable[Record]) -> list[Pair]:
    """Return the ids and fences of claimed jobs."""
    return [(row["id"], row["lock_version"]) for row in rows]


async def complete(opened: Connection, pairs: Sequence[Pair]) -> set[int]:
    """End jobs as completed; return those for which the fence held."""
    return await _ids(opened, "SELECT supervisor.complete($1, $2)", pairs)


async def finish(opened: Connection, pairs: Sequence[Pair], status: str | None, error: str | None = None) -> set[int]:
    """End jobs with a status; return those for which the fence held."""
    count = len(pairs)
    statement = "SELECT supervisor.finish($1, $2, $3, $4, $5)"
    return await _ids(opened, statement, pairs, [status] * count, [error] * count, [None] * count)


async def hand_back(
    opened: Connection, pairs: Sequence[Pair], reason: str, delay: float | None = 0.0, error: str | None = None
) -> set[int]:
    """Give jobs back to run again after so many seconds; return those for which the fence held."""
    count = len(pairs)
    statement = "SELECT supervisor.hand_back($1, $2, $3, $4, $5, $6)"
    return await _ids(opened, statement, pairs, [reason] * count, [delay] * count, [error] * count, [None] * count)


async def record(  # noqa: PLR0913 - keywords, each with a default
    opened: Connection, pairs: Sequence[Pair], name: str = "s", *, place: int = 0, result: str = "1", done: bool = True
) -> set[int]:
    """Record a step of each job; return the jobs for which the fence held."""
    count = len(pairs)
    statement = "SELECT id FROM supervisor.record_steps($1, $2, $3, $4, $5, $6)"
    return await _ids(opened, statement, pairs, [name] * count, [place] * count, [result] * count, [done] * count)


async def steps(opened: Connection, job: int) -> list[tuple[str, int, bool, str | None]]:
    """Return the recorded steps of a job: name, place, whether it is done, and its result."""
    rows = await opened.fetch("SELECT name, place, done, result FROM supervisor.steps_of($1)", job)
    return [(row["name"], row["place"], row["done"], row["result"]) for row in rows]


async def cancel(opened: Connection, ids: Sequence[int], reason: str | None = "why") -> dict[int, bool]:
    """Cancel jobs; return those that were, each with whether it was running."""
    rows = await opened.fetch("SELECT * FROM supervisor.cancel_jobs($1, $2)", ids, reason)
    assert len({row["id"] for row in rows}) == len(rows)
    return {row["id"]: row["was_running"] for row in rows}


async def retry(opened: Connection, ids: Sequence[int]) -> dict[int, str | None]:
    """Run jobs again; return what stands against it for each."""
    rows = await opened.fetch("SELECT * FROM supervisor.retry_jobs($1)", ids)
    assert len({row["id"] for row in rows}) == len(rows)
    return {row["id"]: row["problem"] for row in rows}


async def _ids(opened: Connection, statement: str, pairs: Sequence[Pair], *others: Sequence[object]) -> set[int]:
    rows = await opened.fetch(statement, [pair[0] for pair in pairs], [pair[1] for pair in pairs], *others)
    ids = [row[0] for row in rows]
    assert len(ids) == len(set(ids))
    return set(ids)


async def expire(opened: Connection, worker: int) -> None:
    """Let the lease of a worker run out."""
    await opened.execute(
        "UPDATE supervisor.workers SET lease_expires_at = clock_timestamp() - interval '1 s' WHERE id = $1", worker
    )


async def lose(opened: Connection, worker: int) -> None:
    """Let a worker die and be found."""
    await expire(opened, worker)
    assert [row[0] for row in await opened.fetch("SELECT supervisor.find_lost()")] == [worker]


async def release(
    opened: Connection, worker: int, *, most: int = 1000, max_losses: int = 3, past_deadline: bool = False
) -> dict[int, bool]:
    """Release what a worker holds; return the ids, each with whether it was quarantined."""
    rows = await opened.fetch(
        "SELECT * FROM supervisor.release_lost($1, $2, $3, $4)", worker, most, max_losses, past_deadline
    )
    return {row["id"]: row["quarantined"] for row in rows}


async def count(opened: Connection, table: str) -> int:
    """Count the rows of a table."""
    return int(await opened.fetchval(f"SELECT count(*) FROM supervisor.{table}"))  # noqa: S608 - a name of ours


async def waits_for_lock(watcher: Connection, opened: Connection) -> None:
    """Wait until a session waits for a lock that another has."""
    state = f"EXISTS (SELECT FROM pg_stat_activity WHERE pid = {opened.get_server_pid()} AND wait_event_type = 'Lock')"
    await until(watcher, state)


async def together(dsn: str, count: int, work: Callable[[Connection], Awaitable[None]]) -> None:
    """Do the same work on so many connections at once."""

    async def alone() -> None:
        async with session(dsn) as opened:
            await work(opened)

    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(alone())
