"""No call hangs: not when the network swallows everything, when it is cancelled, while it connects or closes."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import asyncpg
import pytest

from supervisor.errors import DatabaseUnavailable
from supervisor.store.link import connect
from tests.store.fault_proxy import Way, proxied, unanswered_port
from tests.store.linked import linked, prepared, until_active, until_gone
from tests.store.postgres import LIMIT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from supervisor.store.link import Link

    Call = Callable[[Link, float], Awaitable[object]]

SHORT = 0.1
"""Seconds for a call that gets no answer."""

COUNT = "SELECT count(*) FROM supervisor.rows"
ADD = "INSERT INTO supervisor.rows VALUES (1)"


async def endless() -> AsyncIterator[bytes]:
    """Give rows without an end, so that the sender has to wait for the receiver."""
    number = 0
    while True:
        yield "".join(f"{one}\n" for one in range(number, number + 10_000)).encode()
        number += 10_000


async def begin(link: Link, within: float) -> None:
    """Begin a transaction."""
    async with link.transaction(within=within):
        raise AssertionError


CALLS: dict[str, Call] = {
    "fetch": lambda link, within: link.fetch("SELECT 1", within=within),
    "fetch_as": lambda link, within: link.fetch_as(asyncpg.Record, "SELECT 1", within=within),
    "fetchval": lambda link, within: link.fetchval("SELECT 1", within=within),
    "execute": lambda link, within: link.execute(ADD, within=within),
    "copy records": lambda link, within: link.copy("rows", ["number"], [(1,)], within=within),
    "copy bytes": lambda link, within: link.copy("rows", ["number"], endless(), within=within),
}


@pytest.mark.parametrize("ways", [[Way.UP], [Way.DOWN], [*Way]], ids=["up", "down", "both"])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_silence_ends_a_call_at_its_deadline(call: Call, ways: list[Way]) -> None:
    """A call whose connection swallows everything ends in time, and says that nobody knows what it did."""
    async with prepared() as dsn, proxied(dsn) as proxy, linked(proxy.dsn) as link:
        proxy.swallow(*ways)
        with pytest.raises(DatabaseUnavailable, match=r"within 0\.1 s") as caught:
            await call(link, SHORT)
        assert caught.value.unknown
        assert link.is_broken
        assert link.expired
        with pytest.raises(DatabaseUnavailable, match="before this call") as caught:
            await link.fetch("SELECT 1")
        assert not caught.value.unknown


async def test_silence_in_a_transaction() -> None:
    """What has not been committed is known not to be done, wherever before COMMIT the silence begins."""
    async with prepared() as dsn, proxied(dsn) as proxy:
        async with linked(proxy.dsn) as link:
            proxy.swallow(Way.DOWN)
            with pytest.raises(DatabaseUnavailable) as caught:
                await begin(link, SHORT)
            assert not caught.value.unknown
            proxy.heal()
        async with linked(proxy.dsn) as link:
            with pytest.raises(DatabaseUnavailable) as caught:  # noqa: PT012 - raised within the block
                async with link.transaction():
                    proxy.swallow(Way.DOWN)
                    await link.execute(ADD, within=SHORT)
            assert not caught.value.unknown


async def test_a_commit_without_an_answer_is_unknown() -> None:
    """A connection cut after COMMIT was sent says that nobody knows, and here it was carried out."""
    async with prepared() as dsn, proxied(dsn) as proxy, linked(dsn) as admin, linked(proxy.dsn) as link:
        with pytest.raises(DatabaseUnavailable, match="was lost") as caught:  # noqa: PT012 - raised at its end
            async with link.transaction():
                await link.execute(ADD)
                proxy.cut_after(len("Q....COMMIT;."), Way.UP)
        assert caught.value.unknown
        await until_gone(admin, link)
        assert await admin.fetchval(COUNT) == 1


async def test_a_connection_cut_before_its_commit_has_done_nothing() -> None:
    """A connection cut within COMMIT rolls back, and one cut before it is known to."""
    async with prepared() as dsn, proxied(dsn) as proxy, linked(dsn) as admin, linked(proxy.dsn) as link:
        with pytest.raises(DatabaseUnavailable) as caught:  # noqa: PT012 - raised within the block
            async with link.transaction():
                await link.execute(ADD)
                proxy.reset()
                await link.execute("SELECT 1")
        assert not caught.value.unknown
        await until_gone(admin, link)
        assert await admin.fetchval(COUNT) == 0


async def test_the_server_stops_what_was_given_up() -> None:
    """A statement does not go on for long on the server after its deadline."""
    async with prepared() as dsn, linked(dsn) as admin, linked(dsn) as link:
        with pytest.raises(DatabaseUnavailable):
            await link.fetchval("SELECT pg_sleep(60)", within=SHORT)
        await until_gone(admin, link)


async def test_an_answer_that_has_arrived_is_read() -> None:
    """A loop that was busy beyond the deadline still takes the answer that came meanwhile."""

    async def block() -> None:
        threading.Event().wait(5 * SHORT)

    async with linked() as link:
        await link.fetchval("SELECT 1")
        answer, _ = await asyncio.gather(link.fetchval("SELECT 1", within=SHORT), block())
        assert answer == 1
        assert not link.is_broken


async def test_many_calls_need_one_timer() -> None:
    """Calls that end in time move no timer, and a later call with less time still has its own deadline."""
    async with linked() as link:
        await link.fetchval("SELECT 1")
        timer = link._timer
        for _ in range(5):
            await link.fetchval("SELECT 1")
        assert link._timer is timer
        with pytest.raises(DatabaseUnavailable, match=r"within 0\.1 s"):
            await link.fetchval("SELECT pg_sleep(60)", within=SHORT)
        assert link._timer is None


@pytest.mark.parametrize("silent", [False, True])
async def test_a_cancelled_call(silent: bool) -> None:
    """A cancelled call ends at once as cancelled, its link is of no more use, and the server stops the statement."""
    async with prepared() as dsn, proxied(dsn) as proxy, linked(dsn) as admin, linked(proxy.dsn) as link:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(link.fetchval("SELECT pg_sleep(60)", within=3 * LIMIT))
            await until_active(admin, link, "pg_sleep(60)")
            if silent:
                proxy.swallow(*Way)
            task.cancel()
        assert task.cancelled()
        assert link.is_broken
        assert proxy.opened == 1  # nobody asked the server to cancel over a second connection
        if not silent:
            await until_gone(admin, link)


async def test_a_user_s_cancelled_call_stays_cancelled() -> None:
    """A cancellation comes through blocks of transactions, asyncpg's own and ours, as itself; nothing is committed."""

    async def work(link: Link) -> None:
        async with link.transaction(), link.raw.transaction():
            await link.raw.execute(ADD)
            await link.raw.fetchval("SELECT pg_sleep(60)")

    async with prepared() as dsn, linked(dsn) as admin, linked(dsn) as link:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(work(link))
            await until_active(admin, link, "pg_sleep(60)")
            task.cancel()
        assert task.cancelled()
        assert link.is_broken
        await until_gone(admin, link)
        assert await admin.fetchval(COUNT) == 0


async def test_a_block_cancelled_between_two_calls() -> None:
    """A transaction whose block is cancelled elsewhere is rolled back by dropping the link."""
    begun = asyncio.Event()

    async def work(link: Link) -> None:
        async with link.transaction():
            await link.execute(ADD)
            begun.set()
            await asyncio.Event().wait()

    async with prepared() as dsn, linked(dsn) as admin, linked(dsn) as link:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(work(link))
            await begun.wait()
            task.cancel()
        assert task.cancelled()
        assert link.is_broken
        await until_gone(admin, link)
        assert await admin.fetchval(COUNT) == 0


async def test_a_user_s_own_time_limit_drops_the_link() -> None:
    """A time limit that a user gives to asyncpg ends the call at once, and the link with it."""
    async with prepared() as dsn, proxied(dsn) as proxy, linked(proxy.dsn) as link:
        proxy.swallow(*Way)
        with pytest.raises(TimeoutError):
            await link.raw.fetchval("SELECT 1", timeout=SHORT)
        assert link.is_broken


async def test_connecting_to_silence() -> None:
    """An attempt to connect ends in time where somebody accepts and says nothing, and where nobody accepts."""
    async with prepared() as dsn, proxied(dsn) as proxy:
        proxy.swallow(Way.DOWN)
        with pytest.raises(DatabaseUnavailable, match=rf"127\.0\.0\.1:{proxy.port}: no answer within 0\.1 s"):
            await connect(proxy.dsn, within=SHORT)
        with unanswered_port() as port, pytest.raises(DatabaseUnavailable, match=r"no answer within 0\.1 s"):
            await connect(f"postgresql://postgres@127.0.0.1:{port}/postgres", within=SHORT)


async def test_a_connection_lost_while_it_is_made() -> None:
    """A server that goes away in the middle of the greeting is out of reach, without waiting for the time to pass."""
    async with prepared() as dsn, proxied(dsn) as proxy:
        proxy.cut_after(100, Way.DOWN)
        proxy.heal()
        with pytest.raises(DatabaseUnavailable, match="cannot connect"):
            await connect(proxy.dsn)


async def test_a_silent_host_leaves_time_for_the_next() -> None:
    """With several hosts in the URL the first that answers is taken, even if one before it says nothing."""
    async with prepared() as dsn, proxied(dsn) as silent, proxied(dsn) as good:
        silent.swallow(Way.DOWN)
        both = good.dsn.replace("@127.0.0.1:", f"@127.0.0.1:{silent.port},127.0.0.1:1,127.0.0.1:")
        async with linked(both, within=3.0) as link:
            assert await link.fetchval("SELECT 1") == 1
        assert (silent.opened, good.opened) == (1, 1)


async def test_only_a_host_that_takes_writes_will_do() -> None:
    """A server that takes no writes is passed over, unless the URL says otherwise."""
    async with prepared() as dsn, linked(dsn) as admin:
        await admin.execute(
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on',"
            " current_database()); END $$"
        )
        with pytest.raises(DatabaseUnavailable, match="is not read-write now"):
            await connect(dsn)
        async with linked(f"{dsn}&target_session_attrs=any") as link:
            assert await link.fetchval("SELECT 1") == 1
            with pytest.raises(DatabaseUnavailable, match="25006"):
                await link.execute(ADD)
            assert link.is_broken


async def test_closing_in_silence() -> None:
    """A goodbye that nobody answers does not last."""
    async with prepared() as dsn, proxied(dsn) as proxy, linked(proxy.dsn) as link:
        proxy.swallow(*Way)
        await link.close(SHORT)
        assert link.is_broken


async def test_closing_a_busy_link() -> None:
    """Closing a link that is at work ends the work."""
    async with prepared() as dsn, linked(dsn) as admin, linked(dsn) as link:
        work = asyncio.gather(link.fetchval("SELECT pg_sleep(60)"), return_exceptions=True)
        await until_active(admin, link, "pg_sleep(60)")
        await link.close()
        (error,) = await work
        assert isinstance(error, DatabaseUnavailable)
