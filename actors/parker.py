"""Moves jobs that a switch or a gate stops out of the way of the claims, and brings them back when it opens."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Never

from supervisor.errors import DatabaseUnavailable
from supervisor.jobs.events import JobsParked
from supervisor.store import parking
from supervisor.tree.actor import Actor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from supervisor.jobs.switches import Switches
    from supervisor.jobs.wakes import Wakes
    from supervisor.store.database import Database
    from supervisor.tree.signal import Signal

PERIOD: Final = 1.0
"""Seconds between two looks whether there is something to do, ±10 %; also when a switch has changed."""
QUIET: Final = 10.0
"""As many periods between two looks while nothing is off and nobody stands behind a gate: a change wakes it."""
JITTER: Final = 0.1
DUTY: Final = 0.3
"""The part of the time in which jobs are moved: the others' are claimed and written meanwhile."""
SHARE: Final = 0.02
"""The part of the time for looks through the whole table that find little to move."""
SOONEST: Final = 1.0
"""Seconds between two of them at least."""
LONGEST: Final = 30.0
"""Seconds between two of them at most."""
LITTLE: Final = 100
"""Jobs moved by one statement; with more, its time was not that of a mere look."""
BLOCKS: Final = 256
"""Blocks of the table in one statement: some 5,000 jobs, which takes some 40 ms to move."""
BATCH: Final = 2000
"""Jobs that come back in one statement."""
TURN: Final = 10.0
"""Seconds for which one host does it without a word; then another takes over."""


class Parker(Actor[Never]):
    """Looks through the jobs after each change of the switches, and seldom while something is off or behind a gate.

    changed: set when the switches change; then the claimer is told to look into these queues. holder: the name of this
    process; of all hosts one does it at a time.
    """

    def __init__(  # noqa: PLR0913 - keywords
        self,
        database: Database,
        switches: Switches,
        changed: Signal,
        wakes: Wakes,
        *,
        holder: str,
        queues: Sequence[str],
    ) -> None:
        self._database = database
        self._switches = switches
        self._changed = changed
        self._epoch = switches.now.epoch
        self._wakes = wakes
        self._holder = holder
        self._queues = queues

    async def run(self) -> None:
        """Look, again and again."""
        while not self.stopping:
            if self._epoch != self._switches.now.epoch:
                self._epoch = self._switches.now.epoch
                for queue in self._queues:
                    self._wakes.note(queue)
            pause = PERIOD * (1 + JITTER * (2 * self._life.runtime.random.random() - 1))
            try:
                had_work = await self._look()
            except DatabaseUnavailable as error:
                pause = self._database.outage.failed(error)
            else:
                self._database.outage.recovered()
                now = self._switches.now
                if not (had_work or now.any_off or now.has_gates):
                    pause *= QUIET
            await self.sleep(pause, wake=self._changed)

    async def _look(self) -> bool:
        """Do what there is to do, if it is our turn; say whether there was anything, for whomever."""
        async with self._database.connection() as link:
            state = await parking.state(link)
            todo = state.pass_due or state.paused
            if not todo or not await parking.take_turn(link, self._holder, TURN):
                return todo
        returned = await self._unpark(gates=state.pass_due)
        parked, looking = await self._park() if state.pass_due else (0, 0.0)
        if parked or returned:
            self._life.runtime.emit(JobsParked(self.path, parked, returned))
        if state.pass_due and not self.stopping:
            again = min(max(looking / SHARE, SOONEST), LONGEST)
            async with self._database.connection() as link:
                await parking.end_turn(link, self._holder, state.epoch, again)
        return True

    async def _unpark(self, *, gates: bool) -> int:
        """Bring back what may come back; return how many jobs were moved."""
        moved, more = 0, True
        while more and not self.stopping:
            began = time.monotonic()
            async with self._database.connection() as link:
                found = await parking.unpark(link, BATCH, gates=gates)
                if not await parking.take_turn(link, self._holder, TURN):
                    break
            moved, more = moved + found.moved, found.left_over
            if more:
                await self._pause(time.monotonic() - began)
        return moved

    async def _park(self) -> tuple[int, float]:
        """Look through the whole table; return how many jobs were moved, and the seconds that merely looking took."""
        moved, looking, block = 0, 0.0, 0
        while not self.stopping:
            began = time.monotonic()
            async with self._database.connection() as link:
                found = await parking.park(link, block, BLOCKS)
                if not await parking.take_turn(link, self._holder, TURN):
                    break
            took = time.monotonic() - began
            moved += found.moved
            looking += took if found.moved < LITTLE else 0.0
            if found.next_block is None:
                break
            block = found.next_block
            await self._pause(took)
        return moved, looking

    async def _pause(self, took: float) -> None:
        """Leave the database to others, after statements that took so long."""
        await self.sleep(took / DUTY - took)
