"""What ended is written once, whatever becomes of the connections to the database."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from supervisor.jobs.events import JobCompleted, JobFailed, JobFenced, JobStarted, JobUnwritten
from supervisor.jobs.job import job
from supervisor.jobs.outcomes import Retry
from supervisor.store import jobs
from supervisor.store.database import Database
from tests.actors.engine import Engine, engine, job_database, opened
from tests.store.fault_proxy import Way, proxied

if TYPE_CHECKING:
    from typing import Any

    from supervisor.jobs.context import JobContext
    from supervisor.store.link import Link

OTHERS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name LIKE 'engine%'
"""
RELEASE = """
    UPDATE supervisor.jobs SET claimed_by = NULL, claimed_at = NULL, deadline_at = NULL, lock_version = lock_version + 1
    WHERE id = $1
"""


async def test_what_ended_is_kept_through_outages() -> None:
    """While all connections are ended again and again, each job runs once and is completed once."""
    runs: Counter[int] = Counter()

    @job()
    async def count(args: int) -> None:
        runs[args] += 1
        await asyncio.sleep(0)

    async with job_database() as dsn, opened(dsn, [count]) as admin:
        async with engine(dsn, [count], database=Database(dsn, name="engine")) as one:
            ids = await admin.enqueue("count", *range(500))
            one.wakes.note("default")
            for _ in range(10):
                await admin.fetch(OTHERS)
                await admin.value("SELECT 1 FROM pg_sleep(0.03)")
            past = await admin.ended(*ids)
        assert runs == dict.fromkeys(range(500), 1)
        assert {row["status"] for row in past.values()} == {"completed"}
        assert await admin.value("SELECT count(*) FROM supervisor.job_history") == 500
        assert not one.log.of(JobFenced)


async def test_a_commit_without_an_answer_is_no_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """A completion whose answer was lost with its connection is found in the history, and not called fenced."""
    ids: list[int] = []
    cuts: list[int] = []

    @job()
    async def good() -> None: ...

    async def cut() -> None:
        await admin.ended(*ids)
        proxy.reset()
        proxy.heal()

    async def complete(link: Link, *args: Any, **options: Any) -> set[int]:  # noqa: ANN401 - as the original
        cuts.append(1)
        if len(cuts) != 2:  # in the first, the statement is prepared
            return await original(link, *args, **options)
        proxy.swallow(Way.DOWN)
        written, _ = await asyncio.gather(original(link, *args, **options), cut())
        return written

    original = jobs.complete
    monkeypatch.setattr(jobs, "complete", complete)
    async with (
        job_database() as dsn,
        opened(dsn, [good]) as admin,
        proxied(dsn) as proxy,
        engine(dsn, [good], database=Database(proxy.dsn)) as one,
    ):
        for count in (1, 2):
            ids += await admin.enqueue("good")
            one.wakes.note("default")
            await one.heard.expect(JobCompleted, count=count)
            await admin.until(lambda: _settled(one))
        assert len(cuts) == 3
        assert not one.log.of(JobFenced)
        assert await admin.value("SELECT count(*) FROM supervisor.job_history") == 2


async def _settled(one: Engine) -> bool:
    return not len(one.outbox)


@pytest.mark.parametrize("fails", [False, True])
async def test_a_stale_run_is_fenced(fails: bool) -> None:
    """What a run writes after its job was given to somebody else is refused, reported, and changes nothing."""
    gate = asyncio.Event()

    @job(max_attempts=1)
    async def stale() -> None:
        await gate.wait()
        if fails:
            raise ValueError

    async with job_database() as dsn, engine(dsn, [stale]) as one, opened(dsn, [stale]) as other:
        (id_,) = await one.enqueue("stale")
        await one.heard.expect(JobStarted)
        await other.fetch(RELEASE, id_)
        claim = "SELECT lock_version FROM supervisor.claim($1, 'default', '{stale}', 1, null, null, null)"
        assert await other.value(claim, other.lease.worker) == 3
        gate.set()
        event = await one.log.expect(JobFenced)
        assert (event.job_id, event.lock_version) == (id_, 1)
        await one.written()
        (row,) = await one.fetch("SELECT * FROM supervisor.jobs")
        assert (row["claimed_by"], row["lock_version"], row["attempts"]) == (other.lease.worker, 3, 0)
        assert await one.past(id_) == {}


async def test_a_row_that_is_refused_costs_the_others_nothing() -> None:
    """Where the database refuses one job's end, the others of its group are written, and that one is reported."""
    gate = asyncio.Event()

    @job()
    async def good(args: int) -> None:
        await gate.wait()

    async with job_database() as dsn, engine(dsn, [good]) as one:
        ids = await one.enqueue("good", *range(7))
        await one.heard.expect(JobStarted, count=7)
        await one.fetch(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN IF NEW.job_id % 5 = 0 THEN RAISE 'not this one'; END IF; RETURN NEW; END $$"
        )
        await one.fetch(
            "CREATE TRIGGER refuse BEFORE INSERT ON supervisor.job_history FOR EACH ROW EXECUTE FUNCTION refuse()"
        )
        gate.set()
        await one.ended(*(id_ for id_ in ids if id_ % 5))
        await one.written()
        refused = [id_ for id_ in ids if not id_ % 5]
        assert refused
        assert [(event.job_id, "not this one" in event.error) for event in one.log.of(JobUnwritten)] == [
            (id_, True) for id_ in refused
        ]


async def test_what_is_handed_back_at_once_is_claimed_at_once() -> None:
    """A job that asks to be run again without a delay does not wait for the next poll."""

    @job()
    async def twice(ctx: JobContext) -> None:
        if ctx.attempt == 1:
            raise Retry(0.0)

    async with job_database() as dsn, engine(dsn, [twice], poll=3600.0) as one:
        (id_,) = await one.enqueue("twice")
        one.wakes.note("default")
        assert (await one.ended(id_))[id_]["attempts"] == 1
        assert one.log.of(JobFailed, retry_in=0.0)


async def test_a_stop_writes_what_waits() -> None:
    """The engine does not end before everything that has ended is written."""

    @job()
    async def good(args: int) -> None: ...

    async with job_database() as dsn, opened(dsn, [good], concurrency=1000) as admin:
        ids = await admin.enqueue("good", *range(1000))
        async with engine(dsn, [good], concurrency=1000) as one:
            await one.heard.expect(JobCompleted, count=300)
        done = len(one.heard.of(JobCompleted))
        assert not len(one.outbox)
        assert len(await admin.past(*ids)) == done
        assert await admin.value("SELECT count(*) FROM supervisor.jobs WHERE claimed_by IS NULL") == 1000 - done


async def test_a_restarted_completer_sends_again_what_was_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a completer had taken when it crashed is written by the next one, and not called fenced."""
    sent: list[int] = []

    @job()
    async def good() -> None: ...

    async def complete(link: Link, *args: Any, **options: Any) -> set[int]:  # noqa: ANN401 - as the original
        written = await original(link, *args, **options)
        sent.append(1)
        if len(sent) == 1:
            raise RuntimeError("crashed on purpose, after it was written")
        return written

    original = jobs.complete
    monkeypatch.setattr(jobs, "complete", complete)
    async with job_database() as dsn, engine(dsn, [good]) as one:
        await one.ended(*await one.enqueue("good"))
        await one.written()
        assert len(sent) == 2
        assert not one.log.of(JobFenced)


async def test_an_outage_at_the_stop_ends_with_the_stop() -> None:
    """A database that is out of reach does not hold the stop up for longer than its limits allow."""
    gate = asyncio.Event()

    @job()
    async def good() -> None:
        await gate.wait()

    async with job_database() as dsn, opened(dsn, [good]) as admin:
        async with (
            proxied(dsn) as proxy,
            engine(dsn, [good], database=Database(proxy.dsn), completer_stop=0.2) as one,
        ):
            await admin.enqueue("good")
            one.wakes.note("default")
            await one.heard.expect(JobStarted)
            proxy.swallow(*Way)
            gate.set()
            await one.heard.expect(JobCompleted)
            one.tree.stop()
        assert await admin.value("SELECT count(*) FROM supervisor.jobs WHERE claimed_by IS NOT NULL") == 1
