"""Writes what became of jobs: everything that waits in one statement, and the steps of running jobs likewise."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Never, TypeVar, assert_never

import anyio

from supervisor.errors import DatabaseUnavailable, StatementRefused
from supervisor.jobs import reports
from supervisor.jobs.outcomes import Action
from supervisor.store import fence, jobs
from supervisor.store.job_rows import Ended, HandedBack
from supervisor.telemetry import job_tallies
from supervisor.tree.actor import Actor

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from supervisor.jobs.events import JobEvent
    from supervisor.jobs.hooks import JobHooks
    from supervisor.jobs.outbox import Batch, Outbox, Verdict
    from supervisor.jobs.outcomes import Decision
    from supervisor.jobs.step_log import StepLog
    from supervisor.jobs.wakes import Wakes
    from supervisor.store.database import Database
    from supervisor.store.job_rows import ClaimedJob, EndStatus
    from supervisor.store.link import Link

T = TypeVar("T")

MOST: Final = 1000
"""Jobs in one statement."""

PROGRESS_PAUSE: Final = 1.0
"""Seconds between two writes of the progress of jobs."""


class Completer(Actor[Never]):
    """Empties the outbox and the step log, one statement after another; ends when it is to stop and all is written.

    What cannot be written is kept and tried again: whether a job is still ours is for the fence to say, not for us.
    """

    def __init__(self, database: Database, outbox: Outbox, steps: StepLog, wakes: Wakes, hooks: JobHooks) -> None:
        self._database = database
        self._outbox = outbox
        self._steps = steps
        self._wakes = wakes
        self._hooks = hooks

    async def run(self) -> None:
        """Write until stopped."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._record_steps)
            await self._empty_outbox()
            group.cancel_scope.cancel()

    # --- what became of jobs ----------------------------------------------------------------------

    async def _empty_outbox(self) -> None:
        database, outbox = self._database, self._outbox
        while (batch := outbox.take(MOST)) is not None or not self.stopping:
            if batch is None:
                await self.sleep(math.inf, wake=outbox.filled)
                continue
            try:
                async with database.connection() as link:
                    sent = self.clock.now()
                    await self._write(link, batch)
                    job_tallies.WRITE.observe(self.clock.now() - sent)
            except DatabaseUnavailable as error:
                batch.doubtful = batch.doubtful or error.unknown
                await self.sleep(database.outage.failed(error))
            except BaseException:
                batch.doubtful = True  # the next incarnation sends it again
                raise
            else:
                database.outage.recovered()
                outbox.confirm()

    async def _write(self, link: Link, batch: Batch) -> None:
        """Write the parts of a batch, and forget each as soon as it is confirmed."""
        if batch.done:
            await self._split(batch.done, _row, lambda rows: self._complete(link, rows, steps=False))
            batch.done = []
        if batch.stepped:
            await self._split(batch.stepped, _row, lambda rows: self._complete(link, rows, steps=True))
            batch.stepped = []
        over = [each for each in batch.ended if _is_over(each[1])]
        if over:
            await self._split(over, _row_of, lambda rows: self._finish(link, rows))
            batch.ended = [each for each in batch.ended if not _is_over(each[1])]
        if batch.ended:
            await self._split(batch.ended, _row_of, lambda rows: self._hand_back(link, rows, doubtful=batch.doubtful))
            batch.ended = []

    async def _split(
        self, rows: list[T], row_of: Callable[[T], ClaimedJob], write: Callable[[list[T]], Awaitable[None]]
    ) -> None:
        """Write rows together; if the database refuses them, in halves, until those that it refuses stand alone."""
        try:
            await write(rows)
        except StatementRefused as error:
            if len(rows) == 1:
                job_tallies.UNWRITTEN.add(1, (row_of(rows[0]).kind,))
                self._tell(reports.unwritten(self.path, row_of(rows[0]), error))
                return
            half = len(rows) // 2
            await self._split(rows[:half], row_of, write)
            await self._split(rows[half:], row_of, write)

    async def _complete(self, link: Link, rows: list[ClaimedJob], *, steps: bool) -> None:
        written = await jobs.complete(link, [row[0] for row in rows], [row[1] for row in rows], steps=steps)
        if len(written) != len(rows):
            await self._missing(link, [row for row in rows if row.id not in written])
            rows = [row for row in rows if row.id in written]
        job_tallies.ended(rows, Action.COMPLETE.value)

    async def _finish(self, link: Link, verdicts: list[Verdict]) -> None:
        written = await jobs.finish(link, [_ended(row, decision) for row, decision in verdicts])
        _count(verdicts, written)
        if len(written) != len(verdicts):
            await self._missing(link, [row for row, _ in verdicts if row.id not in written])

    async def _hand_back(self, link: Link, verdicts: list[Verdict], *, doubtful: bool) -> None:
        written = await jobs.hand_back(link, [_handed_back(row, decision) for row, decision in verdicts])
        _count(verdicts, written)
        for row, decision in verdicts:
            if row.id in written and not decision.delay:
                self._wakes.note(row.queue)  # it stands before the jobs that were claimed meanwhile
        # After a doubt nobody can tell: the row looks the same, whoever handed it back.
        if len(written) != len(verdicts) and not doubtful:
            await self._missing(link, [row for row, _ in verdicts if row.id not in written])

    async def _missing(self, link: Link, rows: list[ClaimedJob]) -> None:
        """Report what was fenced out, but for what an attempt wrote whose answer was lost."""
        ours = await fence.written(link, [row.id for row in rows], [row.lock_version for row in rows])
        for row in rows:
            if row.id not in ours:
                job_tallies.FENCED.add(1, (row.queue, row.kind))
                self._tell(reports.fenced(self.path, row))

    def _tell(self, event: JobEvent) -> None:
        self._life.runtime.emit(event)
        if self._hooks:
            self._hooks.tell(event)

    # --- steps --------------------------------------------------------------------------------------

    async def _record_steps(self) -> None:
        database, steps = self._database, self._steps
        written = -math.inf
        while True:
            pause = max(0.0, written + PROGRESS_PAUSE - self.clock.now()) if steps.has_progress else math.inf
            if not steps and pause:
                await self.sleep(pause, wake=steps.filled)
                continue
            try:
                async with database.connection() as link:
                    if steps:
                        await steps.flush(link)
                    if not pause:
                        written = self.clock.now()
                        await steps.write_progress(link)
            except DatabaseUnavailable as error:
                await self.sleep(database.outage.failed(error))


def _row(row: ClaimedJob) -> ClaimedJob:
    return row


def _row_of(verdict: Verdict) -> ClaimedJob:
    return verdict[0]


def _count(verdicts: list[Verdict], written: set[int]) -> None:
    for action in {decision.action for _, decision in verdicts}:
        ended = [row for row, decision in verdicts if decision.action is action and row.id in written]
        job_tallies.ended(ended, action.value)


def _is_over(decision: Decision) -> bool:
    return decision.action is Action.FAIL or decision.action is Action.DISCARD


def _ended(row: ClaimedJob, decision: Decision) -> Ended:
    status: EndStatus = "failed" if decision.action is Action.FAIL else "discarded"
    return Ended(row.id, row.lock_version, status, decision.error, decision.traceback)


def _handed_back(row: ClaimedJob, decision: Decision) -> HandedBack:
    match decision.action:
        case Action.RETRY | Action.SNOOZE | Action.INTERRUPTED | Action.BLOCK as action:
            reason = action.value
        case Action.COMPLETE | Action.FAIL | Action.DISCARD:
            raise AssertionError(f"job {row.id}: {decision.action} is not handed back")
        case _:
            assert_never(decision.action)
    return HandedBack(row.id, row.lock_version, reason, decision.delay, decision.error, decision.traceback)
