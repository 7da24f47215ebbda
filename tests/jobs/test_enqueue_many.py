"""Enqueueing many jobs: order, all or nothing, chunks, and rows that do not tell how they came in."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from typing import TYPE_CHECKING, Any, Final

import pytest

from supervisor.errors import EnqueueRefused, InvalidPayload
from supervisor.jobs import enqueuer
from supervisor.jobs.bulk import CHUNK
from tests.jobs.mailing import Mail, anything, mailing, send, tidy
from tests.store.sql_session import add_worker, session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from asyncpg import Record

TRICKY: Final = [
    "",
    "plain",
    "tab\tnewline\nreturn\r",
    'quotes " and \\ backslash',
    "\\N",
    "\\.",
    "ä€𝄞\u2028\x7f",
    "\\u0041",
    "a,b;c\x01",
]
SAME_AS: Final = {"queue": "a\\b", "priority": -7, "tenant": "t\\n", "max_attempts": 4}


def mails(count: int) -> list[Mail]:
    """Make arguments that differ in length and in what has to be escaped."""
    return [Mail(number, TRICKY[number % len(TRICKY)] * (number % 3)) for number in range(count)]


async def stream(items: list[Mail]) -> AsyncIterator[Mail]:
    """Give the items one by one."""
    for item in items:
        yield item


def columns(rows: list[Record]) -> list[dict[str, Any]]:
    """Return all columns but the id; of the times only whether they are the same, and the same as in the first row."""
    found = []
    for row in rows:
        columns = dict(row)
        columns.pop("id")
        created, run_at = columns.pop("created_at"), columns.pop("run_at")
        found.append(columns | {"now": created == run_at, "together": created == rows[0]["created_at"]})
    return found


@pytest.mark.parametrize("options", [{}, SAME_AS], ids=["defaults", "options"])
async def test_a_row_does_not_tell_how_it_came_in(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that came by COPY has in every column what one has that the function made."""
    count = 2 * enqueuer.COPY_FROM
    async with mailing() as bench:
        copied = await bench.client.enqueue_many(send, mails(count), **options)
        by_copy = columns(await bench.ready())
        await bench.sql.execute("TRUNCATE supervisor.jobs")
        monkeypatch.setattr(enqueuer, "COPY_FROM", count + 1)
        made = await bench.client.enqueue_many(send, mails(count), **options)
        by_function = columns(await bench.ready())
        assert by_copy == by_function
        assert [json.loads(row["args"])["to"] for row in by_copy] == list(range(count))
        assert list(copied.ids) == list(range(1, count + 1))
        assert list(made.ids) == list(range(count + 1, 2 * count + 1))


async def test_the_order_is_kept() -> None:
    """Ten thousand jobs, some by COPY and some with keys or one by one, are claimed in the order of their enqueue."""
    async with mailing() as bench:
        rng, at = random.Random(7), 0  # noqa: S311 - no secret
        while at < CHUNK:
            size = min(rng.choice([1, 1, 7, 99, 100, 950]), CHUNK - at)
            some = mails(CHUNK)[at : at + size]
            match rng.choice(["one", "list", "keyed", "stream"]):
                case "one":
                    some = some[:1]
                    await bench.client.enqueue(send, some[0])
                case "list":
                    await bench.client.enqueue_many(send, some)
                case "keyed":
                    await bench.client.enqueue_many(send, some, unique_key=lambda mail: f"k{mail.to}")
                case _:
                    await bench.client.enqueue_many(send, stream(some))
            at += len(some)
        claimed = []
        while rows := await bench.claim("send", "mail"):
            claimed += [json.loads(row["args"])["to"] for row in rows]
        assert claimed == list(range(CHUNK))


@pytest.mark.parametrize("kind", ["list", "tuple", "set", "generator", "async generator"])
async def test_anything_can_be_enqueued_that_can_be_iterated(kind: str) -> None:
    """Collections and streams are enqueued whatever their type."""
    async with mailing() as bench:
        items = mails(5)
        match kind:
            case "set":
                made = await bench.client.enqueue_many("anything", frozenset({"a", "b", "c", "d", "e"}))
            case "generator":
                made = await bench.client.enqueue_many(send, (item for item in items))
            case "async generator":
                made = await bench.client.enqueue_many(send, stream(items))
            case "tuple":
                made = await bench.client.enqueue_many(send, tuple(items))
            case _:
                made = await bench.client.enqueue_many(send, items)
        assert (made.count, made.created) == (5, 5)
        assert [row["id"] for row in await bench.ready()] == list(made.ids)


@pytest.mark.parametrize("empty", [[], (), iter(())])
async def test_none_is_not_an_error(empty: Iterator[Mail]) -> None:
    """No arguments are no jobs."""
    async with mailing() as bench:
        made = await bench.client.enqueue_many(send, empty)
        assert (made.count, made.created, list(made.ids)) == (0, 0, [])


async def test_keys_of_a_batch_stand_for_the_first_of_each() -> None:
    """Within a batch, and beside what is live, each key has one job; the ids say which."""
    async with mailing() as bench:
        live = await bench.client.enqueue(send, Mail(0), unique_key="0")
        made = await bench.client.enqueue_many(
            send, [Mail(number) for number in (0, 1, 2, 1, 0)], unique_key=lambda mail: str(mail.to)
        )
        assert (made.count, made.created) == (5, 2)
        ids = list(made.ids)
        assert ids[0] == ids[4] == live.id
        assert ids[1] == ids[3] != ids[2]
        assert [json.loads(row["args"])["to"] for row in await bench.ready()] == [0, 1, 2]


@pytest.mark.parametrize("size", [3, CHUNK + 2])
async def test_a_collection_is_checked_before_anything_is_written(size: int) -> None:
    """A collection with one wrong item, even the last, is refused as a whole, with the place."""
    async with mailing() as bench:
        items: list[Any] = [*mails(size - 1), Mail("x")]  # type: ignore[arg-type]
        with pytest.raises(InvalidPayload) as refused:
            await bench.client.enqueue_many(send, items)
        assert refused.value.path == f"args[{size - 1}].to"
        with pytest.raises(EnqueueRefused, match=rf"args\[{size - 1}\]: .*unique_key has 0 characters"):
            await bench.client.enqueue_many(
                send, mails(size), unique_key=lambda mail: "" if mail.to == size - 1 else str(mail.to)
            )
        assert await bench.count() == 0
        assert await bench.sql.fetchval("SELECT NOT is_called FROM supervisor.job_ids")


async def test_a_collection_is_enqueued_as_a_whole() -> None:
    """More jobs than one chunk are in one transaction: what fails at the end leaves nothing of the beginning."""
    async with mailing() as bench:
        await bench.sql.execute(f"ALTER TABLE supervisor.jobs ADD CHECK (id <= {CHUNK + 50})")
        with pytest.raises(Exception, match=r"no job is enqueued, nothing from args\[0\] on"):
            await bench.client.enqueue_many(send, mails(CHUNK + 200))
        assert await bench.count() == 0
        await bench.sql.execute("ALTER SEQUENCE supervisor.job_ids RESTART")
        assert (await bench.client.enqueue_many(send, mails(CHUNK + 50))).count == CHUNK + 50


@pytest.mark.parametrize("asynchronous", [True, False])
async def test_a_stream_says_how_far_it_came(asynchronous: bool) -> None:
    """An error in a stream names its place, and what is enqueued: whole chunks, and nothing after them."""
    async with mailing() as bench:
        items: list[Any] = [*mails(CHUNK + 5), Mail("x"), *mails(5)]  # type: ignore[arg-type]
        source: Any = stream(items) if asynchronous else (item for item in items)
        with pytest.raises(InvalidPayload) as refused:
            await bench.client.enqueue_many(send, source)
        assert refused.value.path == f"args[{CHUNK + 5}].to"
        assert f"{CHUNK} jobs are enqueued (up to args[{CHUNK - 1}]), nothing from args[{CHUNK}] on" in str(
            refused.value
        )
        assert [json.loads(row["args"])["to"] for row in await bench.ready()] == list(range(CHUNK))


async def test_an_error_of_the_source_passes_through() -> None:
    """An error of the caller's own generator stays what it is, with a note of how far the enqueue came."""

    def broken() -> Iterator[Mail]:
        yield from mails(CHUNK)
        raise ZeroDivisionError

    async with mailing() as bench:
        with pytest.raises(ZeroDivisionError) as raised:
            await bench.client.enqueue_many(send, broken())
        assert raised.value.__notes__ == [
            f"{CHUNK} jobs are enqueued (up to args[{CHUNK - 1}]), nothing from args[{CHUNK}] on"
        ]
        assert len(await bench.ready()) == CHUNK


async def test_a_stream_may_come_from_the_connection_itself() -> None:
    """A cursor of a transaction can feed an enqueue in the same transaction."""
    async with mailing() as bench, session(bench.dsn) as conn:
        async with conn.transaction():
            rows = conn.cursor("SELECT number FROM generate_series(1, $1) AS number", CHUNK + 7)
            made = await bench.client.enqueue_many(send, (Mail(row["number"]) async for row in rows), conn=conn)
            assert await bench.count() == 0
        assert made.count == CHUNK + 7
        assert len(await bench.ready()) == CHUNK + 7


async def test_without_a_transaction_a_large_collection_is_refused() -> None:
    """On a connection without a transaction, what would be enqueued in part if it failed is refused."""
    async with mailing() as bench, session(bench.dsn) as conn:
        with pytest.raises(EnqueueRefused, match=r"async with conn\.transaction"):
            await bench.client.enqueue_many(send, mails(CHUNK + 1), conn=conn)
        assert await bench.count() == 0
        assert (await bench.client.enqueue_many(send, mails(CHUNK), conn=conn)).count == CHUNK


async def test_a_batch_wakes_who_sleeps_on_its_queue() -> None:
    """A worker that sleeps on the queue hears of a batch once it is committed, however it came in."""
    async with mailing() as bench:
        heard: list[object] = []
        await bench.sql.add_listener("supervisor", lambda *news: heard.append(news[-1]))
        worker = await add_worker(bench.sql)
        await bench.sql.execute("UPDATE supervisor.workers SET idle_queues = '{mail,default}' WHERE id = $1", worker)
        await bench.client.enqueue_many(send, mails(500))
        await bench.client.enqueue_many(tidy, [None] * 3)
        await bench.client.enqueue_many(send, mails(3), run_at=60)
        await bench.client.enqueue(tidy)
        await bench.sql.fetch("SELECT 1")
        assert heard == ["mail", "default", "default"]
        await bench.sql.reset()


async def test_a_batch_of_another_kind_finds_its_own_defaults() -> None:
    """The kinds of two batches do not mix, and each has the service and the limits of its own."""
    async with mailing() as bench:
        await bench.client.enqueue_many(anything, [{"n": number} for number in range(150)])
        await bench.client.enqueue_many(send, mails(150))
        found = {(row["kind"], row["queue"], row["service"], row["max_attempts"]) for row in await bench.ready()}
        assert found == {("anything", "default", "default", 3), ("send", "mail", "post", 5)}


async def test_a_cancelled_enqueue_leaves_all_or_nothing() -> None:
    """A caller who stops waiting leaves a whole batch or none of it, and a client that goes on working."""
    async with mailing() as bench:
        for delay in (0.0, 0.002, 0.01, 0.03):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await bench.client.enqueue_many(send, mails(2_000))
        await bench.client.enqueue_many(send, mails(2_000))
        assert len(await bench.ready()) % 2_000 == 0
        assert len(await bench.ready()) > 0
