"""The typed statements on workers, kinds, queues, steps and the history."""

from __future__ import annotations

import json

import pytest

from supervisor.errors import StatementRefused
from supervisor.store import history, jobs, kinds, queues, steps, workers
from supervisor.store.enqueue import JobOptions
from supervisor.store.kinds import Kind
from supervisor.store.steps import NewStep, Progress
from supervisor.store.workers import Held, Identity, Released
from tests.store.statement_session import IDENTITY, NOOP, SLOW, statements


async def test_a_worker_is_registered_as_who_it_is() -> None:
    """A worker's row says who it is, from the first moment with a lease."""
    async with statements() as session:
        identity = Identity(name="w2", host="there", pid=7, version="2", worker_type="quarantine", metadata={"a": [1]})
        registered = await workers.register(session.link, identity, 30.0)
        row = await session.link.fetchrow("SELECT * FROM supervisor.workers WHERE id = $1", registered.id)
        assert row is not None
        assert (row["name"], row["host"], row["pid"], row["worker_type"]) == ("w2", "there", 7, "quarantine")
        assert (row["version"], row["status"], json.loads(row["metadata"])) == ("2", "STARTING", {"a": [1]})
        assert row["lease_expires_at"] == registered.lease_expires_at
        assert registered.epoch == 1


async def test_a_heartbeat_renews_a_lease_that_is_held() -> None:
    """A heartbeat moves the end of the lease and tells the epoch, and returns None for a worker that is lost."""
    async with statements() as session:
        first = await workers.heartbeat(session.link, session.worker, 60.0, None)
        second = await workers.heartbeat(session.link, session.worker, 120.0, 5.0)
        assert first is not None
        assert second is not None
        assert second.lease_expires_at > first.lease_expires_at
        assert second.epoch == 1
        soon = "SELECT oldest_deadline - clock_timestamp() BETWEEN '1 s' AND '5 s' FROM supervisor.workers"
        assert await session.link.fetchval(soon)
        assert await workers.declare_dead(session.link, [IDENTITY.name, "nobody"]) == [session.worker]
        assert await workers.heartbeat(session.link, session.worker, 60.0, None) is None
        assert await workers.declare_dead(session.link, [IDENTITY.name]) == []


async def test_the_status_of_a_worker_that_is_over_stays() -> None:
    """A status can be written until the worker has stopped, and not after that."""
    async with statements() as session:
        assert await workers.set_status(session.link, session.worker, "STOPPING")
        assert await workers.set_status(session.link, session.worker, "STOPPED")
        assert not await workers.set_status(session.link, session.worker, "RUNNING")
        assert not await workers.set_status(session.link, 999, "RUNNING")


async def test_a_worker_sleeps_on_queues() -> None:
    """A worker says on which queues it sleeps, and with none that it is awake."""
    async with statements() as session:
        asleep = "SELECT idle_queues FROM supervisor.workers"
        await workers.sleep_on(session.link, session.worker, ["default", "later"])
        assert await session.link.fetchval(asleep) == ["default", "later"]
        await workers.sleep_on(session.link, session.worker, [])
        assert await session.link.fetchval(asleep) == []
        await jobs.wake(session.link, ["default"])


async def test_what_lost_workers_hold_is_found_and_released() -> None:
    """A worker whose lease ran out is found, and so is what it holds; all of it is released, bit by bit."""
    async with statements() as session:
        ids = await session.enqueue(3)
        await session.claim()
        assert await workers.find_lost(session.link) == []
        assert await workers.find_held(session.link) == []
        await session.link.execute(
            "UPDATE supervisor.workers SET lease_expires_at = clock_timestamp() - interval '1 s'"
        )
        assert await workers.find_lost(session.link) == [session.worker]
        assert await workers.find_held(session.link) == [Held(session.worker, past_deadline=False)]
        first = await workers.release_lost(session.link, session.worker, 2, 3, False)  # noqa: FBT003
        rest = await workers.release_lost(session.link, session.worker, 2, 1, False)  # noqa: FBT003
        assert len(first) == 2
        assert sorted(first + rest) == sorted(Released(job, quarantined=job in {row.id for row in rest}) for job in ids)
        assert await workers.release_lost(session.link, session.worker, 2, 3, False) == []  # noqa: FBT003


async def test_kinds_are_offered_and_listed() -> None:
    """An offer writes what is missing, and with replace what differs; the list has every column."""
    async with statements() as session:
        other = Kind("noop", "elsewhere", "s", 9, 2.5, changes=False, essential=True)
        assert await kinds.listed(session.link) == [NOOP, SLOW]
        assert await kinds.offer(session.link, [other, SLOW], replace=False) == 0
        assert await kinds.offer(session.link, [other, SLOW], replace=True) == 1
        assert await kinds.listed(session.link) == [other, SLOW]
        assert await kinds.offer(session.link, [], replace=True) == 0


async def test_queues_are_counted_by_what_their_jobs_wait_for() -> None:
    """The numbers of a queue tell ready, running, delayed and ended jobs apart."""
    async with statements() as session:
        ids = await session.enqueue(4)
        await session.enqueue(2, options=JobOptions(delay=60.0))
        await session.claim(2)
        await jobs.complete(session.link, [ids[0]], [1])
        found = {stats.queue: stats for stats in await queues.stats(session.link)}
        mine = found["default"]
        assert (mine.ready, mine.running, mine.delayed, mine.retrying, mine.blocked, mine.suspects) == (
            2,
            1,
            2,
            0,
            0,
            0,
        )
        assert (mine.completed_1h, mine.failed_1h) == (1, 0)
        assert mine.oldest_ready is not None
        assert 0 <= mine.oldest_ready < 60


async def test_steps_are_recorded_under_the_fence() -> None:
    """A step is recorded once and replayed as it was; what the fence refuses is missing from the answer."""
    async with statements() as session:
        one, two = await session.enqueue(2)
        await session.claim()
        rows = [NewStep(one, 1, "charge", 0, None, done=False), NewStep(two, 2, "charge", 0, '{"paid": 1}')]
        assert await steps.record(session.link, rows) == {(one, "charge")}
        assert await steps.record(session.link, [NewStep(one, 1, "charge", 0, '{"paid": 1}')]) == {(one, "charge")}
        assert await steps.record(session.link, []) == set()
        (found,) = await steps.of(session.link, one)
        assert (found.name, found.place, found.done, found.lock_version) == ("charge", 0, True, 1)
        assert found.result is not None
        assert json.loads(found.result) == {"paid": 1}
        assert await steps.of(session.link, two) == []
        with pytest.raises(StatementRefused) as refused:
            await steps.record(session.link, [NewStep(one, 1, "charge", 0, '{"paid": 2}')])
        assert refused.value.sqlstate == "SV002"
        assert await history.prune_steps(session.link, 0, 100) == 0


async def test_a_step_of_unknown_end_is_resolved_by_a_person() -> None:
    """A blocked job runs again once somebody has said what became of its step, and of its result."""
    async with statements() as session:
        ids = await session.enqueue(2)
        await session.claim()
        await steps.record(session.link, [NewStep(job, 1, "order", 0, None, done=False) for job in ids])
        await jobs.hand_back(session.link, [jobs.HandedBack(job, 1, "blocked") for job in ids])
        assert not await steps.resolve(session.link, ids[0], "another", result="1")
        assert await steps.resolve(session.link, ids[0], "order", result='"A-7"')
        assert await steps.resolve(session.link, ids[1], "order", again=True)
        assert not await steps.resolve(session.link, ids[1], "order", again=True)
        (found,) = await steps.of(session.link, ids[0])
        assert (found.done, found.result) == (True, '"A-7"')
        assert await steps.of(session.link, ids[1]) == []
        assert [job.id for job in await session.claim()] == ids


async def test_progress_is_written_under_the_fence() -> None:
    """How far a job is can be written again and again by the run that has it."""
    async with statements() as session:
        (job,) = await session.enqueue()
        await session.claim()
        assert await steps.report_progress(session.link, [Progress(job, 1, 5, 10)]) == {job}
        assert await steps.report_progress(session.link, [Progress(job, 1, 7), Progress(job + 1, 1, 7)]) == {job}
        assert await steps.report_progress(session.link, [Progress(job, 2, 9)]) == set()
        assert await steps.report_progress(session.link, []) == set()
        row = await session.link.fetchrow("SELECT done, total FROM supervisor.job_progress")
        assert row is not None
        assert tuple(row) == (7, None)


async def test_the_days_of_the_history_are_made_and_dropped() -> None:
    """Partitions are made ahead once, and days that are old enough are dropped."""
    async with statements() as session:
        made = await history.make(session.link, 20)
        assert made > 0
        assert await history.make(session.link, 20) == 0
        assert await history.drop(session.link, 14) == 0
