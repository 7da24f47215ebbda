"""Workers in the table: who registers, what they say of themselves, and what their host proves of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import asyncpg
import pytest

from tests.store.sql_session import (
    add_worker,
    claim,
    claim_one,
    complete,
    connected,
    count,
    enqueue,
    expire,
    hand_back,
    lose,
    pairs_of,
    release,
    schema,
    session,
    together,
)

if TYPE_CHECKING:
    from asyncpg import Record

    from tests.store.sql_session import Connection

STATUS = "SELECT status FROM supervisor.workers WHERE id = $1"
SET_STATUS = "SELECT supervisor.set_worker_status($1, $2)"
LIVE = "SELECT id FROM supervisor.workers WHERE status IN ('STARTING', 'RUNNING', 'STOPPING')"


async def register(opened: Connection, name: str | None = "host-1", lease: float | None = 30.0) -> Record:
    """Register a worker."""
    call = "SELECT * FROM supervisor.register_worker($1, 'host', 7, 'worker', 'v1', $2, $3)"
    row = await opened.fetchrow(call, name, lease, '{"cpus": 2}')
    assert row is not None
    return row


async def idle_queues(opened: Connection, worker: int) -> list[str]:
    """Return the queues on which a worker sleeps."""
    found: list[str] = await opened.fetchval("SELECT idle_queues FROM supervisor.workers WHERE id = $1", worker)
    return found


async def test_a_process_gets_a_row_with_a_lease() -> None:
    """A registration gives an id, the end of a lease of the length asked for, and the epoch; the worker is starting."""
    async with connected() as opened:
        made = await register(opened)
        row = await opened.fetchrow("SELECT * FROM supervisor.workers")
        assert row is not None
        assert (row["id"], row["status"], row["name"], row["host"], row["pid"]) == (
            made["id"],
            "STARTING",
            "host-1",
            "host",
            7,
        )
        assert (row["worker_type"], row["version"], row["metadata"]) == ("worker", "v1", '{"cpus": 2}')
        assert made["lease_expires_at"] == row["lease_expires_at"]
        assert await opened.fetchval("SELECT $1 - now() BETWEEN '29 s' AND '31 s'", made["lease_expires_at"])
        assert made["epoch"] == 1
        await enqueue(opened, 1)
        assert len(await claim(opened, made["id"])) == 1


async def test_a_name_that_comes_again_ends_the_former_row() -> None:
    """Of two registrations with one name the former worker is lost at once, and what it held is released."""
    async with connected() as opened:
        first = await register(opened)
        await enqueue(opened, 1)
        pair = await claim_one(opened, first["id"])
        second = await register(opened)
        assert second["id"] != first["id"]
        assert await opened.fetchval(STATUS, first["id"]) == "LOST"
        assert await opened.fetchval(STATUS, second["id"]) == "STARTING"
        assert await release(opened, first["id"]) == {pair[0]: False}
        other = await register(opened, "host-2")
        assert [row["id"] for row in await opened.fetch(LIVE)] == [second["id"], other["id"]]


async def test_one_name_from_many_at_once_lives_once() -> None:
    """Registrations of one name at the same time all get a row, and one of the rows lives."""
    made: list[int] = []

    async def work(opened: Connection) -> None:
        made.append((await register(opened))["id"])

    async with schema() as dsn, session(dsn) as opened:
        await together(dsn, 6, work)
        assert len(set(made)) == 6
        (live,) = await opened.fetch(LIVE)
        assert live["id"] in made


@pytest.mark.parametrize(
    ("name", "lease", "message"),
    [
        (None, 30.0, "name has 0 characters"),
        ("", 30.0, "name has 0 characters"),
        ("x" * 257, 30.0, "name has 257 characters"),
        ("a", None, "lease_s = null"),
        ("a", 0.0, "lease_s = 0"),
        ("a", float("nan"), "lease_s = NaN"),
        ("a", 86401.0, "lease_s = 86401"),
    ],
)
async def test_a_registration_that_cannot_be(name: str | None, lease: float | None, message: str) -> None:
    """A name or a lease that nobody can mean is refused by name."""
    async with connected() as opened:
        with pytest.raises(asyncpg.InvalidParameterValueError, match=message):
            await register(opened, name, lease)
        assert await count(opened, "workers") == 0


async def test_a_worker_says_how_it_is() -> None:
    """A worker runs, stops and is stopped; once it is stopped, nothing moves it any more."""
    async with connected() as opened:
        worker = (await register(opened))["id"]
        await opened.execute("SELECT supervisor.sleep_on($1, '{default}')", worker)
        for status, queues in [("RUNNING", ["default"]), ("STOPPING", []), ("STOPPED", [])]:
            assert await opened.fetchval(SET_STATUS, worker, status) is True
            assert await opened.fetchval(STATUS, worker) == status
            assert await idle_queues(opened, worker) == queues
        assert await opened.fetchval("SELECT stopped_at IS NOT NULL FROM supervisor.workers")
        for status in ("RUNNING", "STOPPING", "STOPPED"):
            assert await opened.fetchval(SET_STATUS, worker, status) is False
        assert await opened.fetchval(STATUS, worker) == "STOPPED"


async def test_a_lost_worker_cannot_call_itself_alive() -> None:
    """A worker that was declared lost, or is not in the table, gets false for any status and stays lost."""
    async with connected() as opened:
        worker = (await register(opened))["id"]
        await lose(opened, worker)
        assert await opened.fetchval(SET_STATUS, worker, "RUNNING") is False
        assert await opened.fetchval(SET_STATUS, 0, "STOPPED") is False
        assert await opened.fetchval(STATUS, worker) == "LOST"


@pytest.mark.parametrize("status", ["LOST", "STARTING", "running", None])
async def test_a_status_that_no_worker_gives_itself(status: str | None) -> None:
    """Any status but the three is refused."""
    async with connected() as opened:
        with pytest.raises(asyncpg.InvalidParameterValueError, match="is no status"):
            await opened.fetchval(SET_STATUS, await add_worker(opened), status)


async def test_the_dead_are_lost_at_once() -> None:
    """Workers whose process is proven dead are lost within their lease, each is told of once, and no other is."""
    declare = "SELECT supervisor.declare_dead($1)"
    async with connected() as opened:
        dead, stopped, other = [(await register(opened, name))["id"] for name in ("dead", "stopped", "other")]
        await opened.fetchval(SET_STATUS, stopped, "STOPPED")
        await enqueue(opened, 1)
        pair = await claim_one(opened, dead)
        assert [row[0] for row in await opened.fetch(declare, ["dead", "stopped", "nobody"])] == [dead]
        assert await opened.fetch(declare, ["dead", "stopped", "nobody"]) == []
        assert await opened.fetch(declare, None) == []
        assert await opened.fetchval(STATUS, stopped) == "STOPPED"
        assert await opened.fetchval(STATUS, other) == "STARTING"
        assert await release(opened, dead) == {pair[0]: False}


async def test_only_a_sleeper_is_woken() -> None:
    """A worker that sleeps on a queue hears of a job in it, and after it has awoken it hears of none."""
    heard: asyncio.Queue[str] = asyncio.Queue()
    sleep = "SELECT supervisor.sleep_on($1, $2)"
    async with connected() as opened:
        worker = await add_worker(opened)
        await opened.add_listener("supervisor", lambda *given: heard.put_nowait(str(given[3])))
        await opened.execute(sleep, worker, ["default", "mail"])
        await enqueue(opened, 1)
        async with asyncio.timeout(10):
            assert await heard.get() == "default"
        await opened.execute(sleep, worker, None)
        assert await idle_queues(opened, worker) == []
        await enqueue(opened, 1)
        assert heard.empty()


async def test_a_worker_that_ended_does_not_sleep() -> None:
    """A worker that stops, or is lost, cannot be put to sleep: nobody is notified for it."""
    async with connected() as opened:
        stopping, lost = await add_worker(opened), await add_worker(opened)
        await opened.fetchval(SET_STATUS, stopping, "STOPPING")
        await lose(opened, lost)
        for worker in (stopping, lost):
            await opened.execute("SELECT supervisor.sleep_on($1, '{default}')", worker)
            assert await idle_queues(opened, worker) == []


async def test_rows_of_workers_that_ended_are_pruned() -> None:
    """Rows of workers that ended long enough ago go, in bounded numbers; those that live, or ended lately, stay."""
    prune = "SELECT supervisor.prune_workers($1, $2)"
    async with connected() as opened:
        ended = [await add_worker(opened) for _ in range(3)]
        await opened.execute(
            "UPDATE supervisor.workers SET status = 'STOPPED', stopped_at = now() - interval '20 days'"
        )
        live, late = await add_worker(opened), await add_worker(opened)
        await lose(opened, late)
        assert [await opened.fetchval(prune, 14, most) for most in (None, 2, 2, 2)] == [0, 2, 1, 0]
        left = {row["id"] for row in await opened.fetch("SELECT id FROM supervisor.workers")}
        assert left == {live, late}
        assert left.isdisjoint(ended)
        with pytest.raises(asyncpg.InvalidParameterValueError, match="keep_days = null"):
            await opened.fetchval(prune, None, 1)


async def test_what_a_process_forgot_is_found() -> None:
    """All jobs that a worker holds are listed with their fences, and only those pairs are still held."""
    held = "SELECT supervisor.still_held($1, $2)"
    async with connected() as opened:
        worker, other = await add_worker(opened), await add_worker(opened)
        await enqueue(opened, 5)
        mine = pairs_of(await claim(opened, worker, 3))
        theirs = pairs_of(await claim(opened, other, 1))
        rows = await opened.fetch("SELECT * FROM supervisor.orphans($1)", worker)
        assert pairs_of(rows) == mine
        done, back, running = mine
        await complete(opened, [done])
        await hand_back(opened, [back], "interrupted")
        stale = [(running[0], 0), (10**9, 1)]
        asked = [*mine, *theirs, *stale]
        rows = await opened.fetch(held, [pair[0] for pair in asked], [pair[1] for pair in asked])
        assert {row[0] for row in rows} == {running[0], theirs[0][0]}
        assert await opened.fetch(held, None, None) == []


async def test_a_deadline_moves_under_the_fence() -> None:
    """The holder of a job gets a new deadline from now, in place; anyone else gets nothing."""
    extend = "SELECT supervisor.extend_deadline($1, $2, $3)"
    async with connected() as opened:
        worker = await add_worker(opened)
        await enqueue(opened, 1)
        job, version = await claim_one(opened, worker)
        until = await opened.fetchval(extend, job, version, 5000.0)
        assert until == await opened.fetchval("SELECT deadline_at FROM supervisor.jobs")
        assert await opened.fetchval("SELECT $1 - now() BETWEEN '4999 s' AND '5001 s'", until)
        assert await opened.fetchval(extend, job, version + 1, 5.0) is None
        assert await opened.fetchval(extend, job + 1, version, 5.0) is None
        await hand_back(opened, [(job, version)], "interrupted")
        assert await opened.fetchval(extend, job, version, 5.0) is None
        assert await opened.fetchval("SELECT deadline_at FROM supervisor.jobs") is None


@pytest.mark.parametrize("seconds", [None, 0.0, -1.0, float("nan"), float("inf")])
async def test_a_deadline_that_is_none_is_refused(seconds: float | None) -> None:
    """A deadline that no timestamp can hold, or that is over, is refused."""
    async with connected() as opened:
        with pytest.raises(asyncpg.InvalidParameterValueError, match="seconds = "):
            await opened.fetchval("SELECT supervisor.extend_deadline(1, 1, $1)", seconds)


async def test_a_worker_past_its_lease_can_still_say_that_it_stopped() -> None:
    """A worker whose lease ran out, and that nobody has declared lost, may end in good order."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await expire(opened, worker)
        assert await opened.fetchval(SET_STATUS, worker, "STOPPED") is True
