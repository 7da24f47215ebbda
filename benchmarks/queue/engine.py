"""Our own engine inside the process that measures: the standard tree on a given database, and ways to feed it."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import anyio

from actors.standard import standard_tree
from supervisor.app import App
from supervisor.config import Config, Secret
from supervisor.jobs.job import job
from supervisor.process.garbage import settle
from supervisor.tree.events import ChildStarted
from supervisor.tree.runtime import Runtime
from supervisor.tree.tree import Tree

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    import asyncpg

    from supervisor.jobs.job import Job
    from supervisor.tree.events import Event

PAYLOAD: Final = {"user_id": 12345, "action": "send_email", "template": "welcome"}
"""66 bytes of JSON, the same for everybody."""

_POLL: Final = 0.001


class Calls:
    """Counts the calls of a handler; `done` is set at the last one."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.count = 0
        self.done = anyio.Event()
        self.last = 0.0
        self._next: anyio.Event | None = None

    def hit(self) -> None:
        """Count one call."""
        self.count += 1
        if self._next is not None:
            self.last = time.perf_counter()
            self._next.set()
            self._next = None
        if self.count == self.most:
            self.last = time.perf_counter()
            self.done.set()

    def start_of_next(self) -> anyio.Event:
        """Return an event that the next call sets, after it has written its time into `last`."""
        self._next = anyio.Event()
        return self._next


def noop_job(calls: Calls) -> Job[dict[str, object]]:
    """Make a handler that does nothing but count."""

    @job("noop")
    async def noop(_args: dict[str, object]) -> None:
        calls.hit()

    return noop


class Engine:
    """The running tree, and when its claimer began: what comes before is the start of a process, not its work."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.claims_from = 0.0
        tree.runtime.subscribe(self._note)

    def _note(self, event: Event) -> None:
        if isinstance(event, ChildStarted) and event.path.endswith("/claimer"):
            self.claims_from = time.perf_counter()


@asynccontextmanager
async def engine(dsn: str, jobs: Sequence[Job[Any]], config: Config | None = None) -> AsyncIterator[Engine]:
    """Run the standard tree for the length of a `with` block."""
    settings = replace(config or Config(), database_url=Secret(dsn))
    tree = Tree(standard_tree(App(jobs=list(jobs)), settings), Runtime())
    running = Engine(tree)
    await tree.start()
    settle()  # as the process does
    try:
        yield running
    finally:
        tree.stop()
        await tree.wait()


async def committed(connection: asyncpg.Connection[asyncpg.Record]) -> float:
    """Wait until no job is left; return when that was seen."""
    while await connection.fetchval("SELECT EXISTS (SELECT FROM supervisor.jobs)"):  # noqa: ASYNC110 - other processes
        await anyio.sleep(_POLL)
    return time.perf_counter()


async def prepare(dsn: str, jobs: Sequence[Job[Any]]) -> None:
    """Migrate a database and offer the kinds of these jobs, as a worker's first start does."""
    async with engine(dsn, jobs):
        pass
