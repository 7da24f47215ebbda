"""Enqueueing while the database or the way to it fails: what the caller is told, and what a retry may rely on."""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import TYPE_CHECKING

import pytest

from supervisor.errors import DatabaseUnavailable
from supervisor.jobs import enqueuer
from supervisor.jobs.client import Client
from tests.jobs.mailing import Mail, mailing, send
from tests.store.fault_proxy import Way, proxied
from tests.store.sql_session import session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.jobs.mailing import Mailing
    from tests.store.fault_proxy import FaultProxy

ENOUGH = 0.5
"""Seconds in which a call gives up whose answer never comes."""


@contextlib.asynccontextmanager
async def behind_proxy(*, within: float = ENOUGH) -> AsyncIterator[tuple[Mailing, FaultProxy, Client]]:
    """Give a client that reaches the database only through a proxy, and one that does not need it."""
    async with mailing() as bench, proxied(bench.dsn) as proxy, Client(proxy.dsn, within=within) as client:
        yield bench, proxy, client


async def test_a_keyless_job_whose_answer_is_lost_may_be_there() -> None:
    """When the answer never comes, the error says that the job may be there and what makes a retry safe."""
    async with behind_proxy() as (bench, proxy, client):
        await client.enqueue(send, Mail(1))  # or the statement would only be prepared
        proxy.swallow(Way.DOWN)
        with pytest.raises(DatabaseUnavailable, match=r"the job may be there; .* may be enqueued twice") as failed:
            await client.enqueue(send, Mail(2))
        assert failed.value.unknown
        assert len(await bench.ready()) == 2
        proxy.heal()
        assert (await client.enqueue(send, Mail(3))).created


@pytest.mark.parametrize("many", [False, True])
async def test_a_keyed_job_whose_answer_is_lost_can_be_enqueued_again(many: bool) -> None:
    """After an unknown end, the same call with the same key gives the id of the one live job, and writes no other."""

    async def enqueue(number: int) -> tuple[int, bool]:
        if many:
            made = await client.enqueue_many(send, [Mail(number)], unique_key=lambda mail: f"mail-{mail.to}")
            return made.ids[0], made.created == 1
        one = await client.enqueue(send, Mail(number), unique_key=f"mail-{number}")
        return one.id, one.created

    async with behind_proxy() as (bench, proxy, client):
        await enqueue(1)  # or the statement would only be prepared
        proxy.swallow(Way.DOWN)
        with pytest.raises(DatabaseUnavailable, match="with its unique_key the call can be repeated safely") as failed:
            await enqueue(2)
        assert failed.value.unknown
        proxy.heal()
        again = await enqueue(2)
        _, row = await bench.ready()
        assert again == (row["id"], False)
        touched = "SELECT touched_at > created_at FROM supervisor.job_keys JOIN supervisor.jobs ON id = job_id"
        # A write, so that the second answer waited for the standbys, if there are any.
        assert await bench.sql.fetchval(f"{touched} WHERE id = $1", row["id"])


async def test_what_was_never_sent_is_tried_again() -> None:
    """An enqueue in the first moment of an outage succeeds once the database is back, within its limit."""
    async with behind_proxy(within=10.0) as (bench, proxy, client):
        await client.show(1)
        held = proxy.opened
        with contextlib.suppress(DatabaseUnavailable):
            proxy.reset()
            await client.show(1)
        made = await client.enqueue(send, Mail(7), unique_key="once")
        assert proxy.opened > held
        assert [row["id"] for row in await bench.ready()] == [made.id]


async def test_what_was_never_sent_is_certainly_not_there() -> None:
    """An enqueue that finds no way to the database within its limit says nothing of a job that may be there."""
    async with behind_proxy() as (bench, proxy, client):
        await client.enqueue(send, Mail(1))
        proxy.swallow(*Way)
        with pytest.raises(DatabaseUnavailable) as cut:
            await client.enqueue(send, Mail(2))
        assert cut.value.unknown
        with pytest.raises(DatabaseUnavailable, match="cannot connect") as failed:
            await client.enqueue(send, Mail(3))
        assert not failed.value.unknown
        assert "may be" not in str(failed.value)
        with pytest.raises(
            DatabaseUnavailable, match=r"cannot connect.*; no job is enqueued, nothing from args\[0\] on"
        ):
            await client.enqueue_many(send, [Mail(4)])
        assert len(await bench.ready()) == 1


@pytest.mark.parametrize("size", [50, 2 * enqueuer.COPY_FROM])
async def test_a_batch_whose_answer_is_lost_is_there_as_a_whole_or_not_at_all(size: int) -> None:
    """When the answer to a batch never comes, the error names the batch, and the database has all of it or nothing."""
    async with behind_proxy() as (bench, proxy, client):
        proxy.swallow(Way.DOWN)
        with pytest.raises(DatabaseUnavailable) as failed:
            await client.enqueue_many(send, [Mail(number) for number in range(size)])
        found = len(await bench.ready())
        assert found in {0, size}
        if failed.value.unknown:
            assert f"args[0] to args[{size - 1}] may be, nothing after them; these are there all together" in str(
                failed.value
            )
        else:
            assert found == 0
            assert "no job is enqueued, nothing from args[0] on" in str(failed.value)


async def test_a_stream_that_is_cut_says_which_chunks_are_there() -> None:
    """When the connection dies in the middle of a stream, the error names what is enqueued, and the rest may follow."""
    async with behind_proxy(within=2.0) as (bench, proxy, client):

        def source() -> Iterator[Mail]:
            for number in range(5 * 10_000):
                if number == 35_000:
                    proxy.reset()
                    proxy.swallow(Way.UP)
                yield Mail(number)

        with pytest.raises(DatabaseUnavailable) as failed:
            await client.enqueue_many(send, source())
        told = re.search(r"(\d+) jobs are enqueued \(up to args\[(\d+)\]\)", str(failed.value))
        assert told is not None
        done, last = int(told[1]), int(told[2])
        assert done in {20_000, 30_000}
        assert last == done - 1
        assert failed.value.unknown == ("may be" in str(failed.value))
        assert len(await bench.ready()) in ({done, done + 10_000} if failed.value.unknown else {done})


async def test_a_database_that_ends_the_session_is_no_unknown_end() -> None:
    """A session that the server ends before it has done anything does not cost the caller a job or a second one."""
    async with mailing() as bench:
        await bench.client.enqueue(send, Mail(1))
        mine = "application_name = 'supervisor client' AND datname = current_database()"
        await bench.sql.fetch(f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE {mine}")  # noqa: S608
        with contextlib.suppress(DatabaseUnavailable):
            await bench.client.enqueue(send, Mail(2), unique_key="two")
        await bench.client.enqueue(send, Mail(2), unique_key="two")
        assert len(await bench.ready()) == 2


async def test_a_silent_connection_of_the_caller_ends_in_time() -> None:
    """An enqueue on a connection whose other side is silent ends within the limit of the client."""
    async with mailing(within=ENOUGH) as bench, session(bench.dsn) as conn, session(bench.dsn) as rival:
        async with rival.transaction():
            await rival.execute("INSERT INTO supervisor.job_keys VALUES ('taken', 1)")
            transaction = conn.transaction()
            await transaction.start()
            with pytest.raises(
                DatabaseUnavailable, match="given as conn; the job is there if the transaction"
            ) as failed:
                await bench.client.enqueue(send, Mail(7), unique_key="taken", conn=conn)
            assert failed.value.unknown
            await transaction.rollback()
        assert await bench.count() == 1  # the rival's key


async def test_waiting_survives_an_outage() -> None:
    """Who waits for a job goes on waiting while the database is away, and gets the answer when it is back."""
    async with behind_proxy(within=0.2) as (bench, proxy, client):
        made = await client.enqueue(send, Mail(7))
        proxy.swallow(Way.DOWN)
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(client.wait(made.id, 30.0))
            await proxy.passed(b"newest_end", Way.UP)
            await bench.client.cancel(made.id)
            proxy.heal()
        assert waiting.result() == "cancelled"


async def test_waiting_ends_in_an_outage_too() -> None:
    """Who waits for so many seconds waits no longer, also without a database."""
    async with behind_proxy(within=0.2) as (_, proxy, client):
        made = await client.enqueue(send, Mail(7))
        proxy.swallow(*Way)
        with pytest.raises(TimeoutError, match="unknown, since the database is out of reach"):
            await client.wait(made.id, 0.4)
