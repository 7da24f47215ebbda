"""What is set for queues, old jobs that rise, slow jobs, and what is told of the database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg
import pytest

from tests.store.sql_session import (
    add_worker,
    claim,
    claim_one,
    complete,
    connected,
    count,
    enqueue,
    pairs_of,
    schema,
    session,
)

if TYPE_CHECKING:
    from tests.store.sql_session import Connection

OLD = "UPDATE supervisor.jobs SET priority = $2, run_at = clock_timestamp() - make_interval(secs => $3) WHERE id = $1"
AGAIN = "UPDATE supervisor.escalations SET raised_at = raised_at - make_interval(secs => $1)"


async def set_queue(  # noqa: PLR0913 - keywords, each with a default
    opened: Connection,
    *,
    queue: str | None = "default",
    depth: int | None = None,
    after: float | None = None,
    by: int = 1,
    to: int = 0,
    actor: str | None = "ann",
    reason: str | None = "too many",
    dry_run: bool = False,
) -> bool:
    """Set what holds for a queue; return whether that was a change."""
    call = "SELECT changed FROM supervisor.set_queue($1, $2, $3, $4, $5, $6, $7, 'cli', 'r1', $8)"
    return bool(await opened.fetchval(call, queue, depth, after, by, to, actor, reason, dry_run))


async def escalate(opened: Connection, most: int = 100) -> dict[str, int]:
    """Raise what is old; return how many of each queue."""
    return {row["queue"]: row["raised"] for row in await opened.fetch("SELECT * FROM supervisor.escalate($1)", most)}


async def priorities(opened: Connection, table: str = "jobs") -> dict[int, int]:
    """Return the priority of each job."""
    rows = await opened.fetch(f"SELECT id, priority FROM supervisor.{table} ORDER BY id")  # noqa: S608 - a name of ours
    return {row["id"]: row["priority"] for row in rows}


async def test_a_setting_is_on_record() -> None:
    """What is set replaces what was, who did it and why stands in the audit log, and what is set already does not."""
    async with connected() as opened:
        assert await set_queue(opened, depth=10, after=60.0)
        assert not await set_queue(opened, depth=10, after=60.0)
        assert await set_queue(opened, depth=20, dry_run=True)
        assert await set_queue(opened, depth=20)
        assert await set_queue(opened)
        assert await count(opened, "queue_settings") == 0
        log = await opened.fetch("SELECT * FROM supervisor.system_audit_log ORDER BY id")
        assert [(row["action_type"], row["name"], row["actor"], row["source"]) for row in log] == [
            ("set_queue", "default", "ann", "cli")
        ] * 3
        assert log[0]["before"] is None
        assert log[1]["before"] == log[0]["after"]
        assert log[2]["after"] is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"queue": ""}, "queue = ''"),
        ({"queue": None}, "queue = null"),
        ({"depth": 0}, "max_depth = 0"),
        ({"after": 0.5}, "escalate_after_s = 0.5"),
        ({"after": float("nan")}, "escalate_after_s = NaN"),
        ({"after": 1.0, "by": 0}, "escalate_by = 0"),
        ({"actor": " "}, "actor is missing"),
        ({"reason": None}, "reason is missing"),
    ],
)
async def test_an_impossible_setting_is_refused(wrong: dict[str, object], message: str) -> None:
    """The error names what cannot be, its value and the remedy, and nothing is changed."""
    async with connected() as opened:
        with pytest.raises(asyncpg.InvalidParameterValueError, match=message) as caught:
            await set_queue(opened, **wrong)  # type: ignore[arg-type]  # what is wrong is the point
        assert caught.value.hint
        assert await count(opened, "queue_settings") == 0


async def test_a_queue_is_full_at_its_depth() -> None:
    """A queue is full when so many were waiting at the last measurement, and only if a depth is set."""
    async with connected() as opened:
        await enqueue(opened, 5)
        full = "SELECT * FROM supervisor.full_queues('{default,none}')"
        assert await opened.fetch(full) == []
        await opened.fetchval("SELECT supervisor.survey('queues', 0)")
        for depth, expected in ((6, []), (5, [("default", 5, 5)]), (4, [("default", 5, 4)])):
            await set_queue(opened, depth=depth)
            assert [tuple(row) for row in await opened.fetch(full)] == expected


async def test_an_old_job_rises_step_by_step() -> None:
    """A job that has waited for so long rises, again after as long, and never above what was set."""
    async with connected() as opened:
        old, young, high = await enqueue(opened, 3)
        for job, priority, age in ((old, 10, 100.0), (young, 10, 30.0), (high, 0, 100.0)):
            await opened.execute(OLD, job, priority, age)
        assert await escalate(opened) == {}
        await set_queue(opened, after=60.0, by=4)
        assert await escalate(opened) == {"default": 1}
        assert await escalate(opened) == {}
        assert await priorities(opened) == {old: 6, young: 10, high: 0}
        for expected in (2, 0, 0):
            await opened.execute(AGAIN, 61.0)
            await escalate(opened)
            assert (await priorities(opened))[old] == expected
        (row,) = await opened.fetch("SELECT job_id, from_priority, steps FROM supervisor.escalations")
        assert tuple(row) == (old, 10, 3)


async def test_the_oldest_rise_first() -> None:
    """With more old jobs than may rise at once, those that have waited for longest do."""
    async with connected() as opened:
        ids = await enqueue(opened, 6)
        for place, job in enumerate(ids):
            await opened.execute(OLD, job, 5, 100.0 + place)
        await set_queue(opened, after=60.0)
        assert await escalate(opened, 2) == {"default": 2}
        assert [job for job, priority in (await priorities(opened)).items() if priority == 4] == ids[-2:]
        assert await escalate(opened, 2) == {"default": 2}
        assert [job for job, priority in (await priorities(opened)).items() if priority == 4] == ids[-4:]


async def test_a_job_behind_a_gate_rises_too() -> None:
    """A job that waits for a permit rises in its line; one that is paused, or waits for a time, does not."""
    async with connected() as opened:
        ids = await enqueue(opened, 3)
        for job in ids:
            await opened.execute(OLD, job, 5, 100.0)
        await opened.execute(
            "WITH gone AS (DELETE FROM supervisor.jobs RETURNING *) INSERT INTO supervisor.jobs_waiting "
            "SELECT *, (ARRAY['limited', 'paused', 'retry'])[id - $1 + 1], "
            "CASE WHEN id = $1 + 2 THEN now() ELSE 'infinity' END, CASE WHEN id < $1 + 2 THEN 'line' END FROM gone",
            ids[0],
        )
        await set_queue(opened, after=60.0)
        assert await escalate(opened) == {"default": 1}
        assert list((await priorities(opened, "jobs_waiting")).values()) == [4, 5, 5]


async def test_nobody_waits_for_an_escalation() -> None:
    """What runs, what somebody has locked, and what another host raises just now is left alone."""
    async with schema() as dsn, session(dsn) as one, session(dsn) as other:
        worker = await add_worker(one)
        running, locked, free = await enqueue(one, 3)
        for job in (running, locked, free):
            await one.execute(OLD, job, 5, 100.0 + locked - job)
        assert (await claim_one(one, worker))[0] == running
        await set_queue(one, after=60.0)
        async with other.transaction():
            await other.execute("SELECT FROM supervisor.jobs WHERE id = $1 FOR UPDATE", locked)
            async with one.transaction():
                assert await escalate(one) == {"default": 1}
                assert await escalate(other) == {}
        assert await priorities(one) == {running: 5, locked: 5, free: 4}


async def test_what_rose_is_forgotten_with_its_job() -> None:
    """The record of an escalation goes when its job is over."""
    async with connected() as opened:
        worker = await add_worker(opened)
        (job,) = await enqueue(opened, 1)
        await opened.execute(OLD, job, 5, 100.0)
        await set_queue(opened, after=60.0)
        await escalate(opened)
        assert await count(opened, "escalations") == 1
        await complete(opened, pairs_of(await claim(opened, worker)))
        await escalate(opened)
        assert await count(opened, "escalations") == 0


async def test_a_slow_job_is_listed_while_it_runs() -> None:
    """A run that was put down as slow is listed with how long it runs and was expected to, until it ends."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await enqueue(opened, 2)
        first, second = pairs_of(await claim(opened, worker))
        await opened.execute(
            "UPDATE supervisor.jobs SET claimed_at = claimed_at - interval '50 s' WHERE id = $1", first[0]
        )
        note = "SELECT supervisor.note_slow($1, $2, $3)"
        pairs = [first, second, (first[0], 7), (999, 1)]
        arguments = [[pair[0] for pair in pairs], [pair[1] for pair in pairs], [4.0] * 4]
        assert await opened.fetchval(note, *arguments) == 2
        assert await opened.fetchval(note, *arguments) == 0
        rows = await opened.fetch("SELECT * FROM supervisor.slow(10)")
        assert [(row["id"], row["worker"], row["expected"]) for row in rows] == [
            (first[0], worker, 4.0),
            (second[0], worker, 4.0),
        ]
        assert 50 <= rows[0]["running"] < 80
        await complete(opened, [first])
        assert [row["id"] for row in await opened.fetch("SELECT * FROM supervisor.slow(10)")] == [second[0]]
        await opened.fetchval("SELECT supervisor.survey('queues', 0)")
        assert await count(opened, "slow_jobs") == 1


async def test_an_old_transaction_is_seen() -> None:
    """The age is that of the oldest transaction of others with a snapshot, and ours does not count."""
    facts = "SELECT oldest_snapshot_s FROM supervisor.database_facts()"
    async with schema() as dsn, session(dsn) as one, session(dsn) as other:
        assert await one.fetchval(facts) < 1.0
        async with other.transaction(isolation="repeatable_read"):
            await other.fetchval("SELECT count(*) FROM supervisor.jobs")
            await one.fetchval("SELECT pg_sleep(0.05)")
            assert await one.fetchval(facts) >= 0.05
