"""Records the steps of all running jobs in groups: one statement, and one commit, for everything that waits.

An actor drives it. A step is on record when its `record` returns.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeAlias

from supervisor.errors import DatabaseUnavailable, StatementRefused
from supervisor.store import steps
from supervisor.tree.signal import Signal

if TYPE_CHECKING:
    from supervisor.store.link import Link
    from supervisor.store.steps import NewStep, Progress

    _Waiting: TypeAlias = "tuple[NewStep, asyncio.Future[bool]]"

MOST: Final = 1000
"""Steps in one statement."""


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

    def record(self, step: NewStep) -> asyncio.Future[bool]:
        """Return what is done when the step is on record; false: it was fenced out. May raise StatementRefused."""
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        if not self._waiting:
            self.filled.set()
        self._waiting.append((step, answer))
        return answer

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
        """Record what waits, at most MOST steps.

        What could not be written stays, and DatabaseUnavailable is raised. It is sent again as it is: a record that
        was made although its answer was lost is accepted a second time.
        """
        group = [each for each in self._waiting[:MOST] if not each[1].done()]  # nobody waits for a cancelled one
        del self._waiting[:MOST]
        try:
            await _write(link, group)
        except (DatabaseUnavailable, asyncio.CancelledError):
            self._waiting[:0] = group
            raise

    async def write_progress(self, link: Link) -> None:
        """Write the latest progress of each job. What could not be written is forgotten: there will be newer."""
        latest, self._progress = self._progress, {}
        await steps.report_progress(link, latest.values())


async def _write(link: Link, group: list[_Waiting]) -> None:
    try:
        recorded = await steps.record(link, [step for step, _ in group])
    except StatementRefused as error:
        if len(group) > 1:
            for each in group:  # one bad step must not cost the others theirs
                await _write(link, [each])
        elif not group[0][1].done():
            group[0][1].set_exception(error)
        return
    for step, answer in group:
        if not answer.done():
            answer.set_result((step.job, step.name) in recorded)
