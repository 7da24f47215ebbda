"""Lets each singleton of this process run while the process has its name, of all that would."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Never

import anyio

from actors.going_down import going_down
from actors.terms import Terms
from supervisor.errors import DatabaseUnavailable, LeaseLost
from supervisor.jobs.events import WorkerLost
from supervisor.jobs.fleet_events import SingletonEnded, SingletonStandsBy
from supervisor.store import fleet
from supervisor.tree.actor import Actor
from supervisor.tree.singletons import Singletons

if TYPE_CHECKING:
    from supervisor.jobs.lease import Lease
    from supervisor.store.database import Database
    from supervisor.store.fleet import Taken
    from supervisor.tree.events import Event

LAST: Final = 0.5
"""Seconds for giving names back at the end; after that they are free when the lease is over."""
PROCESS: Final = "process:"
"""Begins the name, within this process, of what runs only while the whole process is the singleton of its fleet."""


class SingletonKeeper(Actor[Never]):
    """Takes the names of the children that have a `singleton`, and gives them back.

    A name belongs to this process's worker: it needs no renewal beside the worker's lease, and no singleton outlives
    what the process can prove of that. When the process begins to stop, singletons stop first, so that another host
    goes on at once. `poll`: seconds between two attempts for a name that another worker has. With `takes` false none is
    ever taken: such a process only helps another one.
    """

    def __init__(
        self, database: Database, lease: Lease, *, lease_length: float, poll: float, takes: bool = True
    ) -> None:
        self._database = database
        self._lease = lease
        self._lease_length = lease_length
        self._poll = poll
        self._takes = takes
        self._workers: dict[str, int] = {}
        self._seen: dict[str, int] = {}

    async def setup(self) -> None:
        """Be there before the first singleton."""
        runtime = self._life.runtime
        if runtime.singletons is None or runtime.singletons.is_alone:
            runtime.singletons = Singletons()
        self._singletons = runtime.singletons
        self._terms = Terms(self._singletons, self._lease, self._lease_length, runtime=runtime, path=self.path)
        runtime.subscribe(self._hear)
        await self.enter(going_down(runtime, self.path, self._go_down))

    async def run(self) -> None:
        """Take what is free, and give back what has ended."""
        while not self.stopping:
            try:
                await self._turn()
            except DatabaseUnavailable as error:
                await self.sleep(self._database.outage.failed(error), self._singletons.changed)
            except LeaseLost:
                await self.sleep(self._poll)
            else:
                await self.sleep(self._pause(), self._singletons.changed)

    async def teardown(self) -> None:
        """Stop what still runs, and give its names back."""
        self._takes = False
        try:
            with anyio.move_on_after(LAST):
                for name in self._terms.names:
                    self._terms.end(name)
                while self._terms.names:
                    await self._release()
                    if self._terms.names:
                        await self._singletons.changed.wait()
        except DatabaseUnavailable as error:
            self._database.outage.failed(error)
        finally:
            self._terms.close()
            self._life.runtime.unsubscribe(self._hear)

    def _hear(self, event: Event) -> None:
        if isinstance(event, WorkerLost):
            self._terms.look()

    def _go_down(self) -> None:
        self._takes = False
        for name in self._terms.names:
            if not name.startswith(PROCESS):
                self._terms.end(name)
        self._singletons.changed.set()

    def _pause(self) -> float:
        if not self._singletons.wanted and not self._terms.names:
            return math.inf
        return self._poll * (0.8 + 0.4 * self._life.runtime.random.random())

    async def _turn(self) -> None:
        wanted = self._singletons.wanted
        for name in self._terms.names:
            if name not in wanted:
                self._terms.end(name)
        await self._release()
        worker = self._lease.worker
        if not self._takes or not worker or not self._lease.is_held:
            return
        missing = [name for name in sorted(wanted) if name not in self._terms and self._singletons.is_quiet(name)]
        for name in missing:
            if name.startswith(PROCESS):
                self._terms.begin(name, worker, worker)
        if others := [name for name in missing if not name.startswith(PROCESS)]:
            await self._take(worker, others)

    async def _take(self, worker: int, names: list[str]) -> None:
        async with self._database.connection() as link:
            answers = await fleet.take_singletons(link, worker, names)
        self._database.outage.recovered()
        for answer in answers:
            if answer.fence is not None:
                self._workers[answer.name] = worker
                self._terms.begin(answer.name, worker, answer.fence)
            self._tell_holder(answer)
        if not self._takes:  # the stop began meanwhile
            self._go_down()

    def _tell_holder(self, answer: Taken) -> None:
        if answer.taken:
            self._seen.pop(answer.name, None)
        elif answer.holder is not None and self._seen.get(answer.name) != answer.holder:
            self._seen[answer.name] = answer.holder
            self._life.runtime.emit(SingletonStandsBy(self.path, answer.name, answer.holder))

    async def _release(self) -> None:
        """Give back the names of what has ended and shall not run here again."""
        for term in self._terms.settle():
            self._life.runtime.emit(SingletonEnded(self.path, term.name, term.fence))
        wanted = self._singletons.wanted if self._takes else set()
        unused = [name for name in self._workers if name not in self._terms and name not in wanted]
        mine = [name for name in unused if self._workers[name] == self._lease.worker]
        if mine:
            async with self._database.connection() as link:
                await fleet.release_singletons(link, self._lease.worker, mine)
        for name in unused:  # what a worker had that is lost is free already
            del self._workers[name]
