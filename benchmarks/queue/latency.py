"""How soon an idle worker starts a job: from the call of `enqueue` to the first line of the handler."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, Final

from benchmarks.queue.engine import PAYLOAD, Calls, engine, noop_job
from benchmarks.queue.server import bench
from benchmarks.results import Row, at_most
from benchmarks.sampling import Samples
from supervisor import Client
from supervisor.config import Config

if TYPE_CHECKING:
    from benchmarks.queue.server import Bench
    from benchmarks.sampling import Plan

JOBS: Final = 200
_WARM_UP: Final = 1.0
_LIMIT: Final = 10.0


def measure(plan: Plan) -> list[Row]:
    """Enqueue one job after the other, 20 to 50 ms apart, as the peers are measured."""
    most = plan.size(JOBS)
    with bench() as server:
        found = [server.run(_latencies(server, most)) for _ in range(plan.runs)]
    p50 = Samples("ours", "s", tuple(each[len(each) // 2] for each in found))
    p99 = Samples("ours", "s", tuple(each[int(len(each) * 0.99)] for each in found))
    return [
        Row("enqueue to start, idle, p50", p50, None, at_most(0.0008, "s")),
        Row("enqueue to start, idle, p99", p99, None, at_most(0.003, "s")),
    ]


async def _latencies(server: Bench, most: int) -> list[float]:
    calls = Calls(most)
    handler = noop_job(calls)
    found = []
    async with Client(server.dsn) as client, engine(server.dsn, [handler], Config()):
        await asyncio.sleep(_WARM_UP)
        for _ in range(most):
            await asyncio.sleep(0.02 + random.random() * 0.03)  # noqa: S311 - no secret
            started = calls.start_of_next()
            began = time.perf_counter()
            await client.enqueue(handler, PAYLOAD)
            async with asyncio.timeout(_LIMIT):
                await started.wait()
            found.append(calls.last - began)
    return sorted(found)
