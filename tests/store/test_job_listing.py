"""The list of jobs: the newest first, and found without reading all there is."""

from __future__ import annotations

from datetime import timedelta

import pytest

from supervisor.store import job_listing
from supervisor.store.job_listing import JobFilter
from supervisor.store.link import Link, connect
from tests.store.sql_session import add_worker, claim, complete, enqueue, finish, pairs_of, schema, session

MANY = 20_000


async def fill(link: Link, day: int, count: int, *, kind: str = "noop", first: int = 1) -> None:
    """Write so many completed jobs of a past day into the history, in the order in which they ended."""
    await link.fetch(
        "INSERT INTO supervisor.job_history (job_id, kind, queue, service, args, status, finished_at) "
        "SELECT number, $1, 'default', 'default', '{}', 'completed', "
        "date_trunc('day', clock_timestamp()) - make_interval(days => $2) + make_interval(secs => number * 0.0001) "
        "FROM generate_series($3::bigint, $3::bigint + $4::bigint - 1) AS number",
        kind,
        day,
        first,
        count,
    )


async def make_day(link: Link, day: int) -> None:
    """Make the partition of a past day."""
    await link.execute(
        f"""DO $$ DECLARE day date := (clock_timestamp() AT TIME ZONE 'UTC')::date - {day}; BEGIN
            EXECUTE format(
                $sql$CREATE TABLE supervisor.%I PARTITION OF supervisor.job_history FOR VALUES FROM (%L) TO (%L)$sql$,
                'job_history_' || to_char(day, 'YYYYMMDD'), day::timestamp AT TIME ZONE 'UTC',
                (day + 1)::timestamp AT TIME ZONE 'UTC'); END $$"""
    )


async def test_the_newest_completed_jobs_come_from_the_last_pages() -> None:
    """Of a long day the last to end are found, and only its last pages are read."""
    async with schema() as dsn:
        link = await connect(dsn)
        await fill(link, 0, MANY)
        found = await job_listing.listed(link, JobFilter(statuses=frozenset({"completed"})), 5)
        assert [job.id for job in found] == list(range(MANY, MANY - 5, -1))
        plan = await link.fetch(
            "EXPLAIN (ANALYZE, BUFFERS) " + job_listing._COMPLETED.replace("$1", "NULL")
            .replace("$2", "NULL").replace("$3", "NULL").replace("$4", "'2000-01-01'::timestamptz")
            .replace("$5", "5").replace("$6", "'2000-01-01'::timestamptz").replace("$7", "'2999-01-01'::timestamptz")
            .replace("$8", "200").replace("$9", "300")
        )  # fmt: skip
        text = "\n".join(row[0] for row in plan)
        assert "Tid Range Scan" in text
        assert "Seq Scan on job_history" not in text
        await link.close()


async def test_a_rare_kind_is_found_far_back() -> None:
    """What the last pages do not have is looked for before them, through all the days, and past none twice."""
    async with schema() as dsn:
        link = await connect(dsn)
        await make_day(link, 3)
        await fill(link, 3, 2, kind="rare", first=1)
        await fill(link, 3, MANY, first=10)
        await fill(link, 0, 1, kind="rare", first=MANY + 10)
        await fill(link, 0, MANY, first=MANY + 20)
        await fill(link, 9, 1, kind="rare", first=5)  # no partition was made for that day
        completed = JobFilter(statuses=frozenset({"completed"}), kind="rare")
        assert [job.id for job in await job_listing.listed(link, completed, 10)] == [MANY + 10, 2, 1, 5]
        now = await job_listing.now(link)
        recent = JobFilter(kind="rare", since=now - timedelta(days=1))
        assert [job.id for job in await job_listing.listed(link, recent, 10)] == [MANY + 10]
        await link.close()


@pytest.mark.parametrize("most", [1, 3, 100])
async def test_all_states_are_merged_by_their_latest_news(most: int) -> None:
    """The order is that in which something happened last, whatever the state, and the limit holds for all together."""
    async with schema() as dsn, session(dsn) as opened:
        link = await connect(dsn)
        worker = await add_worker(opened)
        await enqueue(opened, 4)
        pairs = pairs_of(await claim(opened, worker, 3))
        await enqueue(opened, 1)
        await finish(opened, pairs[:1], "failed", "x" * 5000)
        await complete(opened, pairs[1:2])
        found = await job_listing.listed(link, JobFilter(), most)
        assert [(job.id, job.status) for job in found] == [
            (2, "completed"),
            (1, "failed"),
            (5, "pending"),
            (3, "running"),
            (4, "pending"),
        ][:most]
        if most > 1:
            assert len(found[1].last_error or "") == 300
        await link.close()


async def test_ids_of_failed_jobs_come_in_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """All are found, in the order of their ends, also those that ended at the same moment."""
    monkeypatch.setattr(job_listing, "_PAGE", 2)
    async with schema() as dsn, session(dsn) as opened:
        link = await connect(dsn)
        worker = await add_worker(opened)
        await enqueue(opened, 5)
        await finish(opened, pairs_of(await claim(opened, worker, 5)), "failed")
        await opened.execute("UPDATE supervisor.job_history SET finished_at = now()")
        until = await job_listing.now(link)
        pages = [ids async for ids in job_listing.failed_ids(link, kind=None, since=None, until=until)]
        assert pages == [[1, 2], [3, 4], [5]]
        await link.close()
