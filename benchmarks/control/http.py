"""How fast the HTTP server answers over a large queue and a long history, and with many connections."""

from __future__ import annotations

import asyncio
import math
import socket
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import aiohttp

from benchmarks.processes import cpu_time
from benchmarks.queue.adverse import LATER, PAST
from benchmarks.queue.recovery import worker
from benchmarks.queue.server import bench
from benchmarks.results import Row, at_least, at_most
from benchmarks.sampling import Samples

if TYPE_CHECKING:
    from benchmarks.sampling import Plan

WAITING: Final = 1_000_000
HISTORY: Final = 5_000_000
IDLE: Final = 1000
REQUESTS: Final = 200
CLIENTS: Final = 16
_STATUS: Final = "/api/system/status"
_ASKED: Final = 5.0
_LIMIT: Final = 10.0
_BACKLOG: Final = """
    INSERT INTO supervisor.jobs (kind, queue, service, args, tenant)
    SELECT 'bulk', 'bulk', 'default', '{}', 'tenant-' || number % 100 FROM generate_series(1, $1::integer) AS number
"""


def measure(plan: Plan) -> list[Row]:
    """Ask a worker whose queue is full, each path in turn."""
    with bench() as server, TemporaryDirectory() as folder:
        plan.say("making jobs and history")
        server.run(server.value(_BACKLOG, plan.size(WAITING // 2)))
        server.run(server.value(LATER, plan.size(WAITING // 2)))
        server.run(server.value(PAST, plan.size(HISTORY)))
        server.run(server.value("VACUUM ANALYZE"))
        port = _free_port()
        options = ("--http-port", str(port), "--http-rate", "0")
        with worker(server, Path(folder, "one"), options) as process:
            _wait_for(port)
            plan.say("asking each path")
            late = server.run(_each(port, plan.size(REQUESTS)))
            plan.say("many connections")
            rates, held = [], []
            for _ in range(max(1, plan.runs // 2)):
                idle = server.run(_connected(port, plan.size(IDLE)))
                used = cpu_time(process.pid)
                count, median = server.run(_flood(port, plan.seconds(_ASKED)))
                rates.append(count / (cpu_time(process.pid) - used))
                held.append(median)
                for one in idle:
                    one.close()
    slowest = max(late, key=lambda path: late[path])
    return [
        Row(f"slowest path of {len(late)}, p99: {slowest}", Samples("ours", "s", (late[slowest],)), None, _SOON),
        Row("status, for each second of CPU", Samples("ours", "/s", tuple(rates)), None, at_least(3000, "/s")),
        Row("status beside 1,000 idle connections, p50", Samples("ours", "s", tuple(held)), None, _SOON),
    ]


_SOON: Final = at_most(0.05, "s")


async def _each(port: int, count: int) -> dict[str, float]:
    """Return the 99th percentile of the seconds for each path that needs no argument."""
    found = {}
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        async with session.get("/openapi.json") as answer:
            paths = (await answer.json())["paths"]
        for path in sorted(paths):
            if "get" not in paths[path] or "{" in path or path == "/events":
                continue
            times = []
            for _ in range(count):
                began = time.perf_counter()
                async with session.get(path) as answer:
                    await answer.read()
                    # Health is 503 over a queue that nobody works off, which is what this one is.
                    assert answer.status in {200, 503}, f"{path}: {answer.status}"
                times.append(time.perf_counter() - began)
            found[path] = sorted(times)[math.ceil(0.99 * len(times)) - 1]
    return found


async def _connected(port: int, count: int) -> list[socket.socket]:
    found = []
    for _ in range(count):
        one = socket.create_connection(("127.0.0.1", port), timeout=10)
        found.append(one)
    return found


async def _flood(port: int, seconds: float) -> tuple[int, float]:
    """Ask for the status from several clients at once; return how often, and the median answer."""
    times: list[float] = []
    began = time.perf_counter()

    async def ask(session: aiohttp.ClientSession) -> None:
        while (sent := time.perf_counter()) < began + seconds:
            async with session.get(_STATUS) as answer:
                await answer.read()
                assert answer.status == 200, answer.status  # noqa: PLR2004 - fine
            times.append(time.perf_counter() - sent)

    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session, asyncio.TaskGroup() as clients:
        for _ in range(CLIENTS):
            clients.create_task(ask(session))
    return len(times), sorted(times)[len(times) // 2]


def _wait_for(port: int) -> None:
    """Wait until somebody listens: a worker runs jobs a moment before it answers HTTP."""
    give_up = time.monotonic() + _LIMIT
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=_LIMIT).close()
        except ConnectionRefusedError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.01)
        else:
            return


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
