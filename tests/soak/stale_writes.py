"""Takes jobs away from a worker in every way that there is, and then lets it write all that it could write."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Final, cast

from supervisor.store import enqueue, jobs, kinds, steps
from supervisor.store.enqueue import JobOptions
from supervisor.store.link import connect
from supervisor.store.steps import NewStep
from tests.soak.pause import pause
from tests.soak.stale_losses import LOSSES, QUICK, TAKEN
from tests.soak.stale_stage import KIND, Stage
from tests.soak.stale_write_kinds import WAITING, WRITES

if TYPE_CHECKING:
    import random

_WAITS: Final = "SELECT cardinality(pg_blocking_pids($1)) > 0"
_OVER: Final = "SELECT max(lock_version) FROM supervisor.job_history WHERE job_id = $1"


async def stale_writes(dsn: str, rng: random.Random, rounds: int) -> tuple[int, list[str]]:
    """Do it all, so many times, until something is wrong; return the number of stale writes and what was wrong."""
    link, other = await connect(dsn), await connect(dsn)
    stage = Stage(link, other, rng)
    try:
        await kinds.offer(link, [KIND], replace=True)
        await stage.register()
        for _ in range(rounds):
            for how, again in itertools.product(LOSSES, (False, True)):
                if not stage.wrong:
                    await _one_job(stage, how, claimed_again=again)
            for how, name in itertools.product(sorted(QUICK), sorted(WAITING)):
                if not stage.wrong:
                    await _one_wait(stage, how, name)
    finally:
        await link.close()
        await other.close()
    return stage.attempts, stage.wrong


async def _claimed(stage: Stage, key: str | None) -> tuple[int, int]:
    made = await enqueue.one(stage.link, KIND.kind, "{}", JobOptions(), key, None)
    assert made is not None
    return made[0], await stage.claim(made[0])


async def _one_job(stage: Stage, how: str, *, claimed_again: bool) -> None:
    job, stale = await _claimed(stage, f"key-{next(stage.names)}")
    await steps.record(stage.link, [NewStep(job, stale, "earlier", 7, '"kept"')])
    await LOSSES[how](stage, job, stale)
    now = await _moved(stage, how, job, stale)
    if now is not None and claimed_again:
        now = await stage.claim(job)
    before = await stage.fingerprint()
    closed = [stale] if now is None or claimed_again else [stale, now]  # also that which no claim has given yet
    for name, version in itertools.product(stage.rng.sample(sorted(WRITES), len(WRITES)), closed):
        if await stage.accepts(name, job, version):
            stage.wrong.append(f"{how}: {name} was accepted under fence {version}; the job is at {now}")
    after = await stage.fingerprint()
    for table in before:
        if before[table] != after[table]:
            stage.wrong.append(f"{how}: a stale write changed {table}")
    if now is not None and claimed_again:
        await _race(stage, job, stale, now)
    elif now is not None:
        await jobs.cancel(stage.link, [job])


async def _moved(stage: Stage, how: str, job: int, stale: int) -> int | None:
    """Check that the fence is another one; return it, None if the job is not live."""
    now, claimed = await stage.current(job)
    if claimed:
        stage.wrong.append(f"{how}: job {job} is claimed still")
    if how in TAKEN and cast("int", await stage.link.fetchval(_OVER, job)) <= stale:
        stage.wrong.append(f"{how}: job {job} is over under the fence of the run that it was taken from")
    if now is not None and now <= stale:
        stage.wrong.append(f"{how}: the fence of job {job} stayed at {now}")
    return now


async def _race(stage: Stage, job: int, stale: int, live: int) -> None:
    """Let a stale write and the end of the living run meet; and both in one statement."""
    name = stage.rng.choice(sorted(WRITES))
    accepted, done = await asyncio.gather(
        stage.accepts(name, job, stale), jobs.complete(stage.link, [job, job], [stale, live])
    )
    if accepted:
        stage.wrong.append(f"{name} was accepted under fence {stale} beside the end under {live}")
    if done != {job}:
        stage.wrong.append(f"the end of job {job} under fence {live} was refused beside {name} under {stale}")


async def _one_wait(stage: Stage, how: str, name: str) -> None:
    """Let a write wait for the transaction that takes the job away, and be decided after its commit."""
    job, stale = await _claimed(stage, None)
    async with asyncio.TaskGroup() as group:
        async with stage.link.transaction():
            await LOSSES[how](stage, job, stale)
            write = group.create_task(stage.accepts(name, job, stale))
            while not (waits := await stage.link.fetchval(_WAITS, stage.other.server_pid)) and not write.done():
                await pause(0.001)
        if not waits:
            stage.wrong.append(f"void: {name} did not wait for {how}")
        if await write:
            stage.wrong.append(f"{how}: {name} waited for it, and was accepted under fence {stale} after it")
    await jobs.cancel(stage.link, [job])
