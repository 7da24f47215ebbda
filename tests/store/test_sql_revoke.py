"""Revocations: what runs in the scope of a switch loses its lease, at no cost, and nothing else does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.store.sql_session import (
    add_kind,
    add_worker,
    claim,
    complete,
    connected,
    count,
    enqueue,
    hand_back,
    pairs_of,
    schema,
    session,
    waits_for_lock,
)
from tests.store.switching import change

if TYPE_CHECKING:
    from asyncpg import Record

    from tests.store.sql_session import Connection

REVOKE = "SELECT * FROM supervisor.revoke($1)"
HELD = "SELECT id, stopped FROM supervisor.revoke_held($1, $2)"
RUNNING = "SELECT id FROM supervisor.jobs WHERE claimed_by IS NOT NULL ORDER BY id"
SPREAD = """
INSERT INTO supervisor.jobs (kind, queue, service, args, claimed_by, claimed_at, deadline_at, lock_version)
SELECT 'noop', 'default', 'default', '{}', run.worker, run.at, run.at, CASE WHEN run.at IS NULL THEN 0 ELSE 1 END
FROM generate_series(1, 6000) AS n
LEFT JOIN LATERAL (SELECT $1::bigint AS worker, clock_timestamp() AS at WHERE n % 1000 = 0) AS run ON true"""
READ = "SELECT pg_stat_get_xact_tuples_returned('supervisor.jobs'::regclass)"


async def revoke(opened: Connection, blocks: int = 1000) -> Record | None:
    """Look through so many blocks."""
    return await opened.fetchrow(REVOKE, blocks)


async def finish(opened: Connection, blocks: int = 1000) -> set[int]:
    """Revoke until there is nothing left to do; return what was stopped."""
    found: set[int] = set()
    while (row := await revoke(opened, blocks)) is not None:
        found.update(row["ids"])
    return found


async def running(opened: Connection) -> set[int]:
    """Return what is claimed."""
    return {row["id"] for row in await opened.fetch(RUNNING)}


@pytest.mark.parametrize(
    ("scope", "name", "value", "stopped"),
    [
        ("kill_switch", None, True, {"noop", "other"}),
        ("mode", None, "observe_only", {"noop"}),
        ("mode", None, "safe_mode", {"noop"}),
        ("service", "default", True, {"noop"}),
        ("kind", "noop", True, {"noop"}),
        ("queue", "default", True, {"noop", "other"}),
        ("tenant", "acme", True, {"other"}),
    ],
)
async def test_what_runs_in_scope_is_stopped(
    scope: str, name: str | None, value: bool | str, stopped: set[str]
) -> None:
    """Each job in scope is free again with another fence, one interruption more and the reason, and no attempt less."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await add_kind(opened, "other", essential=True)
        await opened.execute("UPDATE supervisor.job_kinds SET service = 'o', changes = false WHERE kind = 'other'")
        await enqueue(opened, 3)
        await enqueue(opened, 3, kind="other")
        rows = await claim(opened, worker, 4, kinds=["noop"]) + await claim(opened, worker, 2, kinds=["other"])
        await opened.execute("UPDATE supervisor.jobs SET tenant = 'acme' WHERE kind = 'other'")
        assert (await change(opened, scope, name, value, cancel=True, reason="on fire", actor="alice"))["changed"]
        wanted = {row["id"] for row in rows if row["kind"] in stopped}
        assert await finish(opened) == wanted
        assert await running(opened) == {row["id"] for row in rows} - wanted
        found = await opened.fetch("SELECT * FROM supervisor.jobs WHERE id = ANY ($1)", list(wanted))
        assert {(row["lock_version"], row["interruptions"], row["attempts"], row["losses"]) for row in found} == {
            (2, 1, 0, 0)
        }
        assert all("alice" in row["last_error"] and "on fire" in row["last_error"] for row in found)
        assert await complete(opened, [pair for pair in pairs_of(rows) if pair[0] in wanted]) == set()
        revocation = await opened.fetchrow("SELECT * FROM supervisor.revocations")
        assert revocation is not None
        assert (revocation["stopped"], revocation["done_at"] is not None) == (len(wanted), True)


async def test_without_the_wish_nothing_is_stopped() -> None:
    """A change that does not ask for it, a dry run, and one that lets things run revoke nothing."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await enqueue(opened, 2)
        await claim(opened, worker)
        await change(opened, "kill_switch")
        await change(opened, "service", "default", dry_run=True, cancel=True)
        await change(opened, "kill_switch", value=False, cancel=True)
        await change(opened, "kill_switch", value=False, cancel=True)
        assert await revoke(opened) is None
        assert len(await running(opened)) == 2


async def test_what_started_after_the_switch_was_undone_runs_on() -> None:
    """A revocation that is late stops what ran when it was made, and not what was claimed since."""
    async with connected() as opened:
        worker = await add_worker(opened)
        before, after = await enqueue(opened, 2)
        await claim(opened, worker, 1)
        await change(opened, "kill_switch", cancel=True)
        await change(opened, "kill_switch", value=False)
        assert [row["id"] for row in await claim(opened, worker, 1)] == [after]
        assert await finish(opened) == {before}
        assert await running(opened) == {after}


async def test_the_search_goes_from_block_to_block() -> None:
    """Each call reads only its part of the table, however many jobs wait; all that run are found in the end."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await opened.execute(SPREAD, worker)
        claimed = await running(opened)
        assert len(claimed) == 6
        await change(opened, "kill_switch", cancel=True)
        async with opened.transaction():
            before = await opened.fetchval(READ)
            assert await revoke(opened, 5) is not None
            assert await opened.fetchval(READ) - before < 500
        assert await finish(opened, 5) <= claimed
        assert await running(opened) == set()


async def test_a_job_in_a_transaction_is_waited_for() -> None:
    """A job whose row somebody holds holds nobody up; the search comes again until it can have it."""
    async with schema() as dsn, session(dsn) as opened, session(dsn) as handler:
        worker = await add_worker(opened)
        held, free = await enqueue(opened, 2)
        await claim(opened, worker)
        under_way = handler.transaction()
        await under_way.start()
        await handler.execute("SELECT FROM supervisor.jobs WHERE id = $1 FOR UPDATE", held)
        await change(opened, "kill_switch", cancel=True)
        first, second = await revoke(opened), await revoke(opened)
        assert first is not None
        assert second is not None
        assert (first["ids"], first["held_up"], first["done"]) == ([free], True, False)
        assert (second["ids"], second["held_up"], second["done"]) == ([], True, False)
        assert {row["id"]: row["stopped"] for row in await opened.fetch(HELD, worker, [held, free])} == {held: False}
        await under_way.rollback()
        assert await finish(opened) == {held}


async def test_several_share_the_search() -> None:
    """Hosts that search at once do not wait for each other, and every job is stopped once."""
    async with schema() as dsn, session(dsn) as opened:
        worker = await add_worker(opened)
        await opened.execute(SPREAD, worker)
        await change(opened, "kill_switch", cancel=True)
        stopped: list[int] = []

        async def host() -> None:
            async with session(dsn) as other:
                while await other.fetchval("SELECT EXISTS (SELECT FROM supervisor.revocations WHERE done_at IS NULL)"):
                    row = await revoke(other, 7)
                    stopped.extend([] if row is None else row["ids"])

        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(host())
        assert len(stopped) == len(set(stopped)) == 6
        assert await opened.fetchval("SELECT stopped FROM supervisor.revocations") == 6


async def test_a_claim_under_way_is_revoked_too() -> None:
    """What a claim takes while the switch waits for it is in the scope of the revocation."""
    async with schema() as dsn, session(dsn) as claimer, session(dsn) as switch, session(dsn) as watcher:
        worker = await add_worker(claimer)
        jobs = await enqueue(claimer, 3)
        under_way = claimer.transaction()
        await under_way.start()
        assert len(await claim(claimer, worker)) == 3
        async with asyncio.TaskGroup() as group:
            changed = group.create_task(change(switch, "kill_switch", cancel=True))
            await waits_for_lock(watcher, switch)
            await under_way.commit()
        assert changed.result()["changed"]
        assert await finish(switch) == {*jobs}
        assert await claim(claimer, worker) == []


async def test_a_worker_stops_its_own_by_their_ids() -> None:
    """A worker's own jobs are stopped at once, those of others and those out of scope are left alone."""
    async with connected() as opened:
        mine, theirs = await add_worker(opened), await add_worker(opened)
        ids = await enqueue(opened, 3)
        await claim(opened, mine, 1)
        await claim(opened, theirs, 1)
        assert await opened.fetch(HELD, mine, ids) == []
        await change(opened, "service", "elsewhere", cancel=True)
        assert await opened.fetch(HELD, mine, ids) == []
        await change(opened, "kill_switch", cancel=True)
        rows = await opened.fetch(HELD, mine, ids)
        assert [(row["id"], row["stopped"]) for row in rows] == [(ids[0], True)]
        assert await running(opened) == {ids[1]}
        assert await finish(opened) == {ids[1]}
        stopped = await opened.fetch("SELECT stopped FROM supervisor.revocations ORDER BY epoch")
        assert [row["stopped"] for row in stopped] == [0, 2]


async def test_who_runs_what_is_stopped_is_told() -> None:
    """The channel of cancels names each job, and that of the switches says when there are no more."""
    heard: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
    async with connected() as opened:
        worker = await add_worker(opened)
        (job,) = await enqueue(opened, 1)
        await claim(opened, worker)
        await change(opened, "kill_switch", cancel=True)
        for channel in ("supervisor_cancel", "supervisor_control"):
            await opened.add_listener(channel, lambda *given: heard.put_nowait((str(given[2]), str(given[3]))))
        await finish(opened)
        assert await asyncio.wait_for(heard.get(), 10) == ("supervisor_cancel", str(job))
        assert await asyncio.wait_for(heard.get(), 10) == ("supervisor_control", "2")


async def test_finishes_and_revocations_do_not_wait_for_ever() -> None:
    """Completions, hand-backs and revocations of the same jobs never deadlock, and each job is in one place."""
    async with schema() as dsn, session(dsn) as opened:
        workers = [await add_worker(opened) for _ in range(3)]
        ids = await enqueue(opened, 300)

        async def work(worker: int) -> None:
            async with session(dsn) as other:
                for _ in range(12):
                    pairs = pairs_of(await claim(other, worker, 20))
                    await hand_back(other, pairs[:5], "snoozed", 0.0)
                    await other.fetch(HELD, worker, [job for job, _ in reversed(pairs)])
                    await complete(other, pairs[5:])

        async def switch() -> None:
            async with session(dsn) as other:
                for turn in range(12):
                    await change(other, "service", "default", value=turn % 2 == 0, cancel=True)
                    await finish(other, 3)

        async with asyncio.TaskGroup() as group:
            for worker in workers:
                group.create_task(work(worker))
            group.create_task(switch())
        assert await count(opened, "jobs") + await count(opened, "job_history") == len(ids)
