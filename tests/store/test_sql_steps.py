"""Durable steps: written once, under the fence, and there for whoever runs the job next."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import asyncpg
import pytest

from tests.store.sql_session import (
    add_worker,
    cancel,
    claim,
    claim_one,
    complete,
    connected,
    count,
    enqueue,
    hand_back,
    lose,
    pairs_of,
    record,
    release,
    schema,
    session,
    steps,
    together,
    waits_for_lock,
)

if TYPE_CHECKING:
    from tests.store.sql_session import Connection

PROGRESS = "SELECT supervisor.report_progress($1, $2, $3, $4)"
COMPLETE = "SELECT supervisor.complete_with_steps($1, $2)"
PRUNE = "SELECT supervisor.prune_steps($1, $2)"


async def test_a_step_is_there_for_the_next_run() -> None:
    """What one run recorded is read by the next, in the order of the places, with its result and the run's fence."""
    async with connected() as opened:
        worker = await add_worker(opened)
        (job,) = await enqueue(opened, 1)
        pair = await claim_one(opened, worker)
        assert await record(opened, [pair], "last", place=1, result='{"a": [1]}') == {job}
        assert await record(opened, [pair], "first", place=0, result="null") == {job}
        await hand_back(opened, [pair], "retry")
        assert await steps(opened, job) == [("first", 0, True, "null"), ("last", 1, True, '{"a": [1]}')]
        assert await opened.fetchval("SELECT lock_version FROM supervisor.steps_of($1) LIMIT 1", job) == pair[1]


async def test_a_group_of_steps_is_one_call() -> None:
    """Steps of many jobs, and several of one, are recorded together, and only the fenced ones are missing."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await enqueue(opened, 3)
        one, two, fenced = pairs_of(await claim(opened, worker))
        await hand_back(opened, [fenced], "interrupted")
        pairs = [fenced, two, one, two]
        rows = await opened.fetch(
            "SELECT * FROM supervisor.record_steps($1, $2, $3, $4, $5, $6)",
            [pair[0] for pair in pairs],
            [pair[1] for pair in pairs],
            ["a", "b", "c", "d"],
            [0, 1, 0, 0],
            ["1", "2", None, "4"],
            [True, True, False, True],
        )
        assert {tuple(row) for row in rows} == {(two[0], "b"), (one[0], "c"), (two[0], "d")}
        assert await steps(opened, two[0]) == [("d", 0, True, "4"), ("b", 1, True, "2")]
        assert await steps(opened, one[0]) == [("c", 0, False, None)]
        assert await count(opened, "job_steps") == 3


async def test_a_stale_fence_records_nothing() -> None:
    """A run that lost its job can record no step, whatever became of the job."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await enqueue(opened, 4)
        pairs = pairs_of(await claim(opened, worker))
        back, later, done, gone = pairs
        await hand_back(opened, [back], "interrupted")
        await hand_back(opened, [later], "retry", 60.0)
        await complete(opened, [done])
        await cancel(opened, [gone[0]])
        again = await claim_one(opened, worker)
        assert again[0] == back[0]
        assert await record(opened, pairs) == set()
        assert await record(opened, [(again[0], again[1] + 1)]) == set()
        assert await count(opened, "job_steps") == 0


async def test_a_record_that_is_sent_twice_is_one() -> None:
    """After an answer that never came the same record is accepted again, an intent as well as a result."""
    async with connected() as opened:
        worker = await add_worker(opened)
        (job,) = await enqueue(opened, 1)
        pair = await claim_one(opened, worker)
        for _ in range(2):
            assert await record(opened, [pair], done=False) == {job}
        for _ in range(2):
            assert await record(opened, [pair], result="7") == {job}
        assert await steps(opened, job) == [("s", 0, True, "7")]


@pytest.mark.parametrize(
    ("change", "place", "result", "done"),
    [("result", 0, "8", True), ("place", 1, "7", True), ("intent", 0, "7", False), ("run", 0, "7", True)],
)
async def test_a_record_is_never_written_over(change: str, place: int, result: str, done: bool) -> None:
    """A second record of a name with another result, place or run is the error SV002, and the first one stays."""
    async with connected() as opened:
        worker = await add_worker(opened)
        (job,) = await enqueue(opened, 1)
        pair = await claim_one(opened, worker)
        await record(opened, [pair], result="7")
        if change == "run":
            await hand_back(opened, [pair], "interrupted")
            pair = await claim_one(opened, worker)
        with pytest.raises(asyncpg.PostgresError, match=f"step 's' of job {job} is recorded") as refused:
            await record(opened, [pair], place=place, result=result, done=done)
        assert refused.value.sqlstate == "SV002"
        assert refused.value.detail == f'{{"job" : {job}, "step" : "s"}}'
        assert await steps(opened, job) == [("s", 0, True, "7")]


async def test_an_intent_is_ended_by_its_own_run_alone() -> None:
    """What another run began, and nobody knows the end of, is neither begun again nor ended by a later run."""
    async with connected() as opened:
        worker = await add_worker(opened)
        (job,) = await enqueue(opened, 1)
        pair = await claim_one(opened, worker)
        await record(opened, [pair], done=False)
        await hand_back(opened, [pair], "interrupted")
        again = await claim_one(opened, worker)
        for done in (False, True):
            with pytest.raises(asyncpg.PostgresError) as refused:
                await record(opened, [again], done=done)
            assert refused.value.sqlstate == "SV002"
        assert [step[2] for step in await steps(opened, job)] == [False]


async def test_a_name_comes_once_in_a_group() -> None:
    """Two records of one name in one group are an error, and neither is kept."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await enqueue(opened, 1)
        pair = await claim_one(opened, worker)
        with pytest.raises(asyncpg.PostgresError) as refused:
            await record(opened, [pair, pair])
        assert refused.value.sqlstate == "SV002"
        assert await count(opened, "job_steps") == 0


async def test_a_release_waits_for_a_step_that_is_being_recorded() -> None:
    """While a record is not committed nobody can be given its job, and the next run sees the step."""
    async with schema() as dsn, session(dsn) as dying, session(dsn) as reaper:
        worker, other = await add_worker(reaper), await add_worker(reaper)
        (job,) = await enqueue(reaper, 1)
        pair = await claim_one(dying, worker)
        change = dying.transaction()
        await change.start()
        assert await record(dying, [pair]) == {job}
        await lose(reaper, worker)
        assert await release(reaper, worker) == {}
        await change.commit()
        assert await release(reaper, worker) == {job: False}
        assert len(
            await reaper.fetch("SELECT * FROM supervisor.claim_suspects($1, '{default}', '{noop}', 1, 1, 9)", other)
        )
        assert [step[0] for step in await steps(reaper, job)] == ["s"]


@pytest.mark.parametrize("committed", [True, False])
async def test_a_step_waits_for_a_release_and_obeys_it(committed: bool) -> None:
    """A record that meets an uncommitted release is fenced out if that commits, and written if it does not."""
    async with schema() as dsn, session(dsn) as dying, session(dsn) as reaper, session(dsn) as watcher:
        worker = await add_worker(reaper)
        (job,) = await enqueue(reaper, 1)
        pair = await claim_one(dying, worker)
        await lose(reaper, worker)
        change = reaper.transaction()
        await change.start()
        assert await release(reaper, worker) == {job: False}
        async with asyncio.TaskGroup() as group:
            recorded = group.create_task(record(dying, [pair]))
            await waits_for_lock(watcher, dying)
            await (change.commit() if committed else change.rollback())
        assert recorded.result() == (set() if committed else {job})
        assert await count(watcher, "job_steps") == int(not committed)


async def test_groups_with_the_same_jobs_do_not_wait_for_each_other_for_ever() -> None:
    """Records, completions and hand-backs of the same jobs in different orders never deadlock."""
    order = random.Random(0)  # noqa: S311 - a repeatable shuffle
    async with schema() as dsn, session(dsn) as opened:
        worker = await add_worker(opened)
        await enqueue(opened, 300)
        pairs = pairs_of(await claim(opened, worker, 300))

        async def work(other: Connection) -> None:
            for name in range(5):
                await record(other, order.sample(pairs, 100), f"{other.get_server_pid()}-{name}")
                await other.fetch(COMPLETE, *zip(*order.sample(pairs, 20), strict=True))
                await hand_back(other, order.sample(pairs, 5), "interrupted")

        await together(dsn, 5, work)


async def test_a_completed_job_takes_its_steps_along() -> None:
    """With the completion go the steps and the progress of those jobs for which the fence held, and of no others."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await enqueue(opened, 2)
        first, second = pairs_of(await claim(opened, worker))
        ids, versions = [first[0], second[0]], [first[1], second[1]]
        await record(opened, [first, second])
        await opened.execute(PROGRESS, ids, versions, [1, 1], [2, None])
        rows = await opened.fetch(COMPLETE, ids, [first[1], second[1] + 1])
        assert [row[0] for row in rows] == [first[0]]
        assert await steps(opened, first[0]) == []
        assert len(await steps(opened, second[0])) == 1
        assert await count(opened, "job_progress") == 1
        assert await opened.fetchval("SELECT status FROM supervisor.job_history") == "completed"


async def test_progress_is_shown_under_the_fence() -> None:
    """The last report of a group counts, a later one replaces it, and one of a stale run changes nothing."""
    show = "SELECT done, total FROM supervisor.job_progress WHERE job_id = $1"
    async with connected() as opened:
        worker = await add_worker(opened)
        (job,) = await enqueue(opened, 1)
        (_, version) = await claim_one(opened, worker)
        rows = await opened.fetch(PROGRESS, [job, job], [version, version], [1, 2], [None, 9])
        assert [row[0] for row in rows] == [job]
        assert tuple(await opened.fetchrow(show, job) or ()) == (2, 9)
        assert len(await opened.fetch(PROGRESS, [job], [version], [5], [None])) == 1
        assert await opened.fetch(PROGRESS, [job], [version + 1], [7], [7]) == []
        assert tuple(await opened.fetchrow(show, job) or ()) == (5, None)


async def test_steps_of_jobs_that_ended_long_ago_are_pruned() -> None:
    """Old steps go when their job no longer lives, in bounded numbers, and those of live or recent jobs stay."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await enqueue(opened, 5)
        pairs = pairs_of(await claim(opened, worker))
        await record(opened, pairs)
        await opened.execute(PROGRESS, [pair[0] for pair in pairs], [pair[1] for pair in pairs], [1] * 5, [1] * 5)
        running, waiting, *ended = pairs
        await hand_back(opened, [waiting], "snoozed", 60.0)
        await complete(opened, ended)
        assert await opened.fetchval(PRUNE, 14, 100) == 0
        await opened.execute("UPDATE supervisor.job_steps SET recorded_at = now() - interval '15 days'")
        await opened.execute("UPDATE supervisor.job_progress SET updated_at = now() - interval '15 days'")
        assert [await opened.fetchval(PRUNE, 14, most) for most in (None, 2, 100, 100)] == [0, 4, 2, 0]
        assert {row[0] for row in await opened.fetch("SELECT job_id FROM supervisor.job_steps")} == {
            running[0],
            waiting[0],
        }
        with pytest.raises(asyncpg.InvalidParameterValueError, match="keep_days = -1"):
            await opened.fetchval(PRUNE, -1, 100)
