"""Lost workers, deadlines, quarantine, the days of history, and what an operator sees of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg
import pytest

from tests.store.sql_session import (
    add_kind,
    add_worker,
    claim,
    claim_one,
    claim_suspects,
    complete,
    connected,
    count,
    enqueue,
    expire,
    finish,
    lose,
    pairs_of,
    release,
    schema,
    session,
    together,
)

if TYPE_CHECKING:
    from tests.store.sql_session import Connection

OVERDUE = "UPDATE supervisor.jobs SET deadline_at = clock_timestamp() - interval '11 s' WHERE id = $1"
EXPIRED_JOBS = (
    "SELECT job_id, service, claimed_by, lock_expires_at, last_heartbeat_at FROM job_queue "
    "WHERE lock_expires_at < NOW() AND status IN ('claimed','running')"
)
OPERATOR = [
    EXPIRED_JOBS,
    "SELECT * FROM system_audit_log WHERE action_type LIKE '%kill_switch%' ORDER BY created_at DESC LIMIT 10",
    "SELECT version, name, applied_at, execution_time_ms FROM schema_migrations ORDER BY version DESC",
    "SELECT * FROM system_config WHERE config_key = 'global_kill_switch'",
]
COLUMNS = (
    "job_id kind queue service tenant status priority run_at created_at attempts max_attempts claimed_by claimed_at "
    "lock_version lock_expires_at last_heartbeat_at deadline_at last_error reason"
)


async def held(opened: Connection) -> set[tuple[int, bool]]:
    """Return who holds jobs that it will not finish, and whether it lives."""
    return {(row[0], row[1]) for row in await opened.fetch("SELECT * FROM supervisor.find_held()")}


async def test_a_heartbeat_renews_only_a_live_lease() -> None:
    """A worker within its lease gets a new one and the epoch; one whose lease ran out is told that it is lost."""
    beat = "SELECT * FROM supervisor.heartbeat($1, 30, NULL)"
    async with connected() as opened:
        worker = await add_worker(opened, lease=5)
        row = await opened.fetchrow(beat, worker)
        assert row is not None
        assert row["epoch"] == 1
        assert await opened.fetchval("SELECT $1 > now() + interval '20 s'", row["lease_expires_at"])
        await expire(opened, worker)
        assert await opened.fetchrow(beat, worker) is None
        await lose(opened, worker)
        assert await opened.fetchrow(beat, worker) is None


async def test_jobs_of_a_lost_worker_run_elsewhere() -> None:
    """What a dead worker held is released with a loss, its late writes fail, and the quarantine lane takes it."""
    async with connected() as opened:
        dead, alive = await add_worker(opened), await add_worker(opened)
        await enqueue(opened, 3)
        late = pairs_of(await claim(opened, dead))
        assert await held(opened) == set()
        await lose(opened, dead)
        assert await held(opened) == {(dead, False)}
        assert await release(opened, dead, most=2) != {}
        assert len(await release(opened, dead)) == 1
        assert await held(opened) == set()
        assert await complete(opened, late) == set()
        assert await claim(opened, alive) == []
        again = await claim_suspects(opened, alive)
        assert {(row["losses"], row["attempts"], row["lock_version"]) for row in again} == {(1, 0, 3)}


async def test_a_worker_that_left_no_row_is_found_too() -> None:
    """Jobs held by a worker that is not in the table any more are found and released."""
    async with connected() as opened:
        gone = await add_worker(opened)
        await enqueue(opened, 1)
        await claim(opened, gone)
        await opened.execute("DELETE FROM supervisor.workers")
        assert await held(opened) == {(gone, False)}
        assert list((await release(opened, gone)).values()) == [False]


async def test_what_a_stopped_worker_left_costs_nothing() -> None:
    """A job left behind by a worker that stopped is an interruption and no loss, whatever the limit."""
    async with connected() as opened:
        worker = await add_worker(opened)
        (job,) = await enqueue(opened, 1)
        await claim(opened, worker)
        await opened.execute("UPDATE supervisor.workers SET status = 'STOPPED'")
        assert await held(opened) == {(worker, False)}
        assert await release(opened, worker, max_losses=1) == {job: False}
        row = await opened.fetchrow("SELECT losses, interruptions, lock_version FROM supervisor.jobs")
        assert row is not None
        assert tuple(row) == (0, 1, 2)


async def test_a_living_worker_keeps_its_jobs() -> None:
    """A release of a living worker takes no job but those past their deadline, whatever the caller says."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await enqueue(opened, 2)
        first, second = pairs_of(await claim(opened, worker))
        assert await release(opened, worker) == {}
        await opened.execute(OVERDUE, first[0])
        assert await held(opened) == {(worker, True)}
        assert await release(opened, worker, past_deadline=True) == {first[0]: False}
        assert await complete(opened, [first, second]) == {second[0]}
        assert "ran past its deadline" in await opened.fetchval("SELECT last_error FROM supervisor.jobs")


async def test_the_deadline_is_claim_plus_timeout() -> None:
    """The deadline of a claimed job is its kind's timeout after the claim."""
    async with connected() as opened:
        await add_kind(opened, "short", timeout_s=1.5)
        worker = await add_worker(opened)
        await enqueue(opened, 1, kind="short")
        await claim(opened, worker, kinds=["short"])
        assert await opened.fetchval("SELECT extract(epoch FROM deadline_at - claimed_at) FROM supervisor.jobs") == 1.5


async def test_a_job_that_keeps_killing_its_worker_ends() -> None:
    """A job ends as quarantined with the loss that reaches the limit, and the history says why."""
    async with connected() as opened:
        (job,) = await enqueue(opened, 1)
        for loss in range(1, 4):
            worker = await add_worker(opened)
            await claim_one(opened, worker, suspect=loss > 1)
            await lose(opened, worker)
            assert await release(opened, worker) == {job: loss == 3}
        row = await opened.fetchrow("SELECT status, losses, last_error FROM supervisor.job_history")
        assert row is not None
        assert (row["status"], row["losses"]) == ("quarantined", 3)
        assert row["last_error"] == f"worker {worker} was lost while it ran; that was loss 3 of 3"
        assert await count(opened, "jobs") == 0


async def test_many_reapers_release_each_job_once() -> None:
    """Reapers on every host at once release each job of a lost worker exactly once."""
    released: list[int] = []
    async with schema() as dsn, session(dsn) as opened:
        worker = await add_worker(opened)
        await enqueue(opened, 500)
        await claim(opened, worker, 500)
        await expire(opened, worker)

        async def reap(other: Connection) -> None:
            await other.fetch("SELECT supervisor.find_lost()")
            while found := await release(other, worker, most=50):
                released.extend(found)

        await together(dsn, 4, reap)
        await reap(opened)
        assert len(released) == len(set(released)) == 500
        assert await opened.fetchval("SELECT min(losses) = 1 AND max(losses) = 1 FROM supervisor.jobs")


async def test_the_queries_of_an_operator_run_as_they_stand() -> None:
    """The operator's queries run with the schema on the search path, and the first shows a job without a lease."""
    async with connected() as opened:
        worker = await add_worker(opened)
        (job,) = await enqueue(opened, 1)
        await opened.execute("SET search_path = supervisor")
        await claim(opened, worker)
        assert await opened.fetch(EXPIRED_JOBS) == []
        await expire(opened, worker)
        (row,) = await opened.fetch(EXPIRED_JOBS)
        assert (row["job_id"], row["claimed_by"], row["service"]) == (job, worker, "default")
        await opened.execute("DELETE FROM workers")
        assert len(await opened.fetch(EXPIRED_JOBS)) == 1
        for query in OPERATOR:
            await opened.fetch(query)
        (switch,) = await opened.fetch(OPERATOR[3])
        assert switch["config_value"] == '{"active": false}'


async def test_the_queue_shows_every_live_job() -> None:
    """The view has its columns in order, and each live job with its state, wherever it is."""
    async with connected() as opened:
        worker = await add_worker(opened)
        ids = await enqueue(opened, 5)
        pairs = dict(pairs_of(await claim(opened, worker, 4)))
        call = "SELECT supervisor.hand_back($1, $2, $3, $4, $5, $5)"
        chosen = [job for job in ids if job in pairs][:3]
        versions = [pairs[job] for job in chosen]
        await opened.fetch(call, chosen, versions, ["retry", "retry", "snoozed"], [0.0, 60.0, 60.0], [None] * 3)
        rows = await opened.fetch("SELECT * FROM supervisor.job_queue ORDER BY job_id")
        assert list(rows[0].keys()) == COLUMNS.split()
        assert [(row["status"], row["reason"]) for row in rows] == [
            ("retry", None),
            ("retry", "retry"),
            ("pending", "snoozed"),
            ("running", None),
            ("pending", None),
        ]


async def history_days(opened: Connection) -> list[str]:
    """Return the names of the partitions of history."""
    rows = await opened.fetch(
        "SELECT inhrelid::regclass::text FROM pg_inherits "
        "WHERE inhparent = 'supervisor.job_history'::regclass ORDER BY 1"
    )
    return [row[0].removeprefix("supervisor.job_history_") for row in rows]


async def test_days_of_history_are_made_ahead_and_dropped() -> None:
    """Partitions are made once, what the default one has of their days moves in, and old days are dropped."""
    async with connected() as opened:
        today = await opened.fetchval("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD')")
        days = await history_days(opened)
        assert len(days) == 9
        assert days[0] == today
        await opened.execute(f"DROP TABLE supervisor.job_history_{today}")
        worker = await add_worker(opened)
        (job,) = await enqueue(opened, 1)
        await finish(opened, [await claim_one(opened, worker)], "completed")
        assert await count(opened, "job_history_rest") == 1
        make = "SELECT supervisor.make_history($1)"
        assert [await opened.fetchval(make, ahead) for ahead in (7, 7, 9)] == [1, 0, 2]
        assert await opened.fetchval(f"SELECT job_id FROM supervisor.job_history_{today}") == job  # noqa: S608
        assert await count(opened, "job_history_rest") == 0
        await opened.execute(
            "CREATE TABLE supervisor.job_history_20200101 PARTITION OF supervisor.job_history "
            "FOR VALUES FROM ('2020-01-01 00:00+00') TO ('2020-01-02 00:00+00')"
        )
        assert await opened.fetchval("SELECT supervisor.drop_history(14)") == 1
        assert "20200101" not in await history_days(opened)
        assert await opened.fetchval("SELECT supervisor.drop_history(0)") == 0


async def test_old_rows_of_the_default_partition_are_pruned() -> None:
    """Rows of days that had no partition are dropped with the same retention."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await enqueue(opened, 2)
        await complete(opened, pairs_of(await claim(opened, worker)))
        old = "UPDATE supervisor.job_history SET finished_at = finished_at - interval '30 days' WHERE job_id = $1"
        await opened.execute(old, await opened.fetchval("SELECT min(job_id) FROM supervisor.job_history"))
        assert await count(opened, "job_history_rest") == 1
        assert await opened.fetchval("SELECT supervisor.drop_history(31)") == 0
        assert await opened.fetchval("SELECT supervisor.drop_history(14)") == 1
        assert await count(opened, "job_history") == 1


async def test_a_reader_of_history_is_not_waited_for() -> None:
    """While someone reads history, days are neither made nor dropped, jobs go on, and the next call does both."""
    async with schema() as dsn, session(dsn) as opened, session(dsn) as reader:
        worker = await add_worker(opened)
        await enqueue(opened, 1)
        await opened.execute(
            "CREATE TABLE supervisor.job_history_20200101 PARTITION OF supervisor.job_history "
            "FOR VALUES FROM ('2020-01-01 00:00+00') TO ('2020-01-02 00:00+00')"
        )
        async with reader.transaction():
            await reader.fetch("SELECT * FROM supervisor.job_history")
            assert await opened.fetchval("SELECT supervisor.drop_history(14)") == 0
            assert await opened.fetchval("SELECT supervisor.make_history(8)") == 0
            assert len(await complete(opened, [await claim_one(opened, worker)])) == 1
        assert await opened.fetchval("SELECT supervisor.drop_history(14)") == 1
        assert await opened.fetchval("SELECT supervisor.make_history(8)") == 1


@pytest.mark.parametrize("call", ["make_history(NULL)", "make_history(-1)", "drop_history(NULL)", "drop_history(-1)"])
async def test_days_that_are_none_are_refused(call: str) -> None:
    """A number of days that cannot be meant is refused, before anything is dropped."""
    async with connected() as opened:
        with pytest.raises(asyncpg.PostgresError, match="days = "):
            await opened.execute(f"SELECT supervisor.{call}")
