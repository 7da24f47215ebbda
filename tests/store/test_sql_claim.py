"""The claim: each job once, in order, under the switches, and only for a worker with a lease."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import asyncpg
import pytest

from tests.store.migration_folder import until
from tests.store.sql_session import (
    add_kind,
    add_worker,
    claim,
    claim_in_order,
    claim_tenants,
    complete,
    connected,
    count,
    enqueue,
    expire,
    pairs_of,
    schema,
    session,
    together,
)

if TYPE_CHECKING:
    from asyncpg import Record

    from tests.store.sql_session import Connection, Pair

CLAIMERS = 8


@pytest.mark.parametrize("total", [10_000, pytest.param(100_000, marks=pytest.mark.soak)])
async def test_many_claimers_take_each_job_once(total: int) -> None:
    """Claimers that compete for the same backlog claim and finish each job exactly once."""
    claimed: Counter[Pair] = Counter()
    finished: Counter[int] = Counter()

    async def work(opened: Connection) -> None:
        worker = await add_worker(opened)
        while pairs := pairs_of(await claim(opened, worker, 100)):
            claimed.update(pairs)
            finished.update(await complete(opened, pairs))

    async with schema() as dsn, session(dsn) as opened:
        for _ in range(total // 10_000):
            await enqueue(opened, 10_000)
        await together(dsn, CLAIMERS, work)
        # A claim skips what another has locked, so one more looks at what is left.
        await work(opened)
        assert len(claimed) == len(finished) == total
        assert set(claimed.values()) == set(finished.values()) == {1}
        assert {version for _, version in claimed} == {1}
        assert (await count(opened, "jobs"), await count(opened, "job_history")) == (0, total)


async def test_the_order_is_priority_then_time_then_id() -> None:
    """The smaller priority comes first, then the earlier time, then the earlier id."""
    async with connected() as opened:
        worker = await add_worker(opened)
        late, soon = await enqueue(opened, 2)
        first = await opened.fetchval("SELECT supervisor.enqueue('noop', '{}', priority => -5)")
        older = await opened.fetchval("SELECT supervisor.enqueue('noop', '{}', run_at => now() - interval '1 day')")
        taken = [(await claim(opened, worker, 1))[0]["id"] for _ in range(4)]
        assert taken == [first, older, late, soon]


async def test_the_cursor_skips_what_is_before_it() -> None:
    """A claim with a cursor sees only jobs after it, and one without sees them all."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await enqueue(opened, 4)
        (second,) = (await claim(opened, worker, 2))[1:]
        await opened.execute("UPDATE supervisor.jobs SET claimed_by = NULL, claimed_at = NULL, deadline_at = NULL")
        query = "SELECT id FROM supervisor.claim($1, 'default', '{noop}', 10, $2, $3, $4)"
        after = await opened.fetch(query, worker, second["priority"], second["run_at"], second["id"])
        assert len(after) == 2
        assert len(await claim(opened, worker)) == 2


SWITCHES = [
    "killed = true",
    "off_queues = '{default}'",
    "off_services = '{default}'",
    "off_kinds = '{noop}'",
    "mode = 'observe_only'",
    "mode = 'safe_mode'",
    "gated_queues = '{default}'",
    "gated_services = '{default}'",
    "gated_kinds = '{noop}'",
    "gated_all = true",
]
OF_TENANTS = ["off_tenants = '{acme}'", "gated_tenants = '{acme}'", "gated_tenanted = true"]


@pytest.mark.parametrize(
    ("switch", "tenant"),
    [*((switch, None) for switch in SWITCHES), *((switch, "acme") for switch in SWITCHES + OF_TENANTS)],
)
async def test_nothing_in_the_scope_of_a_switch_starts(switch: str, tenant: str | None) -> None:
    """While a switch is off or a gate stands, no claim takes a job in its scope, and without it one does."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await opened.fetchval("SELECT supervisor.enqueue('noop', '{}', tenant => $1)", tenant)
        before = await opened.fetchrow("SELECT * FROM supervisor.control")
        assert before is not None
        column = switch.partition(" ")[0]
        await opened.execute(f"UPDATE supervisor.control SET {switch}")  # noqa: S608 - a case of ours
        assert await _claim_of(tenant, opened, worker) == await claim_in_order(opened, worker) == []
        await opened.execute(f"UPDATE supervisor.control SET {column} = $1", before[column])  # noqa: S608
        assert len(await _claim_of(tenant, opened, worker)) == 1


async def _claim_of(tenant: str | None, opened: Connection, worker: int) -> list[Record]:
    return await (claim(opened, worker) if tenant is None else claim_tenants(opened, worker, {tenant: 10}))


async def test_modes_let_their_own_jobs_start() -> None:
    """In safe_mode an essential job starts, and no other."""
    async with connected() as opened:
        await add_kind(opened, "vital", essential=True)
        worker = await add_worker(opened)
        await enqueue(opened, 1)
        (vital,) = await enqueue(opened, 1, kind="vital")
        await opened.execute("UPDATE supervisor.control SET mode = 'safe_mode'")
        assert [row["id"] for row in await claim(opened, worker, kinds=["noop", "vital"])] == [vital]


async def test_a_claim_that_waited_for_a_switch_obeys_it() -> None:
    """A claim that waits while a switch is being changed reads it after the change."""
    async with schema() as dsn, session(dsn) as operator, session(dsn) as opened, session(dsn) as watcher:
        worker = await add_worker(opened)
        await enqueue(opened, 1)
        change = operator.transaction()
        await change.start()
        await operator.execute("SELECT supervisor.control_lock_exclusive()")
        await operator.execute("UPDATE supervisor.control SET killed = true")
        pending: list[object] = []

        async def waiting() -> None:
            pending.extend(await claim(opened, worker))

        async with asyncio.TaskGroup() as group:
            group.create_task(waiting())
            await until(watcher, "EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)")
            await change.commit()
        assert pending == []


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
async def test_a_claim_refuses_one_snapshot_for_all(level: str) -> None:
    """Where the switches would be read as they were before the lock, no claim is made."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await opened.execute(f"SET default_transaction_isolation = '{level}'")
        with pytest.raises(asyncpg.PostgresError, match="READ COMMITTED"):
            await claim(opened, worker)


async def test_only_a_worker_with_a_lease_claims() -> None:
    """A worker that is unknown, stopping or out of its lease is refused with SV001."""
    async with connected() as opened:
        stopping, late = await add_worker(opened), await add_worker(opened)
        await opened.execute("UPDATE supervisor.workers SET status = 'STOPPING' WHERE id = $1", stopping)
        await expire(opened, late)
        for worker in (stopping, late, 0):
            with pytest.raises(asyncpg.PostgresError, match="has no lease") as refused:
                await claim(opened, worker)
            assert refused.value.sqlstate == "SV001"


@pytest.mark.parametrize("most", [None, 0, -1])
async def test_no_limit_is_no_job(most: int | None) -> None:
    """A claim for null, none or fewer jobs takes none, rather than all."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await enqueue(opened, 3)
        assert await claim(opened, worker, most) == []


async def test_a_claim_needs_no_room_in_the_indexes() -> None:
    """Every claim is a HOT update, on pages with the table's own fill factor."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await enqueue(opened, 1000)
        async with opened.transaction():
            for _ in range(10):
                await claim(opened, worker, 100)
            row = await opened.fetchrow(
                "SELECT pg_stat_get_xact_tuples_updated(oid) AS updated, "
                "pg_stat_get_xact_tuples_hot_updated(oid) AS hot "
                "FROM pg_class WHERE oid = 'supervisor.jobs'::regclass"
            )
        assert row is not None
        assert (row["updated"], row["hot"]) == (1000, 1000)


@pytest.mark.parametrize("path", ["supervisor, public", "hostile", ""])
async def test_the_path_of_the_caller_does_not_matter(path: str) -> None:
    """The functions work under any search_path, and no operator of the caller's stands in for the system's."""
    async with connected() as opened:
        await opened.execute(
            "CREATE SCHEMA hostile; "
            "CREATE FUNCTION hostile.no(bigint, bigint) RETURNS boolean LANGUAGE sql AS 'SELECT false'; "
            "CREATE OPERATOR hostile.= (FUNCTION = hostile.no, LEFTARG = bigint, RIGHTARG = bigint)"
        )
        worker = await add_worker(opened)
        await opened.execute("SELECT set_config('search_path', $1, false)", f"{path}, pg_catalog" if path else "")
        await enqueue(opened, 2)
        pairs = pairs_of(await claim(opened, worker))
        assert await complete(opened, pairs) == {pair[0] for pair in pairs}
