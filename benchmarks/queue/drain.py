"""How fast a backlog is worked off, what that costs, and how much of it is the runtime's own."""

from __future__ import annotations

import resource
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import asyncpg

from benchmarks.queue.bare import BareLoop
from benchmarks.queue.engine import Calls, committed, engine, noop_job
from benchmarks.queue.limit import limit
from benchmarks.queue.server import bench
from benchmarks.results import Row, at_least, at_most
from benchmarks.sampling import Samples, collected
from supervisor.config import Config

if TYPE_CHECKING:
    from benchmarks.queue.server import Bench
    from benchmarks.sampling import Plan

MANY: Final = 1000
DEFAULT: Final = 100
JOBS: Final = 100_000


@dataclass(frozen=True, slots=True)
class Drain:
    """One drain: jobs in a second from the first claim to the last commit, CPU and WAL for each job."""

    rate: float
    cpu: float
    wal: float


async def drain(server: Bench, most: int, concurrency: int) -> Drain:
    """Work off what is in the queue, with our engine."""
    calls = Calls(most)
    connection = await asyncpg.connect(server.dsn, timeout=10)
    wal = await server.wal()
    async with engine(server.dsn, [noop_job(calls)], Config(concurrency=concurrency)) as running:
        before = _cpu()
        await calls.done.wait()
        ended = await committed(connection)
        used = _cpu() - before
    wal = await server.wal() - wal
    await connection.close(timeout=10)
    return Drain(most / (ended - running.claims_from), used / most, wal / most)


async def bare(server: Bench, most: int, concurrency: int) -> Drain:
    """Work off what is in the queue, with the bare loop."""

    async def noop(_args: object) -> None:
        return

    wal = await server.wal()
    found = await BareLoop(most, concurrency, noop).drain(server.dsn)
    return Drain(most / found.seconds, found.cpu / most, (await server.wal() - wal) / most)


def measure(plan: Plan) -> list[Row]:
    """Drain the same backlog in turn: our engine at two settings, the bare loop, and the statements alone."""
    most = plan.size(JOBS, least=200)
    found: dict[str, list[Drain]] = {"many": [], "default": [], "bare": [], "limit": []}
    with bench() as server:

        async def one(label: str) -> Drain:
            await server.empty()
            await server.fill(most)
            match label:
                case "many":
                    return await drain(server, most, MANY)
                case "default":
                    return await drain(server, most, DEFAULT)
                case "bare":
                    return await bare(server, most, MANY)
                case _:
                    return Drain(await limit(server, most), 0.0, 0.0)

        for number in range(plan.runs + 1):
            for label, drains in found.items():
                plan.say(f"{label}: run {number} of {plan.runs}" if number else f"{label}: warm-up")
                sample = collected(lambda label=label: server.run(one(label)))  # type: ignore[misc]
                if number:
                    drains.append(sample)
    many, default, plain, alone = (found[label] for label in ("many", "default", "bare", "limit"))
    ours = Samples("ours", "/s", tuple(each.rate for each in many))
    over = tuple(one.cpu - other.cpu for one, other in zip(many, plain, strict=True))
    return [
        Row("drain, concurrency 1000", ours, _rates("bare loop", plain), at_least(0.6)),
        Row("drain, default settings", _rates("ours", default), _rates("concurrency 1000", many), at_least(0.8)),
        Row("share of the limit", ours, _rates("the statements alone, pgbench", alone), at_least(0.35)),
        Row("CPU the runtime adds to a job", Samples("ours", "s", over), None, at_most(6e-6, "s")),
        Row(
            "WAL of a job, history kept",
            Samples("ours", "B", tuple(each.wal for each in many)),
            None,
            at_most(700, "B"),
        ),
    ]


def _rates(label: str, drains: list[Drain]) -> Samples:
    return Samples(label, "/s", tuple(each.rate for each in drains))


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
