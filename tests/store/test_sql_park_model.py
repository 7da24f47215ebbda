"""Nothing is lost and nothing runs twice while jobs are parked, brought back, claimed, ended and cancelled."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.store.migration_folder import until
from tests.store.sql_parking import all_on, park, switch, unpark
from tests.store.sql_session import (
    add_worker,
    cancel,
    claim,
    claim_tenants,
    complete,
    count,
    hand_back,
    pairs_of,
    schema,
    session,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.store.sql_session import Connection, Pair

JOBS = 1500
PUT = """
SELECT id FROM supervisor.enqueue_many(
    array_fill('noop'::text, ARRAY[$1::integer]), array_fill('{}'::jsonb, ARRAY[$1::integer]),
    tenants => ARRAY(SELECT (ARRAY['a', 'b', NULL])[1 + number % 3] FROM generate_series(1, $1::integer) AS number),
    unique_keys => ARRAY(SELECT $2 || number FROM generate_series(1, $1::integer) AS number))"""
CHANGES = [
    "off_tenants = '{a}'",
    "off_tenants = '{a,b}', mode = 'safe_mode'",
    "off_tenants = '{}', mode = 'normal'",
    "off_services = '{default}'",
    "off_services = '{}'",
    "gated_tenants = '{b}'",
    "gated_tenants = '{}'",
    "off_kinds = '{noop}', gated_kinds = '{noop}'",
    "off_kinds = '{}', gated_kinds = '{}'",
]
TWICE = """
SELECT count(*) FROM (
    SELECT id FROM supervisor.jobs UNION ALL SELECT id FROM supervisor.jobs_waiting
    UNION ALL SELECT job_id FROM supervisor.job_history
) AS every GROUP BY id HAVING count(*) > 1"""


class Story:
    """What was done to jobs, and how each ended."""

    def __init__(self, dsn: str, seed: int) -> None:
        self.dsn = dsn
        self.chance = random.Random(seed)  # noqa: S311 - repeatable
        self.jobs: list[int] = []
        self.claimed: Counter[Pair] = Counter()
        self.ended: Counter[int] = Counter()
        self.cancelled: set[int] = set()
        self.lost: set[int] = set()  # by a worker that had claimed them
        self.over = False

    async def alone(self, work: Callable[[Connection], Awaitable[None]], least: int = 0) -> None:
        """Do the same again and again on a connection, at least so often, until all is over."""
        async with session(self.dsn) as opened:
            times = 0
            while not self.over or times < least:
                await work(opened)
                times += 1

    def worker(self, id_: int) -> Callable[[Connection], Awaitable[None]]:
        """Return what a worker does: claim some, end some, give some back."""

        async def work(opened: Connection) -> None:
            take = self.chance.randrange(1, 20)
            if self.chance.random() < 0.5:
                pairs = pairs_of(await claim(opened, id_, take))
            else:
                pairs = pairs_of(await claim_tenants(opened, id_, {"a": take, "b": take}))
            self.claimed.update(pairs)
            keep, back = pairs[::2], pairs[1::2]
            done = await complete(opened, keep)
            self.ended.update(done)
            if back:
                done |= await hand_back(opened, back, "interrupted", self.chance.choice([0.0, 0.001]))
            self.lost |= {job for job, _ in pairs} - done

        return work

    async def cancels(self, opened: Connection) -> None:
        """Cancel a few jobs, in whatever state they are."""
        gone = await cancel(opened, self.chance.sample(self.jobs, 2))
        self.ended.update([*gone])
        self.cancelled |= {*gone}
        await opened.execute("SELECT pg_sleep(0.01)")

    async def flips(self, opened: Connection) -> None:
        """Change the switches, without a word to anybody."""
        await switch(opened, self.chance.choice(CHANGES))
        await opened.execute("SELECT pg_sleep(0.005)")

    async def moves(self, opened: Connection) -> None:
        """Do what parkers do, on several hosts at once."""
        if self.chance.random() < 0.5:
            await park(opened, blocks=self.chance.choice([1, 8, 64]))
        else:
            await unpark(opened, self.chance.choice([1, 10, 300]))
        await opened.fetchval("SELECT supervisor.promote(50)")


@pytest.mark.parametrize("seed", [1, 2, pytest.param(3, marks=pytest.mark.soak)])
async def test_nothing_is_lost(seed: int) -> None:
    """Whatever is done at once, each job is somewhere once, only a cancel takes one away, and each ends once."""
    async with schema() as dsn, session(dsn) as opened:
        story = Story(dsn, seed)
        workers = [await add_worker(opened) for _ in range(2)]
        async with asyncio.TaskGroup() as group:
            for worker in workers:
                group.create_task(story.alone(story.worker(worker)))
            for number in range(3):
                story.jobs += [row["id"] for row in await opened.fetch(PUT, JOBS // 3, f"{number}-")]
                if not number:
                    for work in (story.cancels, story.flips, story.moves, story.moves):
                        group.create_task(story.alone(work, least=20))
                for _ in range(20):
                    assert await opened.fetch(TWICE) == []
            story.over = True
        await all_on(opened)
        while (await unpark(opened))[1]:
            pass
        assert await count(opened, "jobs_waiting WHERE line IS NOT NULL") == 0
        await until(opened, "NOT EXISTS (SELECT FROM supervisor.jobs_waiting WHERE due_at > clock_timestamp())")
        while await opened.fetchval("SELECT supervisor.promote(1000)"):
            pass
        while rows := await claim(opened, workers[0], 100) + await claim_tenants(
            opened, workers[0], {"a": 100, "b": 100}
        ):
            story.claimed.update(pairs_of(rows))
            for job in await complete(opened, pairs_of(rows)):
                story.ended[job] += 1
        assert set(story.claimed.values()) == {1}
        assert story.lost <= story.cancelled
        assert story.ended == dict.fromkeys(story.jobs, 1)
        assert await count(opened, "job_history") == JOBS
        assert await count(opened, "jobs") == await count(opened, "job_keys") == 0
