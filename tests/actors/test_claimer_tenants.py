"""How the claimer shares its slots: among tenants, with jobs that have none, and with jobs behind gates."""

from __future__ import annotations

import asyncio

import pytest

from supervisor.jobs.job import job
from supervisor.jobs.switches import Switches
from supervisor.store import control
from supervisor.store.wakeups import Wakeups
from supervisor.testing import FakeClock, running
from tests.actors.engine import Engine, engine, job_database, opened

LARGE = """
INSERT INTO supervisor.jobs (kind, queue, service, tenant, args)
SELECT 'work', 'default', 'default', $1, '0' FROM generate_series(1, $2::integer)"""
PUT = "SELECT supervisor.enqueue('work', '1', tenant => $1)"
LIMIT = """
SELECT supervisor.set_limit('few', '{"form": "concurrency", "kind": "work", "amount": 2}', reason => 'a test',
                            actor => 'somebody')"""
SLEEPING = "SELECT idle_queues FROM supervisor.workers WHERE id = $1"


@pytest.mark.parametrize(
    ("backlog", "count", "newcomer"), [("large", 200_000, "new"), (None, 2000, "new"), ("large", 2000, None)]
)
async def test_a_newcomer_starts_beside_a_backlog(backlog: str | None, count: int, newcomer: str | None) -> None:
    """The first job of one who had none starts 0.3 s after it came, not after the backlog of another."""
    order: list[int] = []
    came, passed, go, done = (asyncio.Event() for _ in range(4))

    @job()
    async def work(args: int) -> None:
        order.append(args)
        if len(order) == 100:
            await one.fetch(PUT, newcomer)
            came.set()
        if args:
            done.set()
        if len(order) >= 200:
            passed.set()
            await go.wait()
        elif len(order) > 100:
            await came.wait()

    clock = FakeClock()
    async with job_database() as dsn, opened(dsn, [work], concurrency=4, hear=False) as one:
        await one.fetch(LARGE, backlog, count)
        async with running(one.root, clock=clock):
            await passed.wait()
            assert 1 not in order
            await clock.advance(0.3)
            go.set()
            await done.wait()
    assert 200 <= order.index(1) < 220


async def test_tenants_take_turns_by_their_weights() -> None:
    """Of tenants that all have more than enough, each gets slots in the ratio of its weight."""
    order: list[str] = []
    full = asyncio.Event()

    @job()
    async def work(args: str) -> None:
        order.append(args)
        if len(order) >= 400:
            full.set()
        await asyncio.sleep(0)

    async with job_database() as dsn, opened(dsn, [work], concurrency=8, hear=False) as one:
        for tenant, weight in (("a", 1.0), ("b", 3.0)):
            await one.fetch("INSERT INTO supervisor.tenants (tenant, weight) VALUES ($1, $2)", tenant, weight)
            await one.fetch(LARGE.replace("'0'", "to_jsonb($1::text)"), tenant, 2000)
        async with running(one.root):
            await full.wait()
    assert order[:400].count("a") / 400 == pytest.approx(0.25, abs=0.05)


async def test_a_notification_starts_a_job_of_a_tenant() -> None:
    """An enqueue for a tenant wakes a sleeping engine: its job starts although the next poll is an hour away."""

    @job()
    async def work(args: int) -> None: ...

    async with job_database() as dsn, engine(dsn, [work], poll=3600.0) as one:
        ears = await Wakeups.open(one.database, on_queue=one.wakes.note, on_cancel=one.tasks.cancel_job)
        await one.until(lambda: _sleeps(one))
        for tenant in ("a", "b", "a", "c"):
            await one.ended(await one.value(PUT, tenant))
        await ears.close()


async def test_jobs_behind_a_gate_start_as_permits_come_free() -> None:
    """Jobs that need a permit all run in the end, never more at once than there are permits, beside other jobs."""
    now, most = 0, 0

    @job()
    async def work(args: int) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1

    @job()
    async def free(args: int) -> None: ...

    switches = Switches()
    async with job_database() as dsn, opened(dsn, [work, free], switches=switches) as one:
        await one.fetch(LIMIT)
        async with one.database.connection() as link:
            switches.put(await control.read(link))
        ids = await one.enqueue("work", *range(12)) + await one.enqueue("free", *range(12))
        async with running(one.root):
            past = await one.ended(*ids)
    assert {row["status"] for row in past.values()} == {"completed"}
    assert most == 2


async def _sleeps(one: Engine) -> bool:
    return bool(await one.value(SLEEPING, one.lease.worker))
