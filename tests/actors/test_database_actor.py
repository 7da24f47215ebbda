"""The database actor: nothing starts before the database can be used, and an outage is only told of."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Never

import pytest

from actors.database import DatabaseActor, OwnServer, SchemaCare
from supervisor.errors import DatabaseUnavailable, MigrationError, StartFailed
from supervisor.jobs.events import DatabaseBack, DatabaseLost
from supervisor.store.database import Database
from supervisor.testing import EventLog, running
from supervisor.tree.child import Child
from tests.actors.engine import job_database
from tests.store.postgres import bindir, fresh_database, open_folder, remove_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


MIGRATE = SchemaCare.MIGRATE


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """Give an empty data folder."""
    folder = open_folder()
    yield folder
    remove_folder(folder)


def child(
    database: Database, url: str | None, *, own: OwnServer | None = None, care: SchemaCare = MIGRATE, wait: float = 5.0
) -> Child[Never]:
    """Make a database actor."""
    return Child(
        "database",
        lambda: DatabaseActor(database, direct_url=url, own=own, care=care, wait=wait),
        start_timeout=60.0,
        teardown_timeout=10.0,
    )


async def test_it_brings_the_schema_up_to_date() -> None:
    """An empty database has the schema when the next child starts, and is closed at the end."""
    async with fresh_database() as dsn:
        database = Database(dsn)
        async with running(child(database, dsn)):
            async with database.connection() as link:
                assert await link.fetchval("SELECT count(*) FROM supervisor.installation") == 1
            assert database.installation
        with pytest.raises(DatabaseUnavailable):
            async with database.connection():
                pass


async def test_told_not_to_it_only_checks_the_schema() -> None:
    """Without the permission to migrate, a database that lacks the schema is a failed start with the remedy."""
    async with fresh_database() as dsn:
        with pytest.raises(StartFailed) as failed:
            async with running(child(Database(dsn), dsn, care=SchemaCare.VERIFY)):
                pass
    assert isinstance(failed.value.__cause__, MigrationError)
    assert "migrate up" in str(failed.value.__cause__)


@pytest.mark.parametrize("care", SchemaCare)
async def test_a_database_that_fits_needs_no_migration(care: SchemaCare) -> None:
    """A schema that is up to date is enough, whatever is to be done about it."""
    async with job_database() as dsn, running(child(Database(dsn), dsn, care=care)):
        pass


async def test_it_waits_for_a_database_that_is_not_there_yet(data_dir: Path) -> None:
    """A server that starts later than we do is waited for, and its start ends the wait."""
    log = EventLog()
    async with contextlib.AsyncExitStack() as stack:
        own = Database("")
        first = child(own, None, own=OwnServer(data_dir=data_dir, bindir=bindir()))
        await stack.enter_async_context(running(first))
        dsn = own_dsn(own)
        await stack.aclose()
        database = Database(dsn)
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(_run(child(database, dsn, wait=30.0), log))
            await log.expect(DatabaseLost)
            assert not waiting.done()
            again = child(Database(""), None, own=OwnServer(data_dir=data_dir, bindir=bindir()))
            async with running(again):
                await waiting
    assert log.of(DatabaseBack)


async def test_it_waits_no_longer_than_it_may() -> None:
    """A database that does not come is a failed start."""
    dsn = "postgresql://nobody@127.0.0.1:1/none"
    with pytest.raises(StartFailed):
        async with running(child(Database(dsn), dsn, wait=0.3)):
            pass


async def test_a_refusal_is_not_waited_for() -> None:
    """A database that does not know us ends the start at once, however long it might have waited."""
    async with fresh_database() as dsn:
        wrong = dsn.replace("/t", "/no_such_database_t", 1)
        with pytest.raises(StartFailed):
            async with running(child(Database(wrong), wrong, wait=3600.0)):
                pass


async def test_an_outage_is_told_once() -> None:
    """Whoever notices an outage and its end, the tree hears of each once."""
    log = EventLog()
    async with job_database() as dsn:
        database = Database(dsn)
        async with running(child(database, dsn), log=log):
            for _ in range(3):
                database.outage.failed(DatabaseUnavailable("it is away"))
            database.outage.recovered()
            database.outage.recovered()
    assert [event.reason for event in log.of(DatabaseLost)] == ["it is away"]
    assert len(log.of(DatabaseBack)) == 1


def own_dsn(database: Database) -> str:
    """Return the URL of the server that an actor has started."""
    return database._url


async def _run(node: Child[Never], log: EventLog) -> None:
    async with running(node, log=log):
        pass
