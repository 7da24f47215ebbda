"""The bare loop: claim, call, finish, with one task for each job. What the runtime costs is on top of it."""

from __future__ import annotations

import asyncio
import resource
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import asyncpg
import orjson

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

CLAIM: Final = "SELECT * FROM supervisor.claim($1, 'default', ARRAY['noop'], $2, $3, $4, $5)"
COMPLETE: Final = "SELECT * FROM supervisor.complete($1, $2)"
_GROUP: Final = 1000
_REGISTER: Final = "SELECT id FROM supervisor.register_worker('bare', 'host', 1, 'worker', '0', 3600, '{}')"


@dataclass(frozen=True, slots=True)
class Drained:
    """How long a drain took, and the CPU that this process used for it, both in seconds."""

    seconds: float
    cpu: float


class BareLoop:
    """One claiming and one finishing connection; `most` jobs, `concurrency` at once."""

    def __init__(self, most: int, concurrency: int, handler: Callable[[object], Awaitable[None]]) -> None:
        self._most = most
        self._free = concurrency
        self._batch = min(500, concurrency)
        self._handler = handler
        self._ended: list[asyncpg.Record] = []
        self._filled = asyncio.Event()
        self._room = asyncio.Event()

    async def drain(self, dsn: str) -> Drained:
        """Register a worker and run all jobs."""
        claims, ends = await asyncpg.connect(dsn), await asyncpg.connect(dsn)
        await claims.execute("DELETE FROM supervisor.workers WHERE name = 'bare'")
        worker = await claims.fetchval(_REGISTER)
        claim, complete = await claims.prepare(CLAIM), await ends.prepare(COMPLETE)
        before, began = _cpu(), time.perf_counter()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._claim(claim, worker))
            group.create_task(self._complete(complete))
        found = Drained(time.perf_counter() - began, _cpu() - before)
        await claims.close()
        await ends.close()
        return found

    async def _claim(self, claim: asyncpg.prepared_stmt.PreparedStatement[asyncpg.Record], worker: int) -> None:
        claimed, tasks = 0, set[asyncio.Task[None]]()
        cursor: tuple[object, object, object] = (None, None, None)
        while claimed < self._most:
            if self._free < self._batch and self._free < self._most - claimed:
                self._room.clear()
                await self._room.wait()
                continue
            rows = await claim.fetch(worker, min(self._batch, self._free), *cursor)
            if not rows:
                cursor = (None, None, None)
                continue
            last = max(rows, key=lambda row: (row["priority"], row["run_at"], row["id"]))
            cursor = (last["priority"], last["run_at"], last["id"])
            claimed += len(rows)
            self._free -= len(rows)
            for row in rows:
                task = asyncio.create_task(self._run(row))
                tasks.add(task)
                task.add_done_callback(tasks.discard)

    async def _run(self, row: asyncpg.Record) -> None:
        await self._handler(orjson.loads(row[3]))
        self._ended.append(row)
        self._free += 1
        self._filled.set()
        if self._free >= self._batch:
            self._room.set()

    async def _complete(self, complete: asyncpg.prepared_stmt.PreparedStatement[asyncpg.Record]) -> None:
        done = 0
        while done < self._most:
            if not self._ended:
                self._filled.clear()
                await self._filled.wait()
            group = self._ended[:_GROUP]
            del self._ended[:_GROUP]
            done += len(await complete.fetch([row[0] for row in group], [row[1] for row in group]))


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
