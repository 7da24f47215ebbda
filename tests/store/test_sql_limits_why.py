"""Why a job does not run: each reason, with what it is about and until when."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from tests.store.limiting import add, claim_all, set_limit, why
from tests.store.sql_session import add_worker, claim_one, complete, connected, hand_back, record

if TYPE_CHECKING:
    from tests.store.sql_session import Connection

QUEUES = "UPDATE supervisor.workers SET metadata = jsonb_build_object('queues', $1::text[])"


async def _now(opened: Connection) -> object:
    return await opened.fetchval("SELECT clock_timestamp()")


async def test_a_job_that_nobody_serves_waits_for_a_worker() -> None:
    """Without a live worker of its queue that is the reason, also where there are workers of others."""
    async with connected() as opened:
        job = await add(opened)
        assert set(await why(opened, job)) == {"no_worker"}
        await add_worker(opened)
        await opened.execute(QUEUES, ["other"])
        assert (await why(opened, job))["no_worker"]["key"] == "default"
        await opened.execute(QUEUES, ["default"])
        assert set(await why(opened, job)) == {"busy"}


async def test_a_job_whose_turn_will_come_says_how_many_are_before_it() -> None:
    """Where a worker is idle nothing stands against it; where all are busy, it says so."""
    async with connected() as opened:
        await add_worker(opened)
        jobs = [await add(opened) for _ in range(4)]
        found = await why(opened, jobs[3])
        assert "3 jobs are before it" in found["busy"]["detail"]
        await opened.execute("UPDATE supervisor.workers SET idle_queues = '{default}'")
        assert set(await why(opened, jobs[0])) == {"turn"}


async def test_a_limit_is_named_with_its_key_and_time() -> None:
    """Each limit without a permit is named with whose it is and when it has one; those that have some are not."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await set_limit(opened, "two", amount=2, by=["tenant"])
        await set_limit(opened, "alone", form="concurrency", amount=1, by=["tenant"])
        await set_limit(opened, "plenty", amount=100)
        await set_limit(opened, "shadow", amount=0, shadow=True)
        await add(opened, "a")
        await add(opened, "a")
        job, other = await add(opened, "a"), await add(opened, "b")
        first = await claim_all(opened, worker, 1)
        assert len(first) == 1
        rows = [tuple(row) for row in await opened.fetch("SELECT what, key, detail FROM supervisor.why($1)", job)]
        assert ("limit", "alone a", "1 of 1 run") in rows
        assert len([row for row in rows if row[0] == "limit"]) == 1
        await complete(opened, [(first[0]["id"], 1)])
        second = [row for row in await claim_all(opened, worker) if row["tenant"] == "a"]
        await complete(opened, [(second[0]["id"], 1)])
        found = (await why(opened, job))["limit"]
        assert (found["key"], found["detail"]) == ("two a", "2 of 2 started within 60 s")
        assert timedelta(seconds=50) < found["until"] - await _now(opened) < timedelta(seconds=61)
        assert set(await why(opened, other)) == {"running"}


@pytest.mark.parametrize(
    ("definition", "detail"),
    [
        ({"form": "rate", "amount": 60, "burst": 1}, "1 of 1 at once, then one each 1.000 s"),
        ({"form": "quota", "amount": 1, "unit": "week"}, "1 of 1 are used this week"),
        ({"form": "window", "amount": 0}, "it lets nothing through"),
    ],
)
async def test_each_form_of_limit_has_its_words(definition: dict[str, object], detail: str) -> None:
    """The text says how much of what is used."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await set_limit(opened, "some", **definition)
        await add(opened)
        job = await add(opened)
        await claim_all(opened, worker)
        assert (await why(opened, job))["limit"]["detail"] == detail


@pytest.mark.parametrize(
    ("scope", "name", "value", "key"),
    [
        ("kill_switch", "", "true", "kill_switch"),
        ("mode", "", '"observe_only"', "mode:observe_only"),
        ("service", "default", "true", "service:default"),
        ("tenant", "a", "true", "tenant:a"),
        ("queue", "default", "true", "queue:default"),
        ("kind", "noop", "true", "kind:noop"),
    ],
)
async def test_a_switch_is_named_with_who_set_it(scope: str, name: str, value: str, key: str) -> None:
    """Each switch that stops the job is there with its reason, who did it, and when it ends."""
    async with connected() as opened:
        await add_worker(opened)
        job = await add(opened, "a")
        change = "SELECT * FROM supervisor.change_switch($1, $2, $3, 'too hot', 'ann', expires_at => $4)"
        end = await opened.fetchval("SELECT clock_timestamp() + interval '1 h'")
        await opened.fetch(change, scope, name, value, end)
        found = (await why(opened, job))["switch"]
        assert (found["key"], found["detail"], found["until"]) == (key, "too hot, by ann", end)


@pytest.mark.parametrize(
    ("reason", "detail"), [("retry", "after attempt 1 of 3"), ("snoozed", "its handler wants it later")]
)
async def test_a_job_that_waits_for_its_time_says_which(reason: str, detail: str) -> None:
    """A retry and a snooze say when they are due."""
    async with connected() as opened:
        worker = await add_worker(opened)
        job = await add(opened)
        await hand_back(opened, [await claim_one(opened, worker)], reason, 60.0)
        found = (await why(opened, job))[reason]
        assert found["detail"] == detail
        assert timedelta(seconds=50) < found["until"] - await _now(opened) < timedelta(seconds=61)


async def test_a_future_job_says_when() -> None:
    """A job for later says so, and nothing else."""
    async with connected() as opened:
        job = await opened.fetchval("SELECT supervisor.enqueue('noop', run_at => clock_timestamp() + interval '1 h')")
        assert set(await why(opened, job)) == {"future"}


async def test_a_blocked_job_names_its_step() -> None:
    """A job that waits for a person says for which step."""
    async with connected() as opened:
        worker = await add_worker(opened)
        job = await add(opened)
        pair = await claim_one(opened, worker)
        await record(opened, [pair], "pay", done=False)
        await hand_back(opened, [pair], "blocked")
        assert (await why(opened, job))["blocked"]["key"] == "pay"


async def test_a_suspect_says_that_it_runs_apart() -> None:
    """A job that was lost with a worker says how often."""
    async with connected() as opened:
        job = await add(opened)
        await opened.execute("UPDATE supervisor.jobs SET losses = 2")
        assert "2 times" in (await why(opened, job))["suspect"]["detail"]


async def test_a_job_that_is_over_or_was_never_there_says_so() -> None:
    """An ended job names its end, and an unknown one is unknown."""
    async with connected() as opened:
        worker = await add_worker(opened)
        job = await add(opened)
        pair = await claim_one(opened, worker)
        assert (await why(opened, job))["running"]["key"] == str(worker)
        await complete(opened, [pair])
        assert (await why(opened, job))["over"]["key"] == "completed"
        assert set(await why(opened, job + 1)) == {"unknown"}
