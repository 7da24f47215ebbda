"""Enqueueing one job: what is in the database afterwards, and what the caller is told."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import asyncpg
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from supervisor.errors import EnqueueRefused
from supervisor.jobs.enqueued import Enqueued
from tests.jobs.mailing import Mail, anything, mailing, send, tidy
from tests.store.sql_session import session, together

if TYPE_CHECKING:
    from tests.store.sql_session import Connection

OPTIONS = {"queue": "slow", "priority": -5, "tenant": "acme", "max_attempts": 9, "unique_key": "mail-7"}


async def test_a_job_gets_what_its_kind_says() -> None:
    """A job without options has those of its kind, and may run at once."""
    async with mailing() as bench:
        made = await bench.client.enqueue(send, Mail(7))
        (row,) = await bench.ready()
        assert made == Enqueued(row["id"], created=True)
        assert (row["kind"], row["queue"], row["service"], row["max_attempts"]) == ("send", "mail", "post", 5)
        assert (row["timeout_s"], row["changes"], row["essential"]) == (12.5, False, True)
        assert (row["priority"], row["tenant"], row["unique_key"], row["trace_parent"]) == (0, None, None, None)
        assert json.loads(row["args"]) == {"to": 7, "text": "hello", "copies": []}
        assert row["run_at"] == row["created_at"]


async def test_options_win_over_the_kind() -> None:
    """What the caller says of a job stands in its row."""
    async with mailing() as bench:
        await bench.client.enqueue(send, Mail(7), **OPTIONS)  # type: ignore[call-overload]
        (row,) = await bench.ready()
        assert {name: row[name] for name in OPTIONS} == OPTIONS


async def test_a_job_that_nobody_offered_is_made_known_by_its_enqueue() -> None:
    """A program that has the job itself needs no worker to have been there before."""
    async with mailing(offered=False) as bench:
        await bench.client.enqueue(send, Mail(7))
        await bench.client.enqueue_many(tidy, [None, None])
        assert [row["kind"] for row in await bench.ready()] == ["tidy", "tidy", "send"]
        assert (await bench.ready())[-1]["service"] == "post"


async def test_what_workers_say_of_a_kind_wins() -> None:
    """An enqueue does not change a kind that is known, since the workers may be of another release."""
    async with mailing() as bench:
        await bench.sql.execute("UPDATE supervisor.job_kinds SET queue = 'elsewhere' WHERE kind = 'send'")
        await bench.client.enqueue(send, Mail(7))
        await bench.client.offer(send)
        assert [row["queue"] for row in await bench.ready()] == ["elsewhere"]


@pytest.mark.parametrize("args", [{"to": 7}, [1, 2.5, None, True], "text", 7, {"deep": [{"er": {}}]}])
async def test_a_kind_can_be_named(args: object) -> None:
    """A job of another program takes any JSON."""
    async with mailing() as bench:
        await bench.client.enqueue("send", args)  # type: ignore[call-overload]
        assert await bench.args() == [args]


async def test_a_job_without_arguments_stores_an_object() -> None:
    """No arguments are stored as an empty object, by the job and by its name alike."""
    async with mailing() as bench:
        await bench.client.enqueue(tidy)
        await bench.client.enqueue("tidy")
        await bench.client.enqueue_many("tidy", [None, None])
        assert await bench.args() == [{}, {}, {}, {}]


@pytest.mark.parametrize(
    "run_at",
    [
        3600,
        3600.5,
        datetime.now(UTC) + timedelta(hours=1),
        datetime.now(timezone(timedelta(hours=14))) + timedelta(days=1),
    ],
)
async def test_a_job_of_the_future_waits(run_at: datetime | float) -> None:
    """A delay, or a moment in any time zone, is when the job is due."""
    async with mailing() as bench:
        before = datetime.now(UTC)
        await bench.client.enqueue(send, Mail(7), run_at=run_at)
        await bench.client.enqueue_many(send, [Mail(8), Mail(9)], run_at=run_at)
        assert await bench.ready() == []
        rows = await bench.waiting()
        assert [row["reason"] for row in rows] == ["future"] * 3
        for row in rows:
            assert row["due_at"] == row["run_at"]
            if isinstance(run_at, datetime):
                assert row["due_at"] == run_at
            else:
                assert timedelta(0) <= row["due_at"] - before - timedelta(seconds=run_at) < timedelta(seconds=30)


@pytest.mark.parametrize(
    "run_at",
    [
        0,
        -1e9,
        float("-inf"),
        datetime.now(UTC) - timedelta(seconds=1),
        datetime(1970, 1, 1, tzinfo=timezone(timedelta(hours=14))),
        datetime.min.replace(tzinfo=timezone(timedelta(hours=14))),
    ],
)
async def test_what_is_past_is_due_now(run_at: datetime | float) -> None:
    """A moment that is over, however long, means at once, and behind what waits already."""
    async with mailing() as bench:
        for number in range(2):
            await bench.client.enqueue(send, Mail(number), run_at=run_at)
        await bench.client.enqueue_many(send, [Mail(2), Mail(3)], run_at=run_at)
        rows = await bench.ready()
        assert [json.loads(row["args"])["to"] for row in rows] == [0, 1, 2, 3]
        assert all(row["run_at"] == row["created_at"] for row in rows)


async def test_the_smaller_priority_comes_first() -> None:
    """Jobs are claimed by priority, and in the order of their enqueue where that is the same."""
    async with mailing() as bench:
        for number, priority in enumerate([0, 32767, -32768, 0]):
            await bench.client.enqueue(send, Mail(number), priority=priority)
        assert [json.loads(row["args"])["to"] for row in await bench.claim("send", "mail")] == [2, 0, 3, 1]


async def test_a_unique_key_has_one_live_job() -> None:
    """While a job with a key is live, another enqueue with it returns that one and writes nothing."""
    async with mailing() as bench:
        first = await bench.client.enqueue(send, Mail(1), unique_key="k" * 512)
        again = await bench.client.enqueue(anything, {"n": 2}, unique_key="k" * 512, run_at=60)
        assert again == Enqueued(first.id, created=False)
        assert await bench.args() == [{"to": 1, "text": "hello", "copies": []}]
        assert await bench.waiting() == []
        await bench.client.cancel(first.id)
        third = await bench.client.enqueue(send, Mail(3), unique_key="k" * 512)
        assert third.created
        assert third.id != first.id


async def test_many_callers_with_one_key_create_one_job() -> None:
    """However many enqueue with one key at once, one job is created and all get its id."""
    async with mailing() as bench:
        found: list[Enqueued] = []

        async def enqueue(opened: Connection) -> None:
            made = [await bench.client.enqueue(send, Mail(1), unique_key="one", conn=opened) for _ in range(5)]
            found.extend(made)

        await together(bench.dsn, 6, enqueue)
        assert len({made.id for made in found}) == 1
        assert sum(made.created for made in found) == 1
        assert len(await bench.ready()) == 1


@pytest.mark.parametrize("commit", [True, False])
async def test_a_job_in_a_transaction_is_there_if_that_commits(commit: bool) -> None:
    """A job that was enqueued on a connection is seen by nobody until its transaction commits, and else never."""
    async with mailing() as bench, session(bench.dsn) as conn:
        transaction = conn.transaction()
        await transaction.start()
        await conn.execute("CREATE TABLE ordered ()")
        await bench.client.enqueue(send, Mail(7), unique_key="a", conn=conn)
        await bench.client.enqueue(send, Mail(8), run_at=60, conn=conn)
        await bench.client.enqueue_many(send, [Mail(9)] * 300, conn=conn)
        assert await bench.count() == 0
        await (transaction.commit() if commit else transaction.rollback())
        assert len(await bench.ready()) == (301 if commit else 0)
        assert len(await bench.waiting()) == (1 if commit else 0)
        assert (await bench.client.enqueue(send, Mail(7), unique_key="a")).created is not commit


async def test_a_connection_may_turn_jsonb_into_objects() -> None:
    """A connection with a codec of its own for JSON stores the same as any other."""
    async with mailing() as bench, session(bench.dsn) as conn:
        for name in ("json", "jsonb"):
            await conn.set_type_codec(name, schema="pg_catalog", encoder=json.dumps, decoder=json.loads)
        await bench.client.enqueue(anything, {"a": 'ä\\"\n'}, conn=conn)
        await bench.client.enqueue_many(anything, [{"a": 'ä\\"\n'}] * 2, conn=conn)
        assert await bench.args() == [{"a": 'ä\\"\n'}] * 3


async def test_an_unknown_kind_does_not_end_the_callers_transaction() -> None:
    """A refusal for an unknown kind leaves the transaction of the caller as it was."""
    async with mailing() as bench, session(bench.dsn) as conn, conn.transaction():
        with pytest.raises(EnqueueRefused, match="no worker has ever offered"):
            await bench.client.enqueue("sned", conn=conn)
        with pytest.raises(EnqueueRefused, match="did you mean 'send'"):
            await bench.client.enqueue_many("sned", [None], conn=conn)
        assert await conn.fetchval("SELECT 1") == 1


async def test_a_snapshot_from_before_the_offer_is_named_as_the_cause() -> None:
    """In a transaction that cannot see a kind made known since it began, the error says what to do."""
    async with mailing(offered=False) as bench, session(bench.dsn) as conn:
        async with conn.transaction(isolation="repeatable_read"):
            await conn.fetch("SELECT 1")
            with pytest.raises(EnqueueRefused, match=r"client\.offer"):
                await bench.client.enqueue(send, Mail(7), conn=conn)
        await bench.client.enqueue(send, Mail(7), conn=conn)
        assert len(await bench.ready()) == 1


async def test_errors_of_the_callers_connection_stay_those_of_its_driver() -> None:
    """What has nothing to do with the job is not translated."""
    async with mailing() as bench, session(bench.dsn) as conn:
        transaction = conn.transaction()
        await transaction.start()
        with pytest.raises(asyncpg.DivisionByZeroError):
            await conn.fetch("SELECT 1 / 0")
        with pytest.raises(asyncpg.InFailedSQLTransactionError):
            await bench.client.enqueue(send, Mail(7), conn=conn)
        await transaction.rollback()


async def test_a_job_remembers_the_span_that_enqueued_it() -> None:
    """Within a span that is sampled the row holds a trace parent of that trace; outside it holds none."""
    async with mailing() as bench:
        span = TracerProvider().get_tracer("test").start_span("request")
        with trace.use_span(span, end_on_exit=True):
            await bench.client.enqueue(send, Mail(1))
            await bench.client.enqueue_many(send, [Mail(2)] * 2)
            await bench.client.enqueue_many(send, [Mail(3)] * 300)
        await bench.client.enqueue(send, Mail(4))
        found = [row["trace_parent"] for row in await bench.ready()]
        assert found.pop() is None
        assert len(found) == 303
        assert all(text.startswith(f"00-{span.get_span_context().trace_id:032x}-") for text in found)
