"""Folders of migrations for the tests, and what a database has in it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final, TypeAlias

import asyncpg
import pytest

from supervisor.errors import MigrationError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine
    from pathlib import Path

    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]

LIMIT: Final = 20.0
"""Seconds that nothing in these tests should take."""

TABLE: Final = "CREATE TABLE supervisor.a (b int);\n"

_CATALOGUE: Final = """
SELECT nspname, 'schema', '' FROM pg_namespace
UNION ALL SELECT nspname, 'relation', relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
UNION ALL SELECT nspname, 'routine', proname FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace"""
_NOT_OURS: Final = ("pg_", "information_schema", "public")


def write(folder: Path, *texts: str) -> Path:
    """Write the texts as migrations, 001_m1.sql and so on, instead of those that are there."""
    for old in folder.glob("*.sql"):
        old.unlink()
    for version, text in enumerate(texts, 1):
        (folder / f"{version:03}_m{version}.sql").write_text(text, encoding="utf-8", newline="")
    return folder


@contextlib.asynccontextmanager
async def connection(dsn: str) -> AsyncIterator[Connection]:
    """Connect for the length of the block."""
    opened = await asyncpg.connect(dsn, timeout=LIMIT, command_timeout=LIMIT)
    try:
        yield opened
    finally:
        await opened.close(timeout=LIMIT)


async def objects(dsn: str) -> set[tuple[str, str, str]]:
    """List the schema, the kind and the name of everything that did not come with PostgreSQL, `public` excepted."""
    async with connection(dsn) as opened:
        rows = await opened.fetch(_CATALOGUE)
    return {(row[0], row[1], row[2]) for row in rows if not row[0].startswith(_NOT_OURS)}


async def records(dsn: str, schema: str = "supervisor") -> list[tuple[int, str, bool]]:
    """List the version, the name, and whether it was applied, of each record."""
    async with connection(dsn) as opened:
        table = f'"{schema}".schema_migrations'
        rows = await opened.fetch(f"SELECT version, name, applied_at IS NOT NULL FROM {table} ORDER BY 1")  # noqa: S608
    return [(row[0], row[1], row[2]) for row in rows]


async def until(opened: Connection, condition: str, *arguments: object) -> None:
    """Wait until a condition, written in SQL, is true; the round trips are the pauses."""
    async with asyncio.timeout(LIMIT):
        while not await opened.fetchval(f"SELECT {condition}", *arguments):
            pass


async def failure_of(attempt: Coroutine[object, object, object]) -> MigrationError:
    """Wait for an attempt that fails, and return how."""
    with pytest.raises(MigrationError) as caught:
        await attempt
    return caught.value
