"""The reaper: what workers hold that will not finish it is taken from them, by anybody and only once."""

from __future__ import annotations

from typing import Never

from actors.reaper import BATCH, Reaper, Recovered, recover, recover_dead, release
from supervisor.jobs.events import JobsRecovered
from supervisor.process.lifelock import LifeLock
from supervisor.testing import FakeClock, running
from supervisor.tree.child import Child
from tests.actors.parts import HOST, Parts, parts

_LOSE = "UPDATE supervisor.workers SET lease_expires_at = clock_timestamp() WHERE id = $1"
_LATE = "UPDATE supervisor.jobs SET deadline_at = clock_timestamp() - interval '1 min' WHERE id = $1"


def child(parts: Parts) -> Child[Never]:
    """Make a reaper."""
    return Child("reaper", lambda: Reaper(parts.database, parts.wakes, parts.suspects, max_losses=3))


async def test_the_jobs_of_a_silent_worker_are_released() -> None:
    """A worker whose lease has run out is LOST, and its jobs are free again at the cost of a loss."""
    clock = FakeClock()
    async with parts() as shared:
        worker, other = await shared.worker(), await shared.worker()
        await shared.enqueue(3)
        await shared.claim(worker)
        (kept,) = await shared.enqueue()
        await shared.claim(other)
        await shared.execute(_LOSE, worker)
        async with running(child(shared), log=shared.log, clock=clock):
            await clock.advance(1.0)
            event = await shared.log.expect(JobsRecovered)
            assert (event.worker, event.count, event.quarantined) == (worker, 3, 0)
            assert shared.suspects
        assert await shared.status(worker) == "LOST"
        rows = await shared.rows("SELECT id, losses FROM supervisor.jobs WHERE claimed_by IS NULL")
        assert [row["losses"] for row in rows] == [1, 1, 1]
        assert await shared.rows("SELECT id FROM supervisor.jobs WHERE claimed_by = $1", other) == [{"id": kept}]


async def test_a_late_job_of_a_living_worker_is_taken() -> None:
    """A job long past its deadline is released, and no other job of its worker."""
    clock = FakeClock()
    async with parts() as shared:
        worker = await shared.worker()
        late, _ = await shared.enqueue(2)
        await shared.claim(worker)
        await shared.execute(_LATE, late)
        async with running(child(shared), log=shared.log, clock=clock):
            await clock.advance(1.0)
            assert (await shared.log.expect(JobsRecovered)).count == 1
        assert await shared.rows("SELECT id FROM supervisor.jobs WHERE claimed_by IS NULL") == [{"id": late}]
        assert await shared.status(worker) == "RUNNING"


async def test_it_goes_on_until_nothing_is_left() -> None:
    """More jobs than one statement takes are all released."""
    async with parts() as shared:
        worker = await shared.worker()
        await shared.enqueue(BATCH + 1)
        await shared.claim(worker, BATCH + 1)
        await shared.execute(_LOSE, worker)
        async with shared.database.connection() as link:
            assert await recover(link, 3) == [Recovered(worker, BATCH + 1, 0)]
            assert await recover(link, 3) == []


async def test_the_last_loss_puts_a_job_away() -> None:
    """A job that has cost as many workers as it may is ended as quarantined."""
    async with parts() as shared:
        worker = await shared.worker()
        (job,) = await shared.enqueue()
        await shared.claim(worker)
        await shared.execute(_LOSE, worker)
        async with shared.database.connection() as link:
            assert await recover(link, 1) == [Recovered(worker, 1, 1)]
        rows = await shared.rows("SELECT job_id, status FROM supervisor.job_history")
        assert rows == [{"job_id": job, "status": "quarantined"}]


async def test_what_a_stopped_worker_left_costs_nothing() -> None:
    """Jobs of a worker that said farewell are interrupted ones."""
    async with parts() as shared:
        worker = await shared.worker()
        await shared.enqueue()
        await shared.claim(worker)
        await shared.execute("UPDATE supervisor.workers SET status = 'STOPPED' WHERE id = $1", worker)
        async with shared.database.connection() as link:
            assert await recover(link, 3) == [Recovered(worker, 1, 0)]
        assert await shared.rows("SELECT losses, interruptions FROM supervisor.jobs") == [
            {"losses": 0, "interruptions": 1}
        ]


async def test_a_living_worker_loses_nothing() -> None:
    """Nothing is taken from a worker whose lease is good."""
    async with parts() as shared:
        worker = await shared.worker()
        await shared.enqueue()
        await shared.claim(worker)
        async with shared.database.connection() as link:
            assert await recover(link, 3) == []
            assert await release(link, worker, 3, past_deadline=True) == Recovered(worker, 0, 0)


async def test_without_a_dead_process_nobody_is_declared_dead() -> None:
    """A process that holds no lock proves nothing about others."""
    async with parts() as shared, shared.database.connection() as link:
        assert await recover_dead(link, LifeLock(f"{HOST}-1-1-a"), 3) == []
