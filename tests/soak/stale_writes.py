"""Takes jobs away from a worker in every way that there is, and then lets it write all that it could write."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, cast

from supervisor.errors import LeaseLost, StatementRefused
from supervisor.store import enqueue, fence, jobs, kinds, steps, workers
from supervisor.store.enqueue import JobOptions
from supervisor.store.job_rows import Ended, HandedBack
from supervisor.store.kinds import Kind
from supervisor.store.link import Link, connect
from supervisor.store.steps import NewStep, Progress
from supervisor.store.workers import Identity
from tests.soak.pause import pause

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable

    Write = Callable[[Link, int, int], Awaitable[bool]]
    Loss = Callable[["Stage", int, int], Awaitable[None]]

KIND: Final = Kind("noop", "default", "soak", 3, 300.0, changes=True, essential=False)
LEASE: Final = 600.0
MAX_LOSSES: Final = 3

_TABLES: Final = ("jobs", "jobs_waiting", "job_history", "job_keys", "job_steps", "job_progress")
_FINGERPRINT: Final = " UNION ALL ".join(  # noqa: S608 - constants
    f"SELECT '{table}', md5(string_agg(t.it::text, '|' ORDER BY t.it::text)) FROM (SELECT one AS it FROM supervisor.{table} AS one) AS t"
    for table in _TABLES
)
_TOO_LATE: Final = "UPDATE supervisor.jobs SET deadline_at = clock_timestamp() - interval '1 min' WHERE id = $1"
_DUE: Final = "UPDATE supervisor.jobs_waiting SET due_at = clock_timestamp() WHERE id = $1 AND due_at < 'infinity'"
_WAITS: Final = "SELECT cardinality(pg_blocking_pids($1)) > 0"
_OVER: Final = "SELECT max(lock_version) FROM supervisor.job_history WHERE job_id = $1"
_FENCE: Final = "SELECT lock_version, claimed_by FROM supervisor.jobs WHERE id = $1"


@dataclass(slots=True)
class Stage:
    """Two links, and the workers that come and go on them. attempts: stale writes so far; wrong: what was broken."""

    link: Link
    other: Link
    rng: random.Random
    worker: int = 0
    attempts: int = 0
    wrong: list[str] = field(default_factory=list)
    names: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    name: str = ""

    async def register(self) -> int:
        """Become another worker."""
        self.name = f"host-1-{next(self.names)}-x"
        self.worker = (await workers.register(self.link, Identity(name=self.name, host="host", pid=1, version=""), LEASE)).id
        await workers.set_status(self.link, self.worker, "RUNNING")
        return self.worker

    async def lose(self) -> None:
        """Let the worker be declared dead, and release what it holds."""
        dead = self.worker
        await workers.declare_dead(self.link, [self.name])
        await workers.release_lost(self.link, dead, 1000, MAX_LOSSES, False)  # noqa: FBT003
        await self._says_no(dead)
        await self.register()

    async def claim(self, job: int) -> int:
        """Claim what there is, which is this job; return its fence."""
        rows = await jobs.claim(self.link, self.worker, KIND.queue, [KIND.kind], 100)
        rows += await jobs.claim_suspects(
            self.link, self.worker, [KIND.queue], [KIND.kind], 100, least_losses=1, most_losses=100
        )
        found = [row for row in rows if row.id == job]
        if len(found) != 1:
            self.wrong.append(f"job {job} cannot be claimed again")
            return 0
        return found[0].lock_version

    async def current(self, job: int) -> tuple[int | None, bool]:
        """Return the fence of a job that lives, and whether it is claimed; None for one that does not."""
        row = await self.link.fetchrow(_FENCE, job)
        return (None, False) if row is None else (row[0], row[1] is not None)

    async def fingerprint(self) -> dict[str, str]:
        """Return what is in all tables, in short."""
        return {row[0]: row[1] for row in await self.link.fetch(_FINGERPRINT)}

    async def accepts(self, name: str, job: int, version: int) -> bool:
        """Let the other link write under that fence; return whether it got anywhere."""
        self.attempts += 1
        try:
            return await WRITES[name](self.other, job, version)
        except StatementRefused:
            return True  # it got past the fence

    async def _says_no(self, dead: int) -> None:
        """A worker that was declared dead can do nothing any more."""
        try:
            if await jobs.claim(self.other, dead, KIND.queue, [KIND.kind], 1):
                self.wrong.append(f"dead worker {dead} claimed a job")
            self.wrong.append(f"dead worker {dead} may claim")
        except LeaseLost:
            pass
        if await workers.heartbeat(self.other, dead, LEASE, None) is not None:
            self.wrong.append(f"dead worker {dead} renewed its lease")
        if await workers.set_status(self.other, dead, "RUNNING"):
            self.wrong.append(f"dead worker {dead} runs again")
        self.attempts += 3


# --- all that a run can write ---------------------------------------------------------------------------


async def _complete(link: Link, job: int, version: int) -> bool:
    return bool(await jobs.complete(link, [job], [version]))


async def _complete_with_steps(link: Link, job: int, version: int) -> bool:
    return bool(await jobs.complete(link, [job], [version], steps=True))


async def _extend(link: Link, job: int, version: int) -> bool:
    return await jobs.extend(link, job, version, 60.0) is not None


async def _progress(link: Link, job: int, version: int) -> bool:
    return bool(await steps.report_progress(link, [Progress(job, version, 7, 10)]))


async def _still_held(link: Link, job: int, version: int) -> bool:
    return bool(await jobs.still_held(link, [job], [version]))


async def _hold(link: Link, job: int, version: int) -> bool:
    return await fence.hold(link, job, version)


def _finish(status: str) -> Write:
    async def write(link: Link, job: int, version: int) -> bool:
        return bool(await jobs.finish(link, [Ended(job, version, status, "stale", "stale")]))  # type: ignore[arg-type]

    return write


def _hand_back(reason: str, delay: float) -> Write:
    async def write(link: Link, job: int, version: int) -> bool:
        row = HandedBack(job, version, reason, delay, "stale", "stale")  # type: ignore[arg-type]
        return bool(await jobs.hand_back(link, [row]))

    return write


def _record(*, done: bool) -> Write:
    async def write(link: Link, job: int, version: int) -> bool:
        return bool(await steps.record(link, [NewStep(job, version, "stale", 0, '"stale"', done)]))

    return write


WRITES: Final[dict[str, Write]] = {
    "complete": _complete,
    "complete with steps": _complete_with_steps,
    "extend": _extend,
    "progress": _progress,
    "still held": _still_held,
    "hold": _hold,
    "record": _record(done=True),
    "record an intent": _record(done=False),
    **{f"finish {status}": _finish(status) for status in ("completed", "failed", "discarded")},
    **{
        f"hand back {reason} {delay:g}": _hand_back(reason, delay)
        for reason in ("retry", "snoozed", "interrupted", "blocked")
        for delay in (0.0, 60.0)
    },
}


# --- all the ways to lose a job ---------------------------------------------------------------------------


async def _lost(stage: Stage, job: int, version: int) -> None:
    await stage.lose()


async def _too_late(stage: Stage, job: int, version: int) -> None:
    await stage.link.execute(_TOO_LATE, job)
    await workers.release_lost(stage.link, stage.worker, 1000, MAX_LOSSES, True)  # noqa: FBT003


async def _interrupted(stage: Stage, job: int, version: int) -> None:
    await jobs.hand_back(stage.link, [HandedBack(job, version, "interrupted")])


async def _failed(stage: Stage, job: int, version: int) -> None:
    await jobs.hand_back(stage.link, [HandedBack(job, version, "retry", 60.0, "as told")])


async def _retried(stage: Stage, job: int, version: int) -> None:
    await _failed(stage, job, version)
    await stage.link.execute(_DUE, job)
    await jobs.promote(stage.link, 100)


async def _blocked(stage: Stage, job: int, version: int) -> None:
    await steps.record(stage.link, [NewStep(job, version, "ship", 0, None, done=False)])
    await jobs.hand_back(stage.link, [HandedBack(job, version, "blocked")])


async def _resolved(stage: Stage, job: int, version: int) -> None:
    await _blocked(stage, job, version)
    await steps.resolve(stage.link, job, "ship", again=True)


async def _completed(stage: Stage, job: int, version: int) -> None:
    await jobs.complete(stage.link, [job], [version])


async def _discarded(stage: Stage, job: int, version: int) -> None:
    await jobs.finish(stage.link, [Ended(job, version, "discarded")])


async def _cancelled(stage: Stage, job: int, version: int) -> None:
    await jobs.cancel(stage.link, [job], "as told")


async def _revived(stage: Stage, job: int, version: int) -> None:
    await _cancelled(stage, job, version)
    await jobs.retry(stage.link, [job])


LOSSES: Final[dict[str, Loss]] = {
    "lost": _lost,
    "too late": _too_late,
    "interrupted": _interrupted,
    "failed": _failed,
    "retried": _retried,
    "blocked": _blocked,
    "resolved": _resolved,
    "completed": _completed,
    "discarded": _discarded,
    "cancelled": _cancelled,
    "revived": _revived,
}

TAKEN: Final = frozenset({"cancelled"})
"""Those that end the job without the run that has it."""

QUICK: Final = frozenset({"too late", "interrupted", "failed", "completed", "discarded", "cancelled"})
"""Those that are one transaction, for whose end a write can wait."""
WAITING: Final = frozenset(WRITES) - {"still held", "progress"}
"""Writes that wait for others which hold the job; those two only look, and may see what was before."""


# --- the campaign -----------------------------------------------------------------------------------------


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


async def _one_job(stage: Stage, how: str, *, claimed_again: bool) -> None:
    made = await enqueue.one(stage.link, KIND.kind, "{}", JobOptions(), f"key-{next(stage.names)}", None)
    assert made is not None
    job = made[0]
    stale = await stage.claim(job)
    await steps.record(stage.link, [NewStep(job, stale, "earlier", 7, '"kept"')])
    await LOSSES[how](stage, job, stale)
    now, claimed = await stage.current(job)
    if claimed:
        stage.wrong.append(f"{how}: job {job} is claimed still")
    if how in TAKEN and cast("int", await stage.link.fetchval(_OVER, job)) <= stale:
        stage.wrong.append(f"{how}: job {job} is over under the fence of the run that it was taken from")
    if now is not None and now <= stale:
        stage.wrong.append(f"{how}: the fence of job {job} stayed at {now}")
    if now is not None and claimed_again:
        now = await stage.claim(job)
    before = await stage.fingerprint()
    for name in stage.rng.sample(sorted(WRITES), len(WRITES)):
        if await stage.accepts(name, job, stale):
            stage.wrong.append(f"{how}: {name} was accepted under fence {stale}; the job is at {now}")
    after = await stage.fingerprint()
    for table in before:
        if before[table] != after[table]:
            stage.wrong.append(f"{how}: a stale write changed {table}")
    if now is not None and claimed_again:
        await _race(stage, job, stale, now)
    elif now is not None:
        await jobs.cancel(stage.link, [job])


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
    made = await enqueue.one(stage.link, KIND.kind, "{}", JobOptions(), None, None)
    assert made is not None
    job = made[0]
    stale = await stage.claim(job)
    async with asyncio.TaskGroup() as group:
        async with stage.link.transaction():
            await LOSSES[how](stage, job, stale)
            write = group.create_task(stage.accepts(name, job, stale))
            while not write.done() and not await stage.link.fetchval(_WAITS, stage.other.server_pid):
                await pause(0.001)
        if await write:
            stage.wrong.append(f"{how}: {name} waited for it, and was accepted under fence {stale} after it")
    await jobs.cancel(stage.link, [job])
