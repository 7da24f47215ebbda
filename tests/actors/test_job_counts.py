"""Jobs that run are counted, each once, by what became of them."""

from __future__ import annotations

from supervisor.jobs.job import job
from supervisor.jobs.outcomes import Discard, Retry, Snooze
from supervisor.telemetry.job_tallies import CLAIM, CLAIMED, DURATION, ENDED, FENCED, WAIT
from tests.actors.engine import engine, job_database
from tests.actors.parts import until

QUEUE = "counted"
RELEASE = """
    UPDATE supervisor.jobs
    SET claimed_by = NULL, claimed_at = NULL, deadline_at = NULL, lock_version = lock_version + 1,
        run_at = clock_timestamp() + interval '1 h', queue = 'elsewhere'
    WHERE kind = 'stolen'
"""


async def test_what_became_of_jobs_is_counted() -> None:
    """Claims and ends are counted by queue, kind and outcome, and the times of as many are known."""

    @job(queue=QUEUE)
    async def mixed(args: int) -> None:
        match args:
            case 1:
                raise Discard("pointless")
            case 2:
                raise Snooze(60.0)
            case 3:
                raise Retry(60.0)
            case 4:
                raise ValueError(args)

    async with job_database() as dsn, engine(dsn, [mixed]) as one:
        await one.enqueue("mixed", *([0] * 50), 1, 2, 3, 4, queue=QUEUE, max_attempts=1)
        one.wakes.note(QUEUE)
        await until(lambda: sum(count for place, count in ENDED.counts().items() if place[0] == QUEUE) >= 54)
        await one.written()
    assert CLAIMED.counts()[QUEUE, "mixed"] == 54
    assert {place[2]: count for place, count in ENDED.counts().items() if place[0] == QUEUE} == {
        "completed": 50,
        "discarded": 1,
        "snoozed": 1,
        "failed": 2,
    }
    assert DURATION.spreads()[QUEUE, "mixed"].count == 54
    assert WAIT.spreads()[QUEUE,].count == 54
    assert WAIT.spreads()[QUEUE,].total >= 0
    assert CLAIM.spreads()[QUEUE,].count >= 1


async def test_what_is_refused_is_counted_apart() -> None:
    """A run whose job was taken from it counts as fenced, and not as ended."""

    @job(queue=QUEUE)
    async def stolen() -> None:
        await one.fetch(RELEASE)

    async with job_database() as dsn, engine(dsn, [stolen]) as one:
        await one.enqueue("stolen", queue=QUEUE)
        one.wakes.note(QUEUE)
        await until(lambda: FENCED.counts().get((QUEUE, "stolen")))
        await one.written()
    assert FENCED.counts()[QUEUE, "stolen"] == 1
    assert (QUEUE, "stolen", "completed") not in ENDED.counts()
