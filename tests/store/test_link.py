"""What can be called on a link, on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import TYPE_CHECKING

import asyncpg
import pytest

from supervisor.errors import DatabaseUnavailable, StatementRefused
from supervisor.store import dial
from supervisor.store.link import connect
from tests.store.fault_proxy import proxied
from tests.store.linked import linked, prepared, until_active
from tests.store.postgres import LIMIT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from supervisor.store.link import Link

COUNT = "SELECT count(*) FROM supervisor.rows"
ADD = "INSERT INTO supervisor.rows VALUES ($1)"


async def test_calls_give_what_the_server_answers() -> None:
    """Rows, a row, a value and a tag come back as asyncpg gives them."""
    async with linked() as link:
        assert [*map(tuple, await link.fetch("SELECT n FROM generate_series(1, $1) AS n", 2))] == [(1,), (2,)]
        row = await link.fetchrow("SELECT 1 AS a, 'x' AS b")
        assert row is not None
        assert dict(row) == {"a": 1, "b": "x"}
        assert await link.fetchrow("SELECT 1 WHERE false") is None
        assert await link.fetchval("SELECT $1::text", "x") == "x"
        assert await link.execute(ADD, 1) == "INSERT 0 1"
        assert await link.execute("SELECT 1; SELECT 2, 3 WHERE false") == "SELECT 0"


async def test_rows_come_as_a_class() -> None:
    """Rows can be objects of a class of the caller, on a statement that also gives plain ones."""

    class Job(asyncpg.Record):
        @property
        def doubled(self) -> int:
            number: int = self["id"]
            return 2 * number

    async with linked() as link:
        sql = "SELECT 21 AS id"
        await link.fetch(sql)
        assert [job.doubled for job in await link.fetch_as(Job, sql)] == [42]
        assert type((await link.fetch(sql))[0]) is asyncpg.Record


async def pieces() -> AsyncIterator[bytes]:
    """Give two rows of COPY's text format, in pieces."""
    yield b"1\tone\n2"
    yield b"\ttwo\n"


async def test_rows_are_copied() -> None:
    """COPY takes records, and bytes in its own format."""
    async with linked() as link:
        assert await link.copy("rows", ["number", "word"], pieces()) == 2
        assert await link.copy("rows", ["word", "number"], [("three", 3)]) == 1
        found = await link.fetch("SELECT word FROM supervisor.rows ORDER BY number")
        assert [row["word"] for row in found] == ["one", "two", "three"]


async def test_a_copy_in_binary() -> None:
    """COPY takes its binary format."""

    async def binary() -> AsyncIterator[bytes]:
        yield b"PGCOPY\n\xff\r\n\0" + bytes(8)
        yield b"\0\1" + b"\0\0\0\4" + b"\0\0\0\7" + b"\xff\xff"

    async with linked() as link:
        assert await link.copy("rows", ["number"], binary(), binary=True) == 1
        assert await link.fetchval("SELECT number FROM supervisor.rows") == 7


async def test_a_source_of_a_copy_that_fails() -> None:
    """The error of what gives the rows comes through, nothing is copied, and the link is of no more use."""

    def rows() -> Iterator[tuple[int]]:
        yield (1,)
        raise ZeroDivisionError

    async with prepared() as dsn, linked(dsn) as link, linked(dsn) as other:
        with pytest.raises(ZeroDivisionError):
            await link.copy("rows", ["number"], rows())
        assert link.is_broken
        assert await other.fetchval(COUNT) == 0


async def test_another_schema() -> None:
    """SQL that says supervisor goes to the schema of the link, and so does a copy."""
    async with linked(schema="other") as link:
        await link.execute('CREATE SCHEMA other; CREATE TABLE "other".rows (number int)')
        await link.execute(ADD, 1)
        await link.copy("rows", ["number"], [(2,)])
        assert await link.fetchval(COUNT) == 2
        assert await link.fetchval("SELECT 'supervisor.rows'::regclass::text") == "other.rows"


@pytest.mark.parametrize("pooler", [False, True])
async def test_transactions_are_read_committed(pooler: bool) -> None:
    """The isolation level is what claims need, whatever the database's own is; without a pooler for all statements."""
    async with prepared() as dsn, linked(dsn) as admin:
        await admin.execute(
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = serializable',"
            " current_database()); END $$"
        )
        async with linked(dsn, pooler=pooler) as link:
            level = "SELECT current_setting('transaction_isolation')"
            assert (await link.fetchval(level) == "read committed") is not pooler
            async with link.transaction():
                assert await link.fetchval(level) == "read committed"


async def add_in_transaction(link: Link, *numbers: int) -> None:
    """Add rows in a transaction."""
    async with link.transaction():
        for number in numbers:
            await link.execute(ADD, number)


async def test_a_transaction_commits_or_rolls_back() -> None:
    """What a block did is there after it, and not if an error left it; the same for a block within a block."""
    async with linked() as link:
        async with link.transaction():
            await link.execute(ADD, 1)
            with pytest.raises(StatementRefused):
                await add_in_transaction(link, 2, 1)
        with pytest.raises(StatementRefused):
            await add_in_transaction(link, 3, 1)
        assert not link.is_in_transaction
        assert await link.fetchval("SELECT array_agg(number) FROM supervisor.rows") == [1]


async def test_a_user_shares_the_transaction() -> None:
    """Statements on the connection itself belong to the transaction, with blocks of asyncpg's own."""
    async with linked() as link:
        async with link.transaction():
            with pytest.raises(asyncpg.UniqueViolationError):
                await add_as_a_user(link.raw, 1, 1)
            await add_as_a_user(link.raw, 2)
        assert await link.fetchval("SELECT array_agg(number) FROM supervisor.rows") == [2]


async def add_as_a_user(raw: asyncpg.Connection[asyncpg.Record], *numbers: int) -> None:
    """Add rows in a block of asyncpg's own."""
    async with raw.transaction():
        for number in numbers:
            await raw.execute(ADD, number)


async def test_a_commit_that_commits_nothing_is_an_error() -> None:
    """A block that swallowed the error of a statement does not end as if it had committed."""
    async with linked() as link:
        with pytest.raises(StatementRefused, match="nothing was committed") as caught:
            await swallow_an_error(link)
        assert caught.value.sqlstate == "25P02"
        assert await link.fetchval("SELECT 1") == 1


async def swallow_an_error(link: Link) -> None:
    """Commit as if the statement before had not failed."""
    async with link.transaction():
        with contextlib.suppress(StatementRefused):
            await link.execute("SELECT 1/0")


async def test_one_thing_at_a_time() -> None:
    """A second call on a busy link is refused at once, and does not disturb the first."""
    async with linked() as link:
        first, second = await asyncio.gather(
            link.fetchval("SELECT 1 FROM pg_sleep(0.05)"), link.fetchval("SELECT 2"), return_exceptions=True
        )
        assert first == 1
        assert isinstance(second, RuntimeError)


async def test_a_session_is_set_up() -> None:
    """Without a pooler the server knows who we are, and ends what we left."""
    async with linked(name="supervisor ünit " + "x" * 60) as link:
        name = await link.fetchval("SELECT current_setting('application_name')")
        assert isinstance(name, str)
        assert name.startswith("supervisor ")
        assert await link.fetchval("SELECT current_setting('idle_in_transaction_session_timeout')") == "30s"
        assert await link.fetchval("SELECT current_setting('client_connection_check_interval')") == "1s"


async def test_a_server_that_does_not_know_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """What not every server can do is left out where it cannot."""
    monkeypatch.setattr(dial, "_IF_POSSIBLE", {"no_such_setting": "1s"})
    async with linked(name="ours") as link:
        assert await link.fetchval("SELECT current_setting('application_name')") == "ours"


async def test_nothing_is_kept_in_a_session_behind_a_pooler() -> None:
    """With a pooler neither settings nor prepared statements are left in the session."""
    async with linked(pooler=True) as link:
        await link.fetch("SELECT $1::int", 1)
        assert await link.fetchval("SELECT current_setting('application_name')") == ""
        assert await link.fetchval("SELECT count(*) FROM pg_prepared_statements WHERE name <> ''") == 0


async def test_the_system_watches_a_network_connection() -> None:
    """A TCP connection has keepalive on, and a limit for what nobody acknowledges where the system has one."""
    async with prepared() as dsn, proxied(dsn) as proxy, linked(proxy.dsn) as link:
        assert link._socket is not None
        assert link._socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            assert link._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 25_000


async def test_a_link_in_the_loop_of_another_thread() -> None:
    """A link works in another thread on a plain asyncio loop, and can be killed from here while it works."""
    async with prepared() as dsn, linked(dsn) as admin:
        ready = threading.Event()
        made = []

        async def work() -> bool:
            link = await connect(dsn)
            made.append(link)
            ready.set()
            with pytest.raises(DatabaseUnavailable, match="was lost") as caught:
                await link.fetchval("SELECT pg_sleep(60)")
            return caught.value.unknown

        thread = asyncio.get_running_loop().run_in_executor(None, lambda: asyncio.run(work()))
        await asyncio.to_thread(ready.wait, LIMIT)
        await until_active(admin, made[0], "pg_sleep(60)")
        made[0].kill()
        assert await thread
        assert made[0].is_broken
        made[0].kill()
