"""The statements on figures and settings give what the functions do, with types."""

from __future__ import annotations

import datetime as dt
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from supervisor.errors import MigrationError, StatementRefused
from supervisor.store import figures, queue_settings
from supervisor.store.figures import PARTS
from supervisor.store.link import connect
from supervisor.store.migrate import up
from supervisor.store.queue_settings import QueueSettings
from tests.store.sql_session import add_worker, claim, complete, enqueue, finish, pairs_of, schema, session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from supervisor.store.link import Link
    from tests.store.sql_session import Connection


@asynccontextmanager
async def linked() -> AsyncIterator[tuple[Link, Connection]]:
    """Give a link, and a connection beside it, to a database with some jobs, of which some have ended."""
    async with schema() as dsn, session(dsn) as opened:
        worker = await add_worker(opened)
        await enqueue(opened, 9)
        pairs = pairs_of(await claim(opened, worker, 6))
        await complete(opened, pairs[:3])
        await finish(opened, pairs[3:4], "failed", "KeyError: 'x'")
        link = await connect(dsn)
        try:
            yield link, opened
        finally:
            await link.close()


async def test_figures_can_be_read() -> None:
    """What was measured is there with its age, and before that there is nothing."""
    async with linked() as (link, _):
        assert await figures.queues(link) == []
        assert await figures.ages(link) == {}
        assert [await figures.survey(link, part, 5.0) for part in PARTS] == [True] * len(PARTS)
        assert not await figures.survey(link, "queues", 5.0)
        (queue,) = await figures.queues(link)
        assert (queue.ready, queue.running, queue.depth, queue.max_depth) == (3, 2, 3, None)
        (kind,) = await figures.kinds(link)
        assert (kind.kind, kind.runs, kind.failed_24h) == ("noop", 3, 1)
        assert kind.p95 is not None
        assert (await figures.fleet(link))["workers", "RUNNING"] == 1
        assert (await figures.ages(link)).keys() == set(PARTS)


async def test_the_reliability_of_some_days() -> None:
    """The days are those asked for, with the success rate and the reasons of failures."""
    async with linked() as (link, opened):
        await figures.survey(link, "days", 0)
        await opened.execute(
            "INSERT INTO supervisor.day_figures "
            "SELECT day - ago, 5, 5, 0, 0, 0, NULL, NULL, 1, true, now() "
            "FROM supervisor.day_figures, unnest('{1, 6, 7}'::integer[]) AS ago"
        )
        found = await figures.reliability(link, 7)
        today = dt.datetime.now(dt.UTC).date()
        assert [(today - day.day).days for day in found.days] == [6, 1, 0]
        assert [day.success_rate for day in found.days] == [0.5, 0.5, 0.75]
        assert found.success_rate == pytest.approx(13 / 24)
        assert [(reason.kind, reason.reason, reason.count) for reason in found.reasons] == [("noop", "KeyError", 1)]
        assert (await figures.reliability(link, 0)).success_rate is None


async def test_slow_jobs_can_be_listed() -> None:
    """A run that was put down is listed while it is under way."""
    async with linked() as (link, opened):
        (row, *_) = await opened.fetch("SELECT id, lock_version FROM supervisor.jobs WHERE claimed_by IS NOT NULL")
        assert await figures.note_slow(link, []) == 0
        assert await figures.note_slow(link, [(row["id"], row["lock_version"], 2.0)]) == 1
        (slow,) = await figures.slow_jobs(link)
        assert (slow.id, slow.kind, slow.expected) == (row["id"], "noop", 2.0)


async def test_settings_can_be_changed() -> None:
    """A setting is changed, listed, and refused with what is wrong about it."""
    async with linked() as (link, _):
        wanted = QueueSettings(queue="default", max_depth=100, escalate_after=60.0, escalate_by=2, escalate_to=-5)
        made = await queue_settings.change(link, wanted, actor="ann", reason="why")
        assert made.changed
        assert made.before is None
        assert made.after == {"max_depth": 100, "escalate_after_s": 60, "escalate_by": 2, "escalate_to": -5}
        assert await queue_settings.read(link) == [wanted]
        assert await figures.escalate(link, 10) == {}
        with pytest.raises(StatementRefused, match="max_depth = 0"):
            await queue_settings.change(link, QueueSettings(queue="a", max_depth=0), actor="ann", reason="why")


async def test_a_failed_migration_is_on_record(tmp_path: Path) -> None:
    """A migration that failed is counted with what went wrong, though nothing else of it is kept."""
    (tmp_path / "001_fine.sql").write_text("SELECT 1", encoding="utf-8")
    (tmp_path / "002_wrong.sql").write_text("SELECT 1/0", encoding="utf-8")
    async with schema() as dsn, session(dsn) as opened:
        await opened.execute("DELETE FROM supervisor.schema_migrations")
        with pytest.raises(MigrationError, match="division by zero"):
            await up(dsn, folder=tmp_path)
        (row,) = await opened.fetch("SELECT version, name, problem FROM supervisor.migration_failures")
        assert (row["version"], row["name"]) == (2, "wrong")
        assert "division by zero" in row["problem"]
        assert await opened.fetchval("SELECT value FROM supervisor.fleet_now() WHERE name = 'migration_failures'") == 1
