"""Records the steps of all running jobs in groups: one statement, and one commit, for everything that waits.

An actor drives it. A step is on record when its `record` returns.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from supervisor.errors import DatabaseUnavailable, StatementRefused
from supervisor.store import steps
from supervisor.tree.signal import Signal

if TYPE_CHECKING:
    from supervisor.store.link import Link
    from supervisor.store.steps import NewStep, Progress

MOST: Final = 1000
"""Steps in one statement."""


class _Waiting:
    """A step on its way, and whoever waits for it: true when it is on record, false when it was fenced out."""

    __slots__ = ("answer", "doubtful", "step")

    def __init__(self, step: NewStep, answer: asyncio.Future[bool]) -> None:
        self.step = step
        self.answer = answer
        self.doubtful = False

    def tell(self, *, recorded: bool) -> None:
        if not self.answer.done():
            self.answer.set_result(recorded)

    def fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


class StepLog:
    """filled: set when a step waits to be recorded, or progress to be written."""

    __slots__ = ("_progress", "_waiting", "filled")

    def __init__(self) -> None:
        self.filled = Signal()
        self._waiting: list[_Waiting] = []
        self._progress: dict[int, Progress] = {}

    def __len__(self) -> int:
        """How many steps wait to be recorded."""
        return len(self._waiting)

    async def record(self, step: NewStep) -> bool:
        """Return when the step is on record; false: it was fenced out. Raises StatementRefused."""
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        if not self._waiting:
            self.filled.set()
        self._waiting.append(_Waiting(step, answer))
        return await answer

    def report(self, progress: Progress) -> None:
        """Remember how far a job is, until the next `write_progress`."""
        if not self._progress:
            self.filled.set()
        self._progress[progress.job] = progress

    @property
    def has_progress(self) -> bool:
        """Whether there is progress to write."""
        return bool(self._progress)

    async def flush(self, link: Link) -> None:
        """Record what waits, at most MOST steps. What could not be written stays, and DatabaseUnavailable is raised."""
        group = [each for each in self._waiting[:MOST] if not each.answer.done()]  # nobody waits for a cancelled one
        del self._waiting[:MOST]
        try:
            if any(each.doubtful for each in group):
                group = await _without_recorded(link, group)
            await _write(link, group)
        except DatabaseUnavailable as error:
            for each in group:
                each.doubtful = each.doubtful or error.unknown
            self._waiting[:0] = group
            raise
        except asyncio.CancelledError:
            for each in group:
                each.doubtful = True
            self._waiting[:0] = group
            raise

    async def write_progress(self, link: Link) -> None:
        """Write the latest progress of each job. What could not be written is forgotten: there will be newer."""
        latest, self._progress = self._progress, {}
        await steps.report_progress(link, latest.values())


async def _write(link: Link, group: list[_Waiting]) -> None:
    try:
        recorded = await steps.record(link, [each.step for each in group])
    except StatementRefused as error:
        if len(group) == 1:
            group[0].fail(error)
            return
        for each in group:  # one bad step must not cost the others theirs
            await _write(link, [each])
        return
    for each in group:
        each.tell(recorded=(each.step.job, each.step.name) in recorded)


async def _without_recorded(link: Link, group: list[_Waiting]) -> list[_Waiting]:
    """Settle what an earlier attempt has recorded although its answer was lost; return the rest."""
    rest = []
    known: dict[int, set[tuple[str, int, bool]]] = {}
    for each in group:
        step = each.step
        if each.doubtful and step.job not in known:
            known[step.job] = {(row.name, row.lock_version, row.done) for row in await steps.of(link, step.job)}
        if each.doubtful and (step.name, step.lock_version, step.done) in known[step.job]:
            each.tell(recorded=True)
        else:
            rest.append(each)
    return rest
