"""What is claimed, by whom, how much of it, and when."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import TYPE_CHECKING, Never

import pytest

from supervisor.errors import DatabaseUnavailable
from supervisor.jobs import lease as leases
from supervisor.jobs import outbox
from supervisor.jobs.events import JobCompleted, JobStarted
from supervisor.jobs.job import job
from supervisor.testing import FakeClock, running, settle
from tests.actors.engine import LONG, Engine, engine, job_database, opened
from tests.store.postgres import LIMIT

if TYPE_CHECKING:
    from supervisor.jobs.context import JobContext

_PUT = """
INSERT INTO supervisor.jobs (kind, queue, service, args)
SELECT 'never', 'default', 'default', '1' FROM generate_series(1, 3)"""
SLEEPING = "SELECT idle_queues FROM supervisor.workers WHERE id = $1"


async def test_two_engines_run_each_job_once() -> None:
    """Each of two thousand jobs is run exactly once by two engines that claim together."""
    runs: Counter[int] = Counter()

    @job()
    async def count(args: int) -> None:
        runs[args] += 1
        await asyncio.sleep(0)

    async with job_database() as dsn, engine(dsn, [count]) as one, engine(dsn, [count]) as two:
        ids = await one.enqueue("count", *range(2000))
        past = await one.ended(*ids)
        workers = Counter(row["claimed_by"] for row in past.values())
        assert {row["status"] for row in past.values()} == {"completed"}
        assert runs == dict.fromkeys(range(2000), 1)
        assert set(workers) == {one.lease.worker, two.lease.worker}


@pytest.mark.parametrize(("concurrency", "threads"), [(1, None), (7, None), (50, None), (12, 3)])
async def test_no_more_run_than_there_are_slots(concurrency: int, threads: int | None) -> None:
    """Whatever the jobs last, never more run at once than there are slots, and as many do run."""
    running, most = 0, 0
    chance = random.Random(concurrency)  # noqa: S311 - repeatable

    @job()
    async def some(args: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(chance.randrange(1, 20)):
            await asyncio.sleep(0)
        running -= 1

    async with job_database() as dsn, engine(dsn, [some], concurrency=concurrency, threads=threads) as one:
        await one.ended(*await one.enqueue("some", *range(300)))
        await one.written()
        assert most == concurrency
        assert one.slots.free == one.slots.total == concurrency


async def test_fewer_threads_than_slots() -> None:
    """Plain handlers are claimed only for free threads, and coroutines go on beside them."""
    gate = asyncio.Event()
    loop = asyncio.get_running_loop()
    begun: list[int] = []

    @job()
    def slow(args: int) -> None:
        begun.append(args)
        asyncio.run_coroutine_threadsafe(gate.wait(), loop).result(LIMIT)

    @job()
    async def quick(args: int) -> None: ...

    async with job_database() as dsn, engine(dsn, [slow, quick], concurrency=10, threads=2) as one:
        waiting = await one.enqueue("slow", *range(5))
        await one.ended(*await one.enqueue("quick", *range(50)))
        assert len(begun) == 2
        assert await one.value("SELECT count(*) FROM supervisor.jobs WHERE claimed_by IS NOT NULL") == 2
        gate.set()
        await one.ended(*waiting)
        assert sorted(begun) == list(range(5))


async def test_queues_take_turns() -> None:
    """A queue with a backlog does not keep another queue's jobs from being claimed."""
    order: list[str] = []

    @job(queue="deep")
    async def deep(args: int) -> None:
        order.append("deep")

    @job(queue="short")
    async def short(args: int) -> None:
        order.append("short")

    async with job_database() as dsn, opened(dsn, [deep, short], concurrency=5) as one:
        ids = await one.enqueue("deep", *range(300)) + await one.enqueue("short", *range(5))
        async with engine(dsn, [deep, short], concurrency=5) as two:
            await two.ended(*ids)
    assert order.index("short") < 50


async def test_a_better_job_overtakes_a_backlog() -> None:
    """A job of better priority that comes into a backlog is claimed 0.3 s later, not at the end of the backlog."""
    order: list[int] = []
    came, passed, go = asyncio.Event(), asyncio.Event(), asyncio.Event()

    @job()
    async def one_of(args: int) -> None:
        order.append(args)
        if len(order) == 100:
            await one.enqueue("one_of", -1, priority=-5)
            came.set()
        if len(order) >= 200:
            passed.set()
            await go.wait()
        elif len(order) > 100:
            await came.wait()

    clock = FakeClock()
    async with job_database() as dsn, opened(dsn, [one_of], concurrency=4, hear=False) as one:
        ids = await one.enqueue("one_of", *range(400))
        async with running(one.root, clock=clock):
            await passed.wait()
            assert -1 not in order
            await clock.advance(0.3)
            go.set()
            await one.ended(*ids)
    assert 200 <= order.index(-1) < 220


async def test_without_a_lease_nothing_is_claimed() -> None:
    """An engine that cannot prove its lease leaves the jobs alone, and goes on when it can again."""

    @job()
    async def later() -> None: ...

    async with job_database() as dsn, opened(dsn, [later]) as one:
        ids = await one.enqueue("later")
        one.lease.lose()
        async with running(one.root, log=one.log):
            await settle()
            assert await one.value("SELECT count(*) FROM supervisor.jobs WHERE claimed_by IS NOT NULL") == 0
            await one.register()
            await one.ended(*ids)


async def test_a_worker_that_is_dead_in_the_database_claims_nothing() -> None:
    """A claim that is refused for want of a lease costs no crash, and the next worker id claims again."""

    @job()
    async def job_() -> None: ...

    async with job_database() as dsn, engine(dsn, [job_]) as one:
        await one.fetch("UPDATE supervisor.workers SET status = 'LOST'")
        await one.fetch("SELECT supervisor.control_lock_exclusive()")  # a claim that began before has ended
        (id_,) = await one.enqueue("job_")
        await settle()
        await one.register()
        past = await one.ended(id_)
        assert past[id_]["claimed_by"] == one.lease.worker


async def test_what_a_lost_answer_took_is_handed_back() -> None:
    """Jobs of a claim whose answer never arrived run again at once, without an attempt."""
    seen: list[int] = []

    @job()
    async def again(ctx: JobContext) -> None:
        seen.append(ctx.attempt)

    async with job_database() as dsn, engine(dsn, [again]) as one:
        await one.until(lambda: _sleeps(one))
        # As if this worker's own claim had committed while its connection broke.
        async with one.database.connection() as link, link.transaction():
            await link.fetch("SELECT supervisor.enqueue('again')")
            sql = "SELECT id FROM supervisor.claim($1, 'default', '{again}', 1, null, null, null)"
            ((id_,),) = await link.fetch(sql, one.lease.worker)
        one.tasks.claimed_as = one.lease.worker
        await one.root.restart_child("claimer")
        past = await one.ended(id_)
        assert (past[id_]["interruptions"], past[id_]["attempts"], seen) == (1, 0, [1])


async def test_after_a_lapse_its_own_jobs_run_again() -> None:
    """What was cancelled while the lease was in doubt is handed back when it turns out to have held, at no cost."""
    seen: list[int] = []
    ends = asyncio.Event()

    @job()
    async def again(ctx: JobContext) -> None:
        seen.append(ctx.lock_version)
        if len(seen) == 1:
            try:
                await asyncio.Event().wait()
            finally:
                await ends.wait()  # a clean-up that lasts

    clock = FakeClock()
    async with job_database() as dsn, engine(dsn, [again], clock=clock) as one:
        (id_,) = await one.enqueue("again")
        one.wakes.note("default")
        await one.heard.expect(JobStarted)
        one.lease.lose()
        await clock.advance(1.1)
        one.lease.renew(leases.now(), LONG)
        one.wakes.signal.set()
        await one.value("SELECT 1 FROM pg_sleep(0.05)")
        assert await one.value("SELECT claimed_by FROM supervisor.jobs") == one.lease.worker
        ends.set()
        await one.until(lambda: _turned(clock, one, id_))
        row = (await one.past(id_))[id_]
        assert (row["interruptions"], row["attempts"], seen) == (1, 0, [1, 3])


async def _turned(clock: FakeClock, one: Engine, id_: int) -> bool:
    await clock.advance(1.0)
    return bool(await one.past(id_))


async def test_a_stop_starts_nothing_more() -> None:
    """What a claim brings after the stop began is handed back unstarted, without an attempt."""
    started: list[int] = []

    @job()
    async def never(args: int) -> None:
        started.append(args)

    async with job_database() as dsn, opened(dsn, [never]) as admin:
        async with engine(dsn, [never]) as one:
            await one.until(lambda: _sleeps(one))
            async with one.database.connection() as link, link.transaction():
                await link.execute("LOCK TABLE supervisor.control IN ACCESS EXCLUSIVE MODE")
                await admin.fetch(_PUT)  # an enqueue would read the switches
                one.wakes.note("default")
                await admin.until(lambda: _claims(admin))
                one.tree.stop()
                await settle()
        rows = await admin.fetch("SELECT claimed_by, attempts FROM supervisor.jobs")
        assert started == []
        assert [tuple(row) for row in rows] == [(None, 0)] * 3


async def test_nothing_is_claimed_while_too_much_is_unwritten(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full outbox holds the claims up until it is written."""
    ran: list[int] = []

    @job()
    async def some(args: int) -> None:
        ran.append(args)

    monkeypatch.setattr(outbox, "FULL", 5)
    async with job_database() as dsn, opened(dsn, [some], concurrency=2) as one:
        await one.enqueue("some", *range(20))
        one.database.connection = _refuse  # type: ignore[method-assign]
        async with running(one.root, log=one.log):
            await one.heard.expect(JobCompleted, count=5)
            await settle()
            assert 5 <= len(ran) <= 6
            del one.database.connection
            await one.heard.expect(JobCompleted, count=20)
            await one.written()


def _refuse(within: float = 0.0) -> Never:
    raise DatabaseUnavailable("not now")


async def _sleeps(one: Engine) -> bool:
    return bool(await one.value(SLEEPING, one.lease.worker))


async def _claims(admin: Engine) -> bool:
    sql = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%supervisor.claim(%' AND wait_event_type = 'Lock'"
    return bool(await admin.value(sql))
