"""The claimer of the lane: suspects together while they may be lost once more, and then one by one."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from actors import suspect_claimer
from actors.completer import Completer
from actors.executor import Executor
from actors.suspect_claimer import SuspectClaimer
from supervisor import JobContext, job
from supervisor.jobs.hooks import JobHooks
from supervisor.jobs.step_log import StepLog
from supervisor.testing import running
from supervisor.tree.child import Child
from supervisor.tree.events import ExitRequested
from supervisor.tree.strategy import Strategy
from supervisor.tree.supervisor import Supervisor
from tests.actors.parts import Parts, parts, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest

    from supervisor.jobs.job import Job


class Watch:
    """Counts how many handlers run at once, and how many ran beside each job."""

    def __init__(self) -> None:
        self.running: set[int] = set()
        self.beside: dict[int, int] = {}
        self.go_on = asyncio.Event()

    @property
    def job(self) -> Job[Any]:
        """The job that is watched."""

        @job("noop")
        async def noop(ctx: JobContext) -> None:
            self.running.add(ctx.id)
            for each in self.running:
                self.beside[each] = max(self.beside.get(each, 0), len(self.running) - 1)
            await self.go_on.wait()
            self.running.discard(ctx.id)

        return noop


@asynccontextmanager
async def lane(shared: Parts, *, max_losses: int = 3) -> AsyncIterator[None]:
    """Run the work of a lane."""
    hooks = JobHooks()
    completer = Child("completer", lambda: Completer(shared.database, shared.outbox, StepLog(), shared.wakes, hooks))
    executor = Child("executor", lambda: Executor(shared.database, shared.lease, shared.handlers, grace=0.5))
    claimer = Child(
        "claimer",
        lambda: SuspectClaimer(
            shared.database,
            shared.lease,
            shared.slots,
            shared.handlers,
            shared.outbox,
            queues=["default"],
            kinds=["noop"],
            max_losses=max_losses,
        ),
    )
    await shared.become()
    async with running(Supervisor("root", [completer, executor, claimer], Strategy.REST_FOR_ONE), log=shared.log):
        yield


async def suspects(shared: Parts, count: int, losses: int) -> list[int]:
    """Make jobs that were lost with workers."""
    ids = await shared.enqueue(count)
    await shared.execute("UPDATE supervisor.jobs SET losses = $1 WHERE id = ANY ($2)", losses, ids)
    return ids


async def over(shared: Parts, count: int) -> None:
    """Wait until so many jobs are completed."""
    await shared.until(
        "SELECT count(*) FROM supervisor.job_history WHERE status = 'completed' HAVING count(*) = $1", count
    )


async def test_jobs_with_losses_to_spare_run_together() -> None:
    """Suspects that may be lost once more keep each other company."""
    watch = Watch()
    async with parts([watch.job]) as shared, lane(shared):
        ids = await suspects(shared, 3, 1)
        await until(lambda: len(watch.running) == len(ids))
        watch.go_on.set()
        await over(shared, 3)
        assert watch.beside == dict.fromkeys(ids, 2)


async def test_a_job_on_its_last_loss_runs_alone() -> None:
    """Nothing runs beside a job on its last loss, whether it came before or comes later, or is of the same sort."""
    watch = Watch()
    watch.go_on.set()
    async with parts([watch.job]) as shared, lane(shared):
        last = await suspects(shared, 5, 2)
        await suspects(shared, 5, 1)
        await over(shared, 10)
        assert [watch.beside[job] for job in last] == [0] * 5


async def test_nothing_joins_a_job_that_runs_alone() -> None:
    """A suspect that comes while one runs alone waits for its end."""
    watch = Watch()
    async with parts([watch.job]) as shared, lane(shared):
        (last,) = await suspects(shared, 1, 2)
        await shared.until("SELECT FROM supervisor.jobs WHERE claimed_by IS NOT NULL")
        (other,) = await suspects(shared, 1, 1)
        await shared.rows("SELECT pg_sleep(0.6)")
        assert watch.beside == {last: 0}
        watch.go_on.set()
        await over(shared, 2)
        assert watch.beside == {last: 0, other: 0}


async def test_with_two_losses_allowed_every_suspect_runs_alone() -> None:
    """Where the first loss is the last but one, nobody is convicted for a neighbour."""
    watch = Watch()
    watch.go_on.set()
    async with parts([watch.job]) as shared, lane(shared, max_losses=2):
        ids = await suspects(shared, 3, 1)
        await over(shared, 3)
        assert watch.beside == dict.fromkeys(ids, 0)


async def test_it_ends_when_no_suspect_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while without suspects the process is asked to exit with 0; jobs without losses are not its business."""
    monkeypatch.setattr(suspect_claimer, "LINGER", 0.3)
    watch = Watch()
    watch.go_on.set()
    async with parts([watch.job]) as shared:
        await shared.enqueue()
        async with lane(shared):
            await suspects(shared, 1, 1)
            await over(shared, 1)
            assert (await shared.log.expect(ExitRequested)).code == 0
        assert len(await shared.rows("SELECT FROM supervisor.jobs")) == 1


async def test_without_a_lease_nothing_is_claimed() -> None:
    """A lane that cannot prove its lease claims nothing."""
    watch = Watch()
    async with parts([watch.job]) as shared, lane(shared):
        shared.lease.lose()
        await suspects(shared, 1, 1)
        await shared.rows("SELECT pg_sleep(0.5)")
        assert await shared.rows("SELECT FROM supervisor.jobs WHERE claimed_by IS NOT NULL") == []
