"""Links for tests, and the promise that they leave nothing behind: no warning, and nothing that nobody looked at."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from typing import TYPE_CHECKING

from supervisor.store.database import Database
from supervisor.store.link import Link, connect
from tests.store.postgres import LIMIT, fresh_database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

INSTALLATION = "4c1a2f5e-0000-4000-8000-000000000000"


@contextlib.asynccontextmanager
async def quiet() -> AsyncIterator[None]:
    """Check that the loop has nothing to complain of, also of what nobody uses any more."""
    complaints: list[dict[str, object]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    try:
        async with asyncio.timeout(3 * LIMIT):
            yield
    finally:
        for _ in range(3):
            await asyncio.sleep(0)
            gc.collect()
        loop.set_exception_handler(None)
    assert complaints == []


async def prepare(dsn: str) -> None:
    """Put in as much of our schema as a `Database` looks at, and a table."""
    link = await connect(dsn)
    await link.execute("CREATE SCHEMA supervisor; CREATE TABLE supervisor.installation (id uuid)")
    await link.execute("INSERT INTO supervisor.installation VALUES ($1)", INSTALLATION)
    await link.execute("CREATE TABLE supervisor.rows (number int PRIMARY KEY, word text)")
    await link.close()


@contextlib.asynccontextmanager
async def prepared() -> AsyncIterator[str]:
    """Give the DSN of a database with that in it."""
    async with quiet(), fresh_database(prepare) as dsn:
        yield dsn


@contextlib.asynccontextmanager
async def linked(dsn: str | None = None, **options: object) -> AsyncIterator[Link]:
    """Give a link, to a database of its own if none is named."""
    async with contextlib.AsyncExitStack() as stack:
        if dsn is None:
            dsn = await stack.enter_async_context(prepared())
        link = await connect(dsn, **options)  # type: ignore[arg-type]
        try:
            yield link
        finally:
            await link.close()


@contextlib.asynccontextmanager
async def opened(dsn: str, **options: object) -> AsyncIterator[Database]:
    """Give a database that is open."""
    database = Database(dsn, **options)  # type: ignore[arg-type]
    await database.open(LIMIT)
    try:
        yield database
    finally:
        await database.close(0.0)


async def until(link: Link, condition: str, *args: object) -> None:
    """Wait until a condition in SQL is true."""
    async with asyncio.timeout(LIMIT):
        while not await link.fetchval(f"SELECT ({condition}) FROM pg_sleep(0.01)", *args):  # noqa: S608 - our own
            pass


async def until_active(admin: Link, link: Link, text: str) -> None:
    """Wait until the server works for this link at a statement with this text in it."""
    await until(
        admin,
        "EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1 AND state = 'active' AND query LIKE '%' || $2 || '%')",
        link.server_pid,
        text,
    )


async def until_gone(admin: Link, link: Link) -> None:
    """Wait until the server's process behind this link is gone."""
    await until(admin, "NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1)", link.server_pid)
