"""Starts a process of its own for suspects: jobs that ran when a process died, one of which may have killed it.

A job that kills its process kills that one, and never a job without a suspicion. In it, jobs run together until the
last loss that they may have; then each runs alone, so nobody is convicted for what another has done.
"""

from __future__ import annotations

import logging
import signal
from typing import TYPE_CHECKING, Final, Never

import anyio

from actors.going_down import going_down
from actors.reaper import recover_dead
from supervisor.errors import DatabaseUnavailable
from supervisor.jobs.events import JobsRecovered, QuarantineEnded, QuarantineStarted
from supervisor.process.exit_code import ExitCode
from supervisor.process.lane import Process
from supervisor.store import jobs
from supervisor.tree.actor import Actor
from supervisor.tree.backoff import Backoff
from supervisor.tree.signal import Signal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from supervisor.process.lifelock import LifeLock
    from supervisor.store.database import Database

PERIOD: Final = 5.0
"""Seconds between two looks for suspects, ±20 %; `suspects` is set when this process has made some."""
JITTER: Final = 0.2
RESTART: Final = Backoff(first=0.1, factor=2.0, cap=30.0)
"""Each crash of the lane convicts a job, so it is worth a new one at once; a lane that cannot start is not."""
LAST: Final = 0.8
"""Seconds that a lane has at the very last; then it is killed."""
KILLED: Final = 0.5
"""Seconds until the end of a process that was killed is known."""

_log = logging.getLogger(__name__)


class Quarantine(Actor[Never]):
    """Runs at most one lane, as long as there are suspects that this process's app can run.

    The lane stops as soon as the whole tree begins to; it is given until this actor's own stop, and then killed.
    """

    def __init__(  # noqa: PLR0913 - what to look for, and what to start
        self,
        database: Database,
        suspects: Signal,
        *,
        queues: Sequence[str],
        kinds: Sequence[str],
        max_losses: int,
        lifelock: LifeLock,
        environ: Mapping[str, str],
    ) -> None:
        self._database = database
        self._suspects = suspects
        self._queues = queues
        self._kinds = kinds
        self._max_losses = max_losses
        self._lifelock = lifelock
        self._environ = environ
        self._process: Process | None = None
        self._ended = Signal()
        self._down = False
        self._failures = 0

    async def setup(self) -> None:
        """Hear of the end of the tree."""
        await self.enter(going_down(self._life.runtime, self.path, self._go_down))

    async def run(self) -> None:
        """Look for suspects; start a lane for them, and see it end."""
        async for _ in self.every(PERIOD, jitter=JITTER, wake=self._suspects):
            try:
                while not self._down and await self._any() and await self._run_lane() != 0:
                    await self._bury()
            except DatabaseUnavailable as error:
                await self.sleep(self._database.outage.failed(error))
            else:
                self._database.outage.recovered()

    async def teardown(self) -> None:
        """See to it that no lane is left."""
        if self._process is not None:
            self._process.terminate()
            await self._see_it_end(self._process, LAST)
            self._process.kill()
            await self._see_it_end(self._process, KILLED)
            self._let_go(self._process)

    def _go_down(self) -> None:
        self._down = True
        if self._process is not None:
            self._process.terminate()

    async def _any(self) -> bool:
        async with self._database.connection() as link:
            return any(await jobs.suspects(link, self._queues, self._kinds, self._max_losses - 1))

    async def _run_lane(self) -> int:
        """Start a lane and wait for its end; return its exit code."""
        self._ended.clear()
        try:
            self._process = process = await Process.start(self._environ, self._ended.set)
        except OSError as error:
            _log.error("no process can be started for suspect jobs: %s", error)
            return await self._fail(ExitCode.NO_START)
        self._life.runtime.emit(QuarantineStarted(self.path, process.pid))
        while process.code is None:
            if self._down or self.stopping:
                process.terminate()
            await self.sleep(PERIOD, self._ended)
        code = process.code
        self._let_go(process)
        if code == 0:
            self._failures = 0
            return code
        return await self._fail(code)

    async def _see_it_end(self, process: Process, within: float) -> None:
        with anyio.move_on_after(within):
            while process.code is None:
                await self._ended.wait()

    async def _fail(self, code: int) -> int:
        self._failures += 1
        await self.sleep(RESTART.jittered(self._failures, self._life.runtime.random))
        return code

    async def _bury(self) -> None:
        """Recover what a lane held that has died, so that the next one goes on with it."""
        try:
            async with self._database.connection() as link:
                recovered = await recover_dead(link, self._lifelock, self._max_losses)
        except OSError as error:
            _log.warning("the jobs of a lane that has died wait for the end of its lease: %s", error)
            return
        for each in recovered:
            self._life.runtime.emit(JobsRecovered(self.path, *each))

    def _let_go(self, process: Process) -> None:
        code = process.code
        process.close()
        self._process = None
        self._life.runtime.emit(QuarantineEnded(self.path, process.pid, -signal.SIGKILL if code is None else code))
