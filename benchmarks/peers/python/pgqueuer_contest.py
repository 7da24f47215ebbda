"""PgQueuer: `fetch` is the size of its batches, `workers` how many fetch side by side."""

from __future__ import annotations

import asyncio
import json
import time

import asyncpg
import uvloop
from contest import ACTION, DSN, ORDER, PAYLOAD, Calls, drain, enqueue, latency  # type: ignore[import-not-found]
from pgqueuer import PgQueuer, types  # type: ignore[import-not-found]
from pgqueuer.db import AsyncpgDriver  # type: ignore[import-not-found]
from pgqueuer.queries import Queries  # type: ignore[import-not-found]


async def main() -> None:
    """Do what the command line says."""
    queries = Queries(AsyncpgDriver(await asyncpg.connect(DSN)))
    payload = json.dumps(PAYLOAD).encode()
    if ACTION == "setup":
        await queries.install()
        return
    if ACTION == "enqueue":
        await enqueue(lambda count: queries.enqueue(["noop"] * count, [payload] * count, [0] * count))
        return
    calls = Calls()
    workers = [await _worker(calls) for _ in range(ORDER["workers"])]
    mode = types.QueueExecutionMode.drain if ACTION == "drain" else types.QueueExecutionMode.continuous
    began = time.perf_counter()
    tasks = [asyncio.create_task(worker.run(batch_size=ORDER["fetch"], mode=mode)) for worker in workers]
    if ACTION == "drain":
        await drain(calls, began, lambda: asyncio.wait(tasks, timeout=60))
        return
    await latency(calls, lambda: queries.enqueue("noop", payload, 0))
    for worker in workers:
        worker.shutdown.set()
    await asyncio.wait(tasks, timeout=20)


async def _worker(calls: Calls) -> PgQueuer:
    worker = PgQueuer(AsyncpgDriver(await asyncpg.connect(DSN)))

    @worker.entrypoint("noop")  # type: ignore[untyped-decorator]
    async def noop(_job: object) -> None:
        calls.hit()

    return worker


uvloop.run(main())
