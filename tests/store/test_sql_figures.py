"""Figures: what is measured is right, bounded in what it reads, and measured by one host at a time."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import asyncpg
import pytest

from tests.store.sql_session import (
    add_kind,
    add_worker,
    cancel,
    claim,
    complete,
    connected,
    enqueue,
    finish,
    hand_back,
    pairs_of,
    schema,
    session,
)

if TYPE_CHECKING:
    from asyncpg import Record

    from tests.store.sql_session import Connection

ENDED = """
INSERT INTO supervisor.job_history (job_id, kind, queue, args, status, claimed_at, finished_at, last_error)
SELECT -number, $2, 'bulk', '{}', $3, clock_timestamp() - make_interval(secs => 60 + number % 10),
       clock_timestamp() - interval '60 s', $4
FROM generate_series(1, $1::integer) AS number"""
PARTS = ["queues", "kinds", "fleet", "limits", "days"]


async def survey(opened: Connection, part: str, every: float = 0.0) -> bool:
    """Measure one part."""
    return bool(await opened.fetchval("SELECT supervisor.survey($1, $2)", part, every))


async def queue(opened: Connection, name: str = "default") -> Record:
    """Measure the queues, and return the figures of one."""
    assert await survey(opened, "queues")
    found = await opened.fetchrow("SELECT * FROM supervisor.queue_health WHERE queue = $1", name)
    assert found is not None
    return found


async def fleet(opened: Connection) -> dict[tuple[str, str], float]:
    """Measure the fleet, and return its numbers."""
    assert await survey(opened, "fleet")
    rows = await opened.fetch("SELECT name, label, value FROM supervisor.fleet_figures")
    return {(row["name"], row["label"]): row["value"] for row in rows}


async def test_every_job_is_counted_where_it_is() -> None:
    """Each live job counts once in its queue, by what it waits for, and the depth is what could run."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await enqueue(opened, 20)
        pairs = pairs_of(await claim(opened, worker, 10))
        await complete(opened, pairs[:2])
        await finish(opened, pairs[2:3], "failed")
        await hand_back(opened, pairs[3:5], "retry", 60.0)
        await hand_back(opened, pairs[5:6], "snoozed", 60.0)
        await hand_back(opened, pairs[6:7], "blocked")
        await opened.execute("UPDATE supervisor.jobs SET losses = 1 WHERE id = 20")
        await opened.execute("UPDATE supervisor.jobs SET run_at = now() - interval '50 s' WHERE id = 19")
        await opened.execute(
            "WITH gone AS (DELETE FROM supervisor.jobs WHERE id IN (17, 18) RETURNING *) "
            "INSERT INTO supervisor.jobs_waiting SELECT *, CASE id WHEN 17 THEN 'paused' ELSE 'limited' END, "
            "'infinity', 'line' FROM gone"
        )
        row = await queue(opened)
        assert (row["ready"], row["running"], row["suspects"]) == (7, 3, 1)
        assert (row["retrying"], row["delayed"], row["blocked"], row["paused"], row["limited"]) == (2, 1, 1, 1, 1)
        assert row["depth"] == 10
        assert (row["completed_1h"], row["failed_1h"]) == (2, 1)
        assert 50 <= row["oldest_ready_s"] < 80
        assert row["sampled"] == 1
        assert 0 <= row["age_s"] < 30


async def test_a_queue_is_shown_as_long_as_it_is_known() -> None:
    """A queue without jobs is shown with zeros while a kind names it, and not any more after that."""
    async with connected() as opened:
        row = await queue(opened)
        assert (row["depth"], row["oldest_ready_s"]) == (0, None)
        await opened.execute("DELETE FROM supervisor.job_kinds")
        assert await survey(opened, "queues")
        assert await opened.fetch("SELECT FROM supervisor.queue_figures") == []


async def test_a_large_table_is_told_from_a_part_of_it() -> None:
    """Beyond so many pages some are read, and the numbers are right within some percent."""
    async with connected() as opened:
        await enqueue(opened, 30_000)
        await opened.execute("INSERT INTO supervisor.job_kinds VALUES ('rare', 'rare', 'rare', 3, 300, true, false)")
        await enqueue(opened, 7, kind="rare")
        await opened.execute("UPDATE supervisor.jobs SET tenant = 't' WHERE kind = 'rare' AND id % 2 = 0")
        await opened.execute("UPDATE supervisor.jobs SET losses = 1 WHERE id = (SELECT max(id) FROM supervisor.jobs)")
        await opened.execute("ANALYZE supervisor.jobs")
        rows = await opened.fetch("SELECT * FROM supervisor.count_live(300)")
        found = {(row["queue"], row["state"]): row for row in rows}
        assert found.keys() == {("default", "ready"), ("rare", "ready"), ("rare", "suspect")}
        assert found["default", "ready"]["sampled"] < 0.5
        assert abs(found["default", "ready"]["jobs"] - 30_000) < 6_000
        # A queue with few jobs is counted.
        assert (found["rare", "ready"]["jobs"], found["rare", "ready"]["sampled"]) == (6, 1)
        assert found["rare", "suspect"]["jobs"] == 1


async def test_a_few_jobs_in_many_pages_are_counted() -> None:
    """A table that was full and has few rows left is read by its index, so that these are not told from a part."""
    async with connected() as opened:
        await enqueue(opened, 10_000)
        await opened.execute("DELETE FROM supervisor.jobs WHERE id % 1000 <> 0")
        await opened.execute("ANALYZE supervisor.jobs")
        (row,) = await opened.fetch("SELECT * FROM supervisor.count_live(100)")
        assert (row["jobs"], row["sampled"]) == (10, 1)


@pytest.mark.parametrize("part", PARTS)
async def test_nobody_measures_what_is_fresh(part: str) -> None:
    """A part is measured again only after its time, or after fifty times as long as it took."""
    async with connected() as opened:
        assert await survey(opened, part)
        assert not await survey(opened, part, 60.0)
        await opened.execute("UPDATE supervisor.surveys SET measured_at = measured_at - interval '61 s'")
        assert await survey(opened, part, 60.0)
        await opened.execute("UPDATE supervisor.surveys SET took_s = 10, measured_at = measured_at - interval '61 s'")
        assert not await survey(opened, part, 60.0)
        await opened.execute("UPDATE supervisor.surveys SET measured_at = now() + interval '1 day'")
        assert await survey(opened, part, 60.0)  # a clock was set back


async def test_one_host_measures_at_a_time() -> None:
    """While somebody measures a part, others are told at once that there is nothing to do."""
    async with schema() as dsn, session(dsn) as one, session(dsn) as other:
        async with one.transaction():
            assert await survey(one, "queues")
            assert not await survey(other, "queues")
            assert await survey(other, "kinds")
        assert await survey(other, "queues")


async def test_an_unknown_part_is_refused() -> None:
    """A part that there is not is named in the error, with those that there are."""
    async with connected() as opened:
        with pytest.raises(asyncpg.InvalidParameterValueError, match="part = x") as caught:
            await survey(opened, "x")
        assert caught.value.hint == "queues, kinds, fleet, limits or days"


async def test_a_kind_knows_what_it_usually_takes() -> None:
    """The quantiles are those of what was completed within a day, and failures are counted beside them."""
    async with connected() as opened:
        await opened.execute(ENDED, 1000, "mail", "completed", None)
        await opened.execute(ENDED, 3, "mail", "failed", "ValueError: no")
        await opened.execute(ENDED, 2, "bad", "failed", "ValueError: no")
        assert await survey(opened, "kinds")
        bad, mail = await opened.fetch("SELECT * FROM supervisor.kind_figures ORDER BY kind")
        assert (mail["runs"], mail["failed_24h"]) == (1000, 3)
        assert mail["p50_s"] == pytest.approx(4.5, abs=0.6)
        assert mail["p95_s"] == pytest.approx(9.0, abs=0.6)
        assert (bad["p50_s"], bad["runs"], bad["failed_24h"]) == (None, 0, 2)


async def test_what_is_known_of_a_seldom_kind_stays_for_a_day() -> None:
    """A kind that the sample misses keeps its quantiles, until they are a day old."""
    async with connected() as opened:
        await opened.execute(
            "INSERT INTO supervisor.kind_figures VALUES ('new', 1, 2, 30, 0, now()), "
            "('old', 1, 2, 30, 0, now() - interval '25 h')"
        )
        assert await survey(opened, "kinds")
        assert [row["kind"] for row in await opened.fetch("SELECT kind FROM supervisor.kind_figures")] == ["new"]


async def test_a_day_is_told_with_its_reasons() -> None:
    """A day shows what ended how, and why jobs failed by the names of their errors, never by their texts."""
    async with connected() as opened:
        worker = await add_worker(opened)
        ids = await enqueue(opened, 12)
        pairs = pairs_of(await claim(opened, worker, 10))
        await complete(opened, pairs[:4])
        await finish(opened, pairs[4:6], "failed", "shop.PaymentError: card 4111 refused")
        await finish(opened, pairs[6:7], "failed", "the secret is 4111: really")
        await finish(opened, pairs[7:8], "failed")
        await finish(opened, pairs[8:9], "discarded", "pointless")
        await finish(opened, pairs[9:10], "quarantined", "died")
        await cancel(opened, ids[10:])
        assert await survey(opened, "days")
        day = await opened.fetchrow("SELECT * FROM supervisor.day_figures ORDER BY day DESC LIMIT 1")
        assert day is not None
        assert (day["completed"], day["failed"], day["quarantined"]) == (4, 4, 1)
        assert (day["discarded"], day["cancelled"], day["sampled"], day["final"]) == (1, 2, 1, False)
        reasons = await opened.fetch("SELECT reason, count, last_job FROM supervisor.failure_figures ORDER BY reason")
        assert [tuple(row) for row in reasons] == [
            ("its worker died", 1, 10),
            ("no error was given", 1, 8),
            ("other", 1, 7),
            ("shop.PaymentError", 2, 6),
        ]


async def test_a_past_day_is_measured_once() -> None:
    """Days that are over are measured one after the other, the newest first, and then stay as they are."""
    async with connected() as opened:
        await opened.execute("SET timezone = 'UTC'")
        for ago in (1, 2):
            await opened.execute(
                f"CREATE TABLE supervisor.job_history_{dt.datetime.now(dt.UTC) - dt.timedelta(days=ago):%Y%m%d} "
                "PARTITION OF supervisor.job_history "
                f"FOR VALUES FROM (current_date - {ago}) TO (current_date - {ago - 1})"
            )
        known = "SELECT day - current_date FROM supervisor.day_figures ORDER BY day"
        for expected in ([-1, 0], [-2, -1, 0], [-2, -1, 0]):
            assert await survey(opened, "days")
            assert [row[0] for row in await opened.fetch(known)] == expected
        assert [row[0] for row in await opened.fetch("SELECT final FROM supervisor.day_figures ORDER BY day")] == [
            True,
            True,
            False,
        ]


async def test_the_fleet_is_counted_by_what_it_does() -> None:
    """Workers count by status, and those that are silent, hang, or run another version stand out."""
    async with connected() as opened:
        ids = [await add_worker(opened) for _ in range(5)]
        change = "UPDATE supervisor.workers SET {} WHERE id = $1"
        await opened.execute(change.format("version = 'v2'"), ids[0])
        await opened.execute(change.format("lease_expires_at = now() - interval '1 s'"), ids[1])
        hung = "status = 'STOPPING', last_heartbeat_at = now() - interval '61 s'"
        await opened.execute(change.format(hung), ids[2])
        lost = "status = 'LOST', started_at = now() - interval '2 h', stopped_at = now()"
        await opened.execute(change.format(lost), ids[3])
        found = await fleet(opened)
        assert (found["workers", "RUNNING"], found["workers", "STOPPING"], found["workers", "STARTING"]) == (3, 1, 0)
        assert (found["workers_stale", ""], found["workers_stopping_hung", ""]) == (1, 1)
        assert (found["worker_versions", ""], found["singletons_doubled", ""]) == (2, 0)
        assert (found["worker_starts_1h", ""], found["workers_lost_24h", ""]) == (4, 1)
        assert 61 <= found["heartbeat_age_seconds", ""] < 90


async def test_the_fleet_knows_its_switches() -> None:
    """The mode, the kill switch and the number of what is off are shown as they stand."""
    async with connected() as opened:
        await opened.execute(
            "UPDATE supervisor.control SET killed = true, mode = 'safe_mode', off_services = '{a,b}', off_kinds = '{k}'"
        )
        found = await fleet(opened)
        assert found["kill_switch_active", ""] == 1
        assert [found["mode", mode] for mode in ("normal", "observe_only", "safe_mode")] == [0, 0, 1]
        assert [found["switched_off", scope] for scope in ("service", "tenant", "queue", "kind")] == [2, 0, 0, 1]


async def test_the_audit_log_is_counted_on_and_on() -> None:
    """Changes and refusals are counted once each, and the time that the kill switch was on goes on while it is."""
    async with connected() as opened:
        write = "SELECT supervisor.write_audit($1, 'kill_switch', NULL, 'ann', 'why', accepted => {})"
        await opened.execute(write.format("true"), "activate_kill_switch")
        await opened.execute(write.format("false"), "deactivate_kill_switch")
        first = await fleet(opened)
        assert (first["kill_switch_activations", ""], first["control_refusals", ""]) == (1, 1)
        assert first["kill_switch_active_seconds", ""] > 0
        second = await fleet(opened)
        assert second["kill_switch_active_seconds", ""] > first["kill_switch_active_seconds", ""]
        await opened.execute(write.format("true"), "deactivate_kill_switch")
        third, fourth = await fleet(opened), await fleet(opened)
        assert third["kill_switch_active_seconds", ""] == fourth["kill_switch_active_seconds", ""]
        assert third["control_changes", "deactivate_kill_switch"] == 1


async def test_a_kind_of_another_queue_makes_it_known() -> None:
    """The figures have a row for each queue that any kind uses."""
    async with connected() as opened:
        await add_kind(opened, "other")
        await opened.execute("UPDATE supervisor.job_kinds SET queue = 'second' WHERE kind = 'other'")
        assert (await queue(opened, "second"))["ready"] == 0


async def test_a_limit_shows_how_much_of_it_is_used() -> None:
    """Each limit shows the used part of its fullest key, and what its permits came to over all keys."""
    async with connected() as opened:
        await opened.execute(
            "INSERT INTO supervisor.limits (name, form, place, amount) VALUES ('daily', 'concurrency', 'start', 10)"
        )
        assert await survey(opened, "limits")
        rows = await opened.fetch("SELECT name, label, value FROM supervisor.fleet_figures ORDER BY name")
        assert [tuple(row) for row in rows if row["name"] != "limit_used_ratio"] == [
            (name, "daily", 0.0) for name in ("limit_granted", "limit_held_back", "limit_shadowed")
        ]
        assert await fleet(opened)
        assert await opened.fetchval("SELECT count(*) FROM supervisor.fleet_figures WHERE label = 'daily'") >= 3
