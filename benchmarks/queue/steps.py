"""What a durable step costs: jobs that record one result each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import asyncpg

from benchmarks.queue.engine import Calls, committed, engine
from benchmarks.queue.server import bench
from benchmarks.results import Row, at_least
from benchmarks.sampling import in_turn
from supervisor.config import Config
from supervisor.jobs.context import JobContext  # noqa: TC001 - the runtime reads the annotation
from supervisor.jobs.job import job

if TYPE_CHECKING:
    from benchmarks.queue.server import Bench
    from benchmarks.sampling import Plan
    from supervisor.jobs.job import Job

JOBS: Final = 50_000
_FILL: Final = """
INSERT INTO supervisor.jobs (kind, queue, service, args)
SELECT 'step', 'default', 'default', '{"user_id": 12345}' FROM generate_series(1, $1::integer)
"""


def measure(plan: Plan) -> list[Row]:
    """Drain jobs whose handler runs one step in the mode `idempotent`."""
    most = plan.size(JOBS, least=200)
    with bench([_job(Calls(0))]) as server:
        found = in_turn(plan, "/s", {"ours": lambda: server.run(_drain(server, most))})
    return [Row("jobs with one durable step each", found["ours"], None, at_least(15_000, "/s"))]


def _job(calls: Calls) -> Job[dict[str, object]]:
    @job("step")
    async def step(args: dict[str, object], ctx: JobContext) -> None:
        await ctx.step("charge", _charge, args["user_id"])
        calls.hit()

    return step


async def _charge(user: object) -> dict[str, object]:
    return {"charged": user}


async def _drain(server: Bench, most: int) -> float:
    await server.empty()
    await server.value(_FILL, most)
    await server.value("VACUUM ANALYZE supervisor.jobs")
    await server.value("CHECKPOINT")
    calls = Calls(most)
    connection = await asyncpg.connect(server.dsn, timeout=10)
    async with engine(server.dsn, [_job(calls)], Config(concurrency=1000)) as running:
        await calls.done.wait()
        ended = await committed(connection)
    await connection.close(timeout=10)
    return most / (ended - running.claims_from)
