"""The pool, and what a database says when it is opened; on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING

import pytest

from supervisor.errors import DatabaseUnavailable, StatementRefused
from supervisor.store import pool as pool_module
from supervisor.store.database import Database
from tests.store.embedded_server import embedded
from tests.store.fault_proxy import Way, proxied
from tests.store.linked import INSTALLATION, linked, opened, prepare, prepared, quiet, until, until_active
from tests.store.postgres import LIMIT, fresh_database

if TYPE_CHECKING:
    from pathlib import Path

    from supervisor.store.link import Link
    from supervisor.store.pool import Pool

END_ALL = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'pooled'"
OURS = "(SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pooled') = $1"


def pool_of(database: Database) -> Pool:
    """Look into a database that is open."""
    assert database._pool is not None
    return database._pool


async def use(database: Database, *, within: float = LIMIT) -> Link:
    """Borrow a link, use it, and give it back."""
    async with database.connection(within) as link:
        assert await link.fetchval("SELECT 1") == 1
        return link


class Holder:
    """Somebody who keeps a link until told."""

    def __init__(self) -> None:
        self.has = asyncio.Event()
        self.enough = asyncio.Event()

    async def hold(self, database: Database, within: float = LIMIT) -> Link:
        """Borrow a link, and keep it."""
        async with database.connection(within) as link:
            self.has.set()
            await self.enough.wait()
            return link


async def test_it_opens_and_closes() -> None:
    """An open database knows its installation; closed, it lends nothing; it can be opened again."""
    async with prepared() as dsn:
        database = Database(dsn)
        with pytest.raises(DatabaseUnavailable, match="not open"):
            database.connection()
        for _ in range(2):
            await database.open(LIMIT)
            assert database.installation == INSTALLATION
            await use(database)
            await database.close()
            with pytest.raises(DatabaseUnavailable):
                database.connection()


async def test_the_schema_is_missing() -> None:
    """A database without our schema is refused with the command that puts it there."""
    async with quiet(), fresh_database() as dsn:
        with pytest.raises(StatementRefused, match="python -m supervisor migrate"):
            await Database(dsn).open()
        await prepare(dsn)
        with pytest.raises(StatementRefused, match="no schema other"):
            await Database(dsn, schema="other").open()
        async with opened(dsn) as database:
            await use(database)


async def test_the_schema_is_not_for_everybody() -> None:
    """A user without rights is refused with what to grant."""
    async with prepared() as dsn, linked(dsn) as admin:
        await admin.execute(
            "DO $$ BEGIN CREATE ROLE stranger; EXCEPTION WHEN duplicate_object THEN NULL; END $$; "
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET role = stranger', current_database()); END $$"
        )
        with pytest.raises(StatementRefused, match="GRANT"):
            await Database(dsn).open()


async def test_the_last_used_is_lent_first() -> None:
    """The pool makes a link only when none is idle, and lends the one that was used last."""
    async with prepared() as dsn, opened(dsn) as database:
        async with database.connection() as first, database.connection() as second:
            assert first is not second
        # given back: the second, then the first
        assert [await use(database), await use(database)] == [first, first]
        assert (pool_of(database).count, pool_of(database).idle) == (2, 2)


async def test_exhaustion_names_who_has_them() -> None:
    """Who waits in vain learns how long, and who has had the links for how long."""
    holder = Holder()
    async with prepared() as dsn, opened(dsn, most=1) as database, asyncio.TaskGroup() as group:
        group.create_task(holder.hold(database), name="greedy")
        await holder.has.wait()
        with pytest.raises(DatabaseUnavailable, match=r"all 1 .* in use for 0\.05 s: greedy for \d+\.\d s") as caught:
            await use(database, within=0.05)
        assert not caught.value.unknown
        assert not pool_of(database)._waiting
        holder.enough.set()


async def test_waiters_are_served_in_their_order() -> None:
    """Links go to those who wait in the order in which they came, and nobody overtakes."""
    order: list[int] = []

    async def take(number: int) -> None:
        async with database.connection(LIMIT) as link:
            order.append(number)
            await link.fetchval("SELECT 1")

    async with prepared() as dsn, opened(dsn, most=2) as database:
        async with database.connection(), database.connection():
            pass
        await asyncio.gather(*map(take, range(20)))
        assert order == sorted(order)
        assert pool_of(database).count == 2


async def test_a_waiter_that_is_cancelled_takes_nothing_away() -> None:
    """A link that comes for somebody who is cancelled at that moment goes to the next."""
    async with prepared() as dsn, opened(dsn, most=1) as database, asyncio.TaskGroup() as group:
        pool = pool_of(database)
        link = await pool.take(LIMIT)
        waiting = [group.create_task(use(database)) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        pool.give(link)
        waiting[1].cancel()
        assert await waiting[2] is link
        assert (pool.count, pool.idle) == (1, 1)
    assert [task.cancelled() for task in waiting] == [True, True, False]


async def test_room_for_a_link_is_passed_on() -> None:
    """When a broken link comes back, those who wait open new ones, one after the other if that fails."""
    async with prepared() as dsn, proxied(dsn) as proxy, opened(proxy.dsn, most=1) as database:
        pool = pool_of(database)
        link = await pool.take(LIMIT)
        proxy.swallow(Way.DOWN)
        waiting = asyncio.gather(*(use(database, within=0.2) for _ in range(2)), return_exceptions=True)
        last = asyncio.gather(use(database))
        await asyncio.sleep(0)
        link.kill()
        pool.give(link)
        assert [type(error) for error in await waiting] == [DatabaseUnavailable] * 2
        proxy.heal()
        await last
        assert (pool.count, pool.idle) == (1, 1)


async def test_broken_links_are_not_taken_back() -> None:
    """Whatever ends links, lent or idle, the pool makes as many new ones as are used, and no more."""
    async with prepared() as dsn, linked(dsn) as admin, opened(dsn, most=3, name="pooled") as database:
        for _ in range(10):
            async with database.connection() as one, database.connection() as two:
                await admin.fetchval("SELECT pg_terminate_backend($1)", one.server_pid)
                with pytest.raises(DatabaseUnavailable):
                    await one.fetchval("SELECT pg_sleep(60)")
                two.kill()
            await use(database)
            await admin.fetchval(END_ALL)
            with contextlib.suppress(DatabaseUnavailable):  # an idle link whose end we do not know yet
                await use(database)
        await asyncio.gather(*(use(database) for _ in range(20)))
        assert pool_of(database).count <= 3
        assert pool_of(database).count == pool_of(database).idle
        await until(admin, OURS, pool_of(database).count)


async def test_a_silent_link_takes_the_idle_ones_with_it() -> None:
    """After a call without an answer nobody else has to find out about the other links one by one."""
    async with prepared() as dsn, proxied(dsn) as proxy, opened(proxy.dsn) as database:
        async with database.connection(), database.connection(), database.connection() as link:
            pass
        assert pool_of(database).idle == 3
        proxy.swallow(Way.DOWN)
        with pytest.raises(DatabaseUnavailable):
            async with database.connection() as link:
                await link.fetchval("SELECT 1", within=0.1)
        assert (pool_of(database).count, pool_of(database).idle) == (0, 0)
        proxy.heal()
        await use(database)


async def test_an_open_transaction_is_not_passed_on() -> None:
    """A link that comes back within a transaction is not lent to anybody else."""
    async with prepared() as dsn, opened(dsn) as database:
        async with database.connection() as link:
            await link.execute("BEGIN")
        assert link.is_broken
        assert pool_of(database).count == 0


async def test_what_nobody_uses_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Links that were idle for long are closed, on the server too, and those used meanwhile stay."""
    monkeypatch.setattr(pool_module, "IDLE", 0.05)
    async with prepared() as dsn, linked(dsn) as admin, opened(dsn, name="pooled") as database:
        async with database.connection(), database.connection():
            await until(admin, OURS, 2)
        await until(admin, OURS, 0)
        assert pool_of(database).count == 0
        await use(database)


async def test_closing_waits_for_those_who_have_a_link() -> None:
    """A close lets links that are lent come back, and refuses those who wait."""
    holder = Holder()
    async with prepared() as dsn, opened(dsn, most=1, name="pooled") as database, asyncio.TaskGroup() as group:
        held = group.create_task(holder.hold(database))
        await holder.has.wait()
        waiting = asyncio.gather(use(database), return_exceptions=True)
        await asyncio.sleep(0)
        closing = group.create_task(database.close(LIMIT))
        (error,) = await waiting
        assert isinstance(error, DatabaseUnavailable)
        assert not closing.done()
        holder.enough.set()
        await closing
        assert (await held).is_broken


async def test_closing_ends_who_does_not_come_back() -> None:
    """A close that has waited long enough ends what is under way."""
    async with prepared() as dsn, linked(dsn) as admin, opened(dsn) as database:
        async with database.connection() as link:
            work = asyncio.gather(link.fetchval("SELECT pg_sleep(60)"), return_exceptions=True)
            await until_active(admin, link, "pg_sleep(60)")
            await database.close(0.05)
            (error,) = await work
            assert isinstance(error, DatabaseUnavailable)
        assert link.is_broken


async def test_a_server_that_restarts(folder: Path) -> None:
    """While the server is down each call fails in time; once it is back the same database goes on."""
    async with quiet(), embedded(folder) as server:
        await prepare(server.dsn)
        async with opened(server.dsn, most=2) as database:
            await asyncio.gather(use(database), use(database))
            await server.stop()
            for _ in range(3):
                with pytest.raises(DatabaseUnavailable):
                    await use(database)
            assert pool_of(database).count == 0
            await server.start()
            await use(database)
            assert pool_of(database).count == 1


async def test_links_of_one_s_own() -> None:
    """A link for a purpose has its name, comes past the pooler if asked to, and works in another thread."""
    async with prepared() as dsn, opened(dsn, direct_url=dsn) as database:
        name = "SELECT current_setting('application_name')"
        direct = await database.dedicated("heartbeat", direct=True)
        assert await direct.fetchval(name) == "supervisor heartbeat"
        through = await database.dedicated("claim")
        assert await through.fetchval(name) == ""
        await direct.close()
        await through.close()

        async def elsewhere() -> object:
            link = await database.dedicated("thread", direct=True)
            try:
                return await link.fetchval(name), threading.current_thread() is threading.main_thread()
            finally:
                await link.close()

        assert await asyncio.to_thread(lambda: asyncio.run(elsewhere())) == ("supervisor thread", False)


async def test_a_pooler_before_a_database_of_another_isolation() -> None:
    """Where the isolation cannot be set for each connection, a database of another one is refused with the remedy."""
    async with prepared() as dsn, linked(dsn) as admin:
        await admin.execute(
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = serializable',"
            " current_database()); END $$"
        )
        with pytest.raises(StatementRefused, match="SET default_transaction_isolation"):
            await Database(dsn, direct_url=dsn).open()
        async with opened(dsn) as database:
            await use(database)
