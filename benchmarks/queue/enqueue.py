"""How fast jobs go in: many at once, and one by one beside busy workers."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

import asyncpg

from benchmarks.queue.engine import PAYLOAD, Calls, engine, noop_job
from benchmarks.queue.server import bench
from benchmarks.results import Row, at_least
from benchmarks.sampling import in_turn
from supervisor import Client
from supervisor.config import Config

if TYPE_CHECKING:
    from benchmarks.queue.server import Bench
    from benchmarks.sampling import Plan

BULK: Final = 200_000
SINGLE: Final = 8_000
CONNECTIONS: Final = 8
_ENQUEUE: Final = "SELECT supervisor.enqueue('noop', '{\"user_id\": 12345}')"
_ASLEEP: Final = """
CREATE OR REPLACE FUNCTION supervisor.wake(queues text[]) RETURNS void LANGUAGE plpgsql AS $$ BEGIN RETURN; END $$
"""


def measure(plan: Plan) -> list[Row]:
    """Enqueue many jobs by one call, and single ones from eight connections while a worker runs them."""
    most, single = plan.size(BULK), plan.size(SINGLE, least=80)
    with bench() as server:
        bulk = in_turn(plan, "/s", {"ours": lambda: server.run(_bulk(server, most))})
        both = in_turn(
            plan,
            "/s",
            {
                "ours": lambda: server.run(_single(server, single)),
                "never a NOTIFY": lambda: server.run(_unheard(server, single)),
            },
        )
    ours, plain = both.values()
    return [
        Row("bulk enqueue", bulk["ours"], None, at_least(200_000, "/s")),
        Row("single enqueue, 8 connections, busy workers", ours, plain, at_least(0.9)),
    ]


async def _bulk(server: Bench, most: int) -> float:
    await server.empty()
    async with Client(server.dsn) as client:
        handler = noop_job(Calls(0))
        await client.enqueue(handler, PAYLOAD)
        arguments = [PAYLOAD] * most
        began = time.perf_counter()
        await client.enqueue_many(handler, arguments)
        return most / (time.perf_counter() - began)


async def _unheard(server: Bench, most: int) -> float:
    """The same with a function that wakes nobody, whoever sleeps."""
    wake = str(await server.value("SELECT pg_get_functiondef('supervisor.wake'::regproc)"))
    await server.value(_ASLEEP)
    try:
        return await _single(server, most)
    finally:
        await server.value(wake)


async def _single(server: Bench, most: int) -> float:
    """Enqueue from eight connections at once, each one job after the other, while the jobs are being run."""
    await server.empty()
    calls = Calls(most)
    connections = [await asyncpg.connect(server.dsn, timeout=10) for _ in range(CONNECTIONS)]

    async def put(connection: asyncpg.Connection[asyncpg.Record]) -> None:
        for _ in range(most // CONNECTIONS):
            await connection.execute(_ENQUEUE)

    async with engine(server.dsn, [noop_job(calls)], Config()):
        began = time.perf_counter()
        await asyncio.gather(*(put(connection) for connection in connections))
        rate = most / (time.perf_counter() - began)
    for connection in connections:
        await connection.close(timeout=10)
    return rate
