"""Notices jobs that run for much longer than their kind usually does, while they still run."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, Never

from supervisor.errors import DatabaseUnavailable
from supervisor.jobs.events import JobSlow
from supervisor.store import figures
from supervisor.telemetry.job_tallies import RUNNING_SLOW
from supervisor.tree.actor import Actor

if TYPE_CHECKING:
    from supervisor.jobs.handler_tasks import HandlerTasks
    from supervisor.jobs.run_context import Run
    from supervisor.store.database import Database
    from supervisor.store.figures import KindFigures

PERIOD: Final = 1.0
"""Seconds between two looks at what runs here."""
REFRESH: Final = 60.0
"""Seconds between two looks at what is usual."""
TIMES: Final = 2.0
"""A run is slow from so many times the 95th percentile of its kind on."""
LEAST: Final = 1.0
"""Seconds; nothing is slow before."""
FEWEST: Final = 20
"""Runs; from fewer nobody can tell what is usual."""


class SlowWatch(Actor[Never]):
    """Says once of each run that it is slow, in the log, in the metrics, and in the database for whoever lists them."""

    def __init__(self, database: Database, handlers: HandlerTasks) -> None:
        self._database = database
        self._handlers = handlers
        self._expected: dict[str, float] = {}
        self._refresh_at = 0.0
        self._told: set[tuple[int, int]] = set()
        self._unwritten: dict[tuple[int, int], float] = {}

    async def run(self) -> None:
        """Look, again and again."""
        async for _ in self.every(PERIOD, jitter=0.1):
            self._look()
            try:
                if self._unwritten or self.clock.now() >= self._refresh_at:
                    await self._write()
            except DatabaseUnavailable as error:
                await self.sleep(self._database.outage.failed(error))

    def _look(self) -> None:
        """Find what is slow now, and tell of what is news."""
        now = self.clock.now()
        slow: dict[tuple[int, int], Run] = {}
        for run in self._handlers.runs if self._expected else ():
            expected = self._expected.get(run.row.kind)
            if expected is not None and now - run.sent > expected and not run.is_settled:
                slow[run.id, run.row.lock_version] = run
        for key in slow.keys() - self._told:
            self._tell(slow[key], now)
        self._told = set(slow)
        RUNNING_SLOW.set_all(Counter((run.row.kind,) for run in slow.values()))

    def _tell(self, run: Run, now: float) -> None:
        row, expected = run.row, self._expected[run.row.kind]
        self._unwritten[row.id, row.lock_version] = expected
        self._life.runtime.emit(
            JobSlow(self.path, row.id, row.kind, row.queue, row.attempts + 1, row.tenant, now - run.sent, expected)
        )

    async def _write(self) -> None:
        async with self._database.connection() as link:
            found = list(self._unwritten.items())
            await figures.note_slow(link, [(id_, version, expected) for (id_, version), expected in found])
            for key, _ in found:
                del self._unwritten[key]
            if self.clock.now() >= self._refresh_at:
                self._expected = expected_of(await figures.kinds(link))
                self._refresh_at = self.clock.now() + REFRESH
        self._database.outage.recovered()


def expected_of(kinds: list[KindFigures]) -> dict[str, float]:
    """Return for each kind how many seconds a run may take before it is slow."""
    return {each.kind: max(TIMES * each.p95, LEAST) for each in kinds if each.p95 is not None and each.runs >= FEWEST}
