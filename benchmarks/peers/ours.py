"""Our own queue as a contestant: the same work as the others, through the public client and the standard tree."""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import sys
import time
from typing import TYPE_CHECKING, Final

import asyncpg
import uvloop

from benchmarks.queue.engine import PAYLOAD, Calls, committed, engine, noop_job, prepare
from supervisor import Client
from supervisor.config import Config

if TYPE_CHECKING:
    from collections.abc import Mapping

    from supervisor.jobs.job import Job

_WARM_UP: Final = 2.0
_LIMIT: Final = 30.0


async def main(action: str, order: Mapping[str, int]) -> dict[str, float]:
    """Do what the command line says; return what was measured."""
    dsn = os.environ["BENCHMARK_DSN"]
    calls = Calls(order.get("most", 0))
    handler = noop_job(calls)
    match action:
        case "setup":
            await prepare(dsn, [handler])
            return {}
        case "enqueue":
            return await _enqueue(dsn, handler, order["most"], order["batch"])
        case "drain":
            return await _drain(dsn, handler, calls, order["concurrency"])
        case _:
            return await _latency(dsn, handler, calls, order["concurrency"])


async def _enqueue(dsn: str, handler: Job[dict[str, object]], most: int, batch: int) -> dict[str, float]:
    async with Client(dsn) as client:
        began = time.perf_counter()
        for at in range(0, most, batch):
            await client.enqueue_many(handler, [PAYLOAD] * min(batch, most - at))
        return {"rate": most / (time.perf_counter() - began), "cpu": _cpu()}


async def _drain(dsn: str, handler: Job[dict[str, object]], calls: Calls, concurrency: int) -> dict[str, float]:
    connection = await asyncpg.connect(dsn)
    before = _cpu()
    async with engine(dsn, [handler], Config(concurrency=concurrency)) as running:
        await calls.done.wait()
        ended = await committed(connection)
        used, began = _cpu() - before, running.claims_from
    await connection.close()
    return {"rate": calls.most / (calls.last - began), "committed": calls.most / (ended - began), "cpu": used}


async def _latency(dsn: str, handler: Job[dict[str, object]], calls: Calls, concurrency: int) -> dict[str, float]:
    found = []
    async with (
        Client(dsn) as client,
        engine(dsn, [handler], Config(concurrency=concurrency)),
    ):
        await asyncio.sleep(_WARM_UP)
        for _ in range(calls.most):
            await asyncio.sleep(0.02 + random.random() * 0.03)  # noqa: S311 - no secret
            started = calls.start_of_next()
            began = time.perf_counter()
            await client.enqueue(handler, PAYLOAD)
            async with asyncio.timeout(_LIMIT):
                await started.wait()
            found.append((calls.last - began) * 1000)
    found.sort()
    return {"p50": found[len(found) // 2], "p99": found[int(len(found) * 0.99)]}


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.stdout.write(json.dumps(uvloop.run(main(sys.argv[1], json.loads(sys.argv[2]) if sys.argv[2:] else {}))) + "\n")
