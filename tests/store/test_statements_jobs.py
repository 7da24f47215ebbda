"""The typed statements on jobs: what goes in comes out, with its type, and the fence holds."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from supervisor.errors import LeaseLost, StatementRefused
from supervisor.store import claims, jobs, workers
from supervisor.store.claims import Turn
from supervisor.store.enqueue import JobOptions
from supervisor.store.job_rows import CancelledJob, ClaimedJob, Cursor, Ended, HandedBack, RetriedJob, Suspects
from tests.store.statement_session import statements

if TYPE_CHECKING:
    from supervisor.store.job_rows import EndStatus

ALL = ["noop", "slow"]


async def test_a_claim_gives_every_column_its_type() -> None:
    """A claimed job has all its columns under their names, as the types that they promise."""
    async with statements() as session:
        (job,) = await session.enqueue(options=JobOptions(tenant="acme", priority=-3))
        (claimed,) = await claims.claim_tenants(session.link, session.worker, "default", ALL, [Turn("acme", 1)])
        assert isinstance(claimed, ClaimedJob)
        assert (claimed.id, claimed.lock_version, claimed.kind, claimed.queue) == (job, 1, "noop", "default")
        assert (claimed.service, claimed.tenant, claimed.priority, claimed.timeout) == ("mailing", "acme", -3, 300.0)
        assert (claimed.attempts, claimed.max_attempts, claimed.losses, claimed.interruptions) == (0, 3, 0, 0)
        assert json.loads(claimed.args) == {"n": 0}
        assert claimed.trace_parent is None
        assert claimed.run_at.tzinfo is not None
        assert timedelta(seconds=299) < claimed.deadline_at - claimed.run_at < timedelta(seconds=330)


async def test_a_claim_goes_on_behind_its_cursor() -> None:
    """A claim with a cursor gets what is behind it, one without a cursor begins at the start of the queue."""
    async with statements() as session:
        ids = await session.enqueue(6)
        first = await jobs.claim(session.link, session.worker, "default", ALL, 2)
        cursor = Cursor.after(first)
        assert cursor == (0, first[0].run_at, ids[1])
        urgent = await session.enqueue(1, options=JobOptions(priority=-1))
        behind = await jobs.claim(session.link, session.worker, "default", ALL, 2, cursor)
        assert {job.id for job in behind} == set(ids[2:4])
        anew = await jobs.claim(session.link, session.worker, "default", ALL, 2)
        assert {job.id for job in anew} == {urgent[0], ids[4]}
        assert await jobs.claim(session.link, session.worker, "later", ALL, 2) == []


async def test_a_worker_without_a_lease_claims_nothing() -> None:
    """A claim of a worker that is lost raises LeaseLost, also one of suspects."""
    async with statements() as session:
        await session.enqueue()
        await session.lose()
        with pytest.raises(LeaseLost):
            await session.claim()
        with pytest.raises(LeaseLost):
            await jobs.claim_suspects(session.link, session.worker, ["default"], ALL, 1, least_losses=1, most_losses=9)


async def test_completed_jobs_are_those_for_which_the_fence_held() -> None:
    """Completion returns the jobs of the pairs that are still in force, with and without steps."""
    async with statements() as session:
        await session.enqueue(4)
        one, two, three, four = await session.claim()
        assert await jobs.complete(session.link, [one.id, two.id], [one.lock_version, two.lock_version + 1]) == {one.id}
        pairs = [three.id, four.id], [three.lock_version, four.lock_version]
        assert await jobs.complete(session.link, *pairs, steps=True) == {three.id, four.id}
        assert await jobs.complete(session.link, *pairs) == set()


@pytest.mark.parametrize("status", ["completed", "failed", "discarded", "cancelled", "quarantined"])
async def test_a_job_ends_with_its_status_and_error(status: EndStatus) -> None:
    """What an end says of a job is what is shown of it afterwards."""
    async with statements() as session:
        await session.enqueue()
        (claimed,) = await session.claim()
        ended = Ended(claimed.id, claimed.lock_version, status, "it broke", "a traceback")
        assert await jobs.finish(session.link, [ended]) == {claimed.id}
        assert await jobs.finish(session.link, [ended]) == set()
        shown = await jobs.show(session.link, claimed.id)
        assert shown is not None
        assert (shown.status, shown.last_error, shown.traceback, shown.is_final) == (
            status,
            "it broke",
            "a traceback",
            True,
        )
        assert shown.finished_at is not None
        assert shown.attempts == (1 if status == "failed" else 0)


async def test_jobs_are_handed_back_each_in_its_way() -> None:
    """A retry costs an attempt, a snooze and an interruption do not, a blocked job has no time, a last retry fails."""
    async with statements() as session:
        retried, snoozed, interrupted, blocked = await session.enqueue(4)
        (last,) = await session.enqueue(kind="slow")
        claimed = {job.id: job.lock_version for job in [*await session.claim(), *await session.claim(queue="later")]}
        rows = [
            HandedBack(retried, claimed[retried], "retry", 60.0, "once", "trace"),
            HandedBack(snoozed, claimed[snoozed], "snoozed", 60.0),
            HandedBack(interrupted, claimed[interrupted], "interrupted"),
            HandedBack(blocked, claimed[blocked], "blocked", 5.0, "who knows"),
            HandedBack(last, claimed[last], "retry", 60.0, "for the last time"),
        ]
        assert await jobs.hand_back(session.link, rows) == set(claimed)
        assert await jobs.hand_back(session.link, rows) == set()
        shown = [await jobs.show(session.link, row.id) for row in rows]
        assert [job and (job.status, job.reason, job.attempts, job.interruptions) for job in shown] == [
            ("retry", "retry", 1, 0),
            ("pending", "snoozed", 0, 0),
            ("pending", None, 0, 1),
            ("blocked", "blocked", 0, 0),
            ("failed", None, 1, 0),
        ]
        assert [job is not None and job.due_at is not None for job in shown] == [True, True, False, False, False]


async def test_nothing_is_asked_for_nothing() -> None:
    """Lists that are empty change nothing and return nothing."""
    async with statements() as session:
        assert await jobs.finish(session.link, []) == set()
        assert await jobs.hand_back(session.link, []) == set()
        assert await jobs.complete(session.link, [], []) == set()
        assert await jobs.cancel(session.link, []) == []
        assert await jobs.retry(session.link, []) == []


async def test_what_a_worker_holds_is_known() -> None:
    """Orphans are all jobs that a worker holds, and still_held tells whose claim is in force."""
    async with statements() as session:
        ids = await session.enqueue(3)
        claimed = await session.claim()
        assert await jobs.orphans(session.link, session.worker) == [(job, 1) for job in ids]
        await jobs.complete(session.link, [ids[0]], [1])
        assert await jobs.still_held(session.link, [job.id for job in claimed], [1, 1, 2]) == {ids[1]}


async def test_a_deadline_moves_only_under_the_fence() -> None:
    """An extension returns the new deadline, and None for a claim that is no longer in force."""
    async with statements() as session:
        (job,) = await session.enqueue()
        (claimed,) = await session.claim()
        moved = await jobs.extend(session.link, job, claimed.lock_version, 3600)
        assert moved is not None
        assert timedelta(seconds=3300) < moved - claimed.deadline_at <= timedelta(seconds=3360)
        assert await jobs.extend(session.link, job, claimed.lock_version + 1, 3600) is None


async def test_suspects_are_counted_and_claimed_apart() -> None:
    """A job that was lost with a worker is claimed only as a suspect, by its number of losses."""
    async with statements() as session:
        ids = await session.enqueue(2)
        await session.claim()
        assert await session.lose() == len(ids)
        registered = await workers.register(
            session.link, workers.Identity(name="other", host="h", pid=2, version="1"), 60.0
        )
        assert await jobs.suspects(session.link, ["default"], ALL, 2) == Suspects(2, 0)
        assert await jobs.suspects(session.link, ["default"], ALL, 1) == Suspects(0, 2)
        assert await jobs.claim(session.link, registered.id, "default", ALL, 10) == []
        found = await jobs.claim_suspects(
            session.link, registered.id, ["later", "default"], ALL, 1, least_losses=1, most_losses=1
        )
        assert [(job.id, job.losses, job.queue) for job in found] == [(ids[0], 1, "default")]
        none = await jobs.claim_suspects(
            session.link, registered.id, ["default"], ALL, 1, least_losses=2, most_losses=9
        )
        assert none == []


async def test_a_job_is_promoted_when_its_time_has_come() -> None:
    """A job of the future can be claimed once it is due and promoted."""
    async with statements() as session:
        (job,) = await session.enqueue(options=JobOptions(run_at=datetime.now(UTC) + timedelta(hours=1)))
        assert await jobs.promote(session.link, 10) == 0
        await session.link.execute("UPDATE supervisor.jobs_waiting SET due_at = clock_timestamp()")
        assert await jobs.promote(session.link, 10) == 1
        assert [claimed.id for claimed in await session.claim()] == [job]


async def test_cancelled_jobs_say_whether_they_ran() -> None:
    """A cancel ends running, ready and future jobs alike, and leaves out what does not live."""
    async with statements() as session:
        ids = await session.enqueue(2)
        (future,) = await session.enqueue(options=JobOptions(delay=60.0))
        await session.claim(1)
        found = await jobs.cancel(session.link, [*ids, future, 999], "not wanted")
        assert sorted(found) == [CancelledJob(job, was_running=job == ids[0]) for job in (*ids, future)]
        shown = await jobs.show(session.link, future)
        assert shown is not None
        assert (shown.status, shown.last_error) == ("cancelled", "not wanted")


async def test_a_retry_says_what_is_in_its_way() -> None:
    """Jobs that ended badly or wait run again; for the others the problem is named."""
    async with statements() as session:
        done, failed, ready = await session.enqueue(3)
        (future,) = await session.enqueue(options=JobOptions(delay=60.0))
        for _ in await session.claim(2):
            pass
        await jobs.complete(session.link, [done], [1])
        await jobs.finish(session.link, [Ended(failed, 1, "failed", "it broke")])
        found = await jobs.retry(session.link, [done, failed, ready, future, 999])
        assert sorted(found) == [
            RetriedJob(done, "completed"),
            RetriedJob(failed, None),
            RetriedJob(ready, "live"),
            RetriedJob(future, None),
            RetriedJob(999, "unknown"),
        ]
        assert {job.id for job in await session.claim()} == {failed, ready, future}


async def test_a_job_is_shown_wherever_it_is() -> None:
    """One job is shown through its whole life, and an id that nobody has as None."""
    async with statements() as session:
        assert await jobs.show(session.link, 999) is None
        (job,) = await session.enqueue(options=JobOptions(delay=60.0, tenant="acme", max_attempts=7))
        states = []
        for step in ("waiting", "due", "claimed", "over"):
            match step:
                case "due":
                    await jobs.retry(session.link, [job])
                case "claimed":
                    await claims.claim_tenants(session.link, session.worker, "default", ALL, [Turn("acme", 1)])
                case "over":
                    await jobs.complete(session.link, [job], [1])
                case _:
                    pass
            shown = await jobs.show(session.link, job)
            assert shown is not None
            assert (shown.id, shown.tenant, shown.max_attempts, json.loads(shown.args)) == (job, "acme", 7, {"n": 0})
            states.append((shown.status, shown.reason, shown.claimed_by))
        assert states == [
            ("pending", "future", None),
            ("pending", None, None),
            ("running", None, session.worker),
            ("completed", None, session.worker),
        ]


async def test_statements_work_in_a_schema_of_another_name() -> None:
    """Every statement finds its function in the schema that the link is for."""
    async with statements("queue_2") as session:
        ids = await session.enqueue(2)
        claimed = await session.claim()
        assert [job.id for job in claimed] == ids
        assert await jobs.complete(session.link, [ids[0]], [1]) == {ids[0]}
        shown = await jobs.show(session.link, ids[0])
        assert shown is not None
        assert shown.status == "completed"


async def test_a_wrong_argument_is_refused_with_its_reason() -> None:
    """What a function refuses comes as StatementRefused, with the code and the text of the database."""
    async with statements() as session:
        (job,) = await session.enqueue()
        await session.claim()
        with pytest.raises(StatementRefused, match="no reason to hand a job back") as refused:
            await jobs.hand_back(session.link, [HandedBack(job, 1, "boredom")])  # type: ignore[arg-type]
        assert refused.value.sqlstate == "22023"
