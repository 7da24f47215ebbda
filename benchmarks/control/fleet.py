"""What a thousand idle workers cost PostgreSQL: their heartbeats, and each looking after the others."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, Final

from actors.reaper import FEW, PERIOD
from benchmarks.processes import family_cpu, parent
from benchmarks.queue.server import bench
from benchmarks.results import Row, at_most
from benchmarks.sampling import Samples
from supervisor.store import workers
from supervisor.store.link import connect
from supervisor.store.workers import Identity

if TYPE_CHECKING:
    from benchmarks.queue.server import Bench
    from benchmarks.sampling import Plan
    from supervisor.store.link import Link

WORKERS: Final = 1000
LINKS: Final = 100
"""The server takes no thousand connections as it comes, so each stands for ten workers."""
LEASE: Final = 30.0
HEARTBEAT: Final = 10.0
_WATCHED: Final = 20.0


def measure(plan: Plan) -> list[Row]:
    """Let them beat and look at the default pace, and read the CPU time of the server."""
    share = []
    with bench() as server:
        for number in range(max(1, plan.runs // 2)):
            plan.say(f"run {number + 1}")
            share.append(server.run(_watch(server, plan.size(WORKERS), plan.seconds(_WATCHED, least=2.0))))
    ours = Samples("ours", "%", tuple(share))
    return [Row("a thousand idle workers: share of a core in PostgreSQL", ours, None, at_most(5, "%"))]


async def _watch(server: Bench, count: int, seconds: float) -> float:
    links = [await connect(server.dsn) for _ in range(min(LINKS, count))]
    postmaster = parent(links[0].raw.get_server_pid())
    ids = [(await workers.register(links[0], _identity(place), LEASE)).id for place in range(count)]
    locks = [asyncio.Lock() for _ in links]
    try:
        async with asyncio.timeout(seconds + 30), asyncio.TaskGroup() as fleet:
            tasks = [
                fleet.create_task(_live(links[place % len(links)], locks[place % len(links)], worker, count))
                for place, worker in enumerate(ids)
            ]
            await asyncio.sleep(HEARTBEAT / 5)
            began, used = time.monotonic(), family_cpu(postmaster)
            await asyncio.sleep(seconds)
            share = 100 * (family_cpu(postmaster) - used) / (time.monotonic() - began)
            for task in tasks:
                task.cancel()
    finally:
        for link in links:
            await link.close()
    return share


async def _live(link: Link, lock: asyncio.Lock, worker: int, count: int) -> None:
    """Beat and look as the heartbeater and the reaper of one process do."""
    rng = random.Random(worker)  # noqa: S311 - the same in each run
    next_beat = time.monotonic() + rng.random() * HEARTBEAT
    while True:
        await asyncio.sleep(PERIOD * (0.5 + rng.random()))
        async with lock:
            if time.monotonic() >= next_beat:
                next_beat += HEARTBEAT
                await workers.heartbeat(link, worker, LEASE, None)
            if rng.random() * count <= FEW:
                await workers.find_lost(link)
                await workers.living(link)


def _identity(place: int) -> Identity:
    return Identity(name=f"bench-{time.monotonic_ns()}-{place}", host=f"host-{place}", pid=place + 1, version="1")
