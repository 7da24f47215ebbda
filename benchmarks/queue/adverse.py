"""What age and bad luck cost: an old snapshot, much history, many future jobs, stale statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import asyncpg

from benchmarks.queue.drain import JOBS, MANY, drain
from benchmarks.queue.server import bench
from benchmarks.results import Row, at_least
from benchmarks.sampling import Samples, collected

if TYPE_CHECKING:
    from benchmarks.queue.server import Bench
    from benchmarks.sampling import Plan

DEAD: Final = 500_000
HISTORY: Final = 10_000_000
FUTURE: Final = 200_000

PAST: Final = """
INSERT INTO supervisor.job_history (job_id, kind, queue, service, run_at, created_at, args, lock_version, claimed_by,
                                    claimed_at, deadline_at, status, finished_at)
SELECT nextval('supervisor.job_ids'), 'noop', 'default', 'default', clock_timestamp(), clock_timestamp(),
       '{"user_id": 12345, "action": "send_email", "template": "welcome"}', 1, 1, clock_timestamp(), clock_timestamp(),
       'completed', clock_timestamp()
FROM generate_series(1, $1::integer)
"""
LATER: Final = """
INSERT INTO supervisor.jobs_waiting (id, kind, queue, service, run_at, args, reason, due_at)
SELECT nextval('supervisor.job_ids'), 'noop', 'default', 'default', clock_timestamp() + interval '1 day', '{}',
       'future', clock_timestamp() + interval '1 day'
FROM generate_series(1, $1::integer)
"""


def measure(plan: Plan) -> list[Row]:
    """Drain the same backlog in a fresh database and in one that has seen much; each figure in turn with its normal."""
    most = plan.size(JOBS, least=200)
    with bench() as server:
        stale = _in_turn(plan, server, most, analyse=False)
        held = _held(plan, server, most)
        server.run(server.empty())
        old = _aged(plan, server, most)
    return [
        Row("drain right after a bulk enqueue, no ANALYZE", *stale, at_least(0.95)),
        Row("drain with a snapshot held, 500,000 dead rows", *held, at_least(0.85)),
        Row("drain with 10 million rows of history, 200,000 future jobs", *old, at_least(0.95)),
    ]


async def _normal(server: Bench, most: int) -> float:
    await server.empty()
    await server.fill(most)
    return (await drain(server, most, MANY)).rate


def _in_turn(plan: Plan, server: Bench, most: int, *, analyse: bool) -> tuple[Samples, Samples]:
    """Statistics say that the queue is empty, since it was when they were last taken."""

    async def stale() -> float:
        await server.empty()
        await server.value("VACUUM ANALYZE supervisor.jobs")
        await server.value("ALTER TABLE supervisor.jobs SET (autovacuum_enabled = false)")
        await server.fill(most, analyse=analyse)
        rate = (await drain(server, most, MANY)).rate
        await server.value("ALTER TABLE supervisor.jobs RESET (autovacuum_enabled)")
        return rate

    ours, normal = [], []
    for number in range(plan.runs):
        plan.say(f"without ANALYZE: run {number + 1} of {plan.runs}")
        normal.append(collected(lambda: server.run(_normal(server, most))))
        ours.append(collected(lambda: server.run(stale())))
    return Samples("ours", "/s", tuple(ours)), Samples("with ANALYZE", "/s", tuple(normal))


def _held(plan: Plan, server: Bench, most: int) -> tuple[Samples, Samples]:
    """A transaction that was left open keeps every dead row: each drain wades through those of the drains before it."""
    rounds = max(2, round(plan.scale * DEAD / (2 * most)))  # a drain leaves two dead rows for each job

    async def held() -> float:
        await server.empty()
        holder = await asyncpg.connect(server.dsn, timeout=10)
        transaction = holder.transaction(isolation="repeatable_read")
        await transaction.start()
        await holder.fetchval("SELECT count(*) FROM supervisor.jobs")
        rate = 0.0
        for _ in range(rounds + 1):
            await server.fill(most)
            rate = (await drain(server, most, MANY)).rate
        await transaction.rollback()
        await holder.close(timeout=10)
        return rate

    ours, normal = [], []
    for number in range(plan.runs):
        plan.say(f"a snapshot held: run {number + 1} of {plan.runs}")
        normal.append(collected(lambda: server.run(_normal(server, most))))
        ours.append(collected(lambda: server.run(held())))
    return Samples("ours", "/s", tuple(ours)), Samples("no snapshot", "/s", tuple(normal))


def _aged(plan: Plan, server: Bench, most: int) -> tuple[Samples, Samples]:
    """History and future jobs are there for the second half of the samples, since making them takes minutes."""
    normal = [collected(lambda: server.run(_normal(server, most))) for _ in range(plan.runs)]
    plan.say("making history")
    server.run(server.empty())
    server.run(server.value(PAST, plan.size(HISTORY)))
    server.run(server.value(LATER, plan.size(FUTURE)))
    server.run(server.value("VACUUM ANALYZE"))

    async def aged() -> float:
        await server.fill(most)
        return (await drain(server, most, MANY)).rate

    ours = []
    for number in range(plan.runs):
        plan.say(f"with history: run {number + 1} of {plan.runs}")
        ours.append(collected(lambda: server.run(aged())))
    return Samples("ours", "/s", tuple(ours)), Samples("empty", "/s", tuple(normal))
