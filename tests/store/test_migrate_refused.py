"""Migrations that are refused before anything is applied, and what the operator is told."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from supervisor.errors import ConfigError, MigrationError
from supervisor.store.migrate import Limits, State, status, up, verify
from supervisor.store.migration_files import load
from tests.store.migration_folder import TABLE, connection, records, write
from tests.store.postgres import fresh_database

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_modified_file_is_refused(tmp_path: Path) -> None:
    """A file that changed after it was applied stops everything, with both checksums and the remedy."""
    async with fresh_database() as dsn:
        await up(dsn, folder=write(tmp_path, TABLE, "SELECT 1"))
        old = load(tmp_path)[0].checksum
        folder = write(tmp_path, TABLE + "-- an afterthought", "SELECT 1", "SELECT 2")
        new = load(folder)[0].checksum
        message = f"(?s)001_m1.sql: was modified after it was applied.*{old}.*{new}.*remedy: bring back the text"
        for refused in (up(dsn, folder=folder), up(dsn, folder=folder, dry_run=True), verify(dsn, folder=folder)):
            with pytest.raises(MigrationError, match=message) as caught:
                await refused
            assert not caught.value.transient
        found = await status(dsn, folder=folder)
        assert [entry.state for entry in found.entries] == [State.MODIFIED, State.APPLIED, State.PENDING]
        assert re.search(message, found.problems[0])
        assert [version for version, _, _ in await records(dsn)] == [1, 2]


async def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    """A database with migrations that this code has no files for is refused, and each of them is named."""
    async with fresh_database() as dsn:
        await up(dsn, folder=write(tmp_path, TABLE, "SELECT 2", "SELECT 3"))
        checksums = [file.checksum for file in load(tmp_path)]
        write(tmp_path, TABLE)
        for refused in (up(dsn, folder=tmp_path), verify(dsn, folder=tmp_path)):
            with pytest.raises(
                MigrationError, match=r"(?s)newer than this code: 002_m2.*003_m3.*remedy: run the"
            ) as caught:
                await refused
            assert all(checksum in str(caught.value) for checksum in checksums[1:])
        found = await status(dsn, folder=tmp_path)
        assert [entry.state for entry in found.entries] == [State.APPLIED, State.UNKNOWN, State.UNKNOWN]
        assert found.version == 3


async def test_a_hole_in_the_records_is_refused(tmp_path: Path) -> None:
    """A migration without a record below one that has one is refused, since nobody knows what it would do now."""
    async with fresh_database() as dsn:
        await up(dsn, folder=write(tmp_path, TABLE, "SELECT 2"))
        async with connection(dsn) as opened:
            await opened.execute("DELETE FROM supervisor.schema_migrations WHERE version = 1")
        with pytest.raises(MigrationError, match=r"001_m1 is not recorded as applied, but 002 is.*\n  remedy: bring"):
            await up(dsn, folder=tmp_path)


@pytest.mark.parametrize("limit", [0, -1.0, float("inf"), float("nan")])
def test_limits_that_cannot_be(limit: float) -> None:
    """Every wait has an end, so a limit is a number of seconds above 0."""
    with pytest.raises(ConfigError, match="lock_timeout = "):
        Limits(lock_timeout=limit)


@pytest.mark.parametrize("schema", ["Order", "a;b", "pg_x", ""])
async def test_a_schema_that_cannot_be(schema: str) -> None:
    """A name that no schema can have is refused before anything else happens."""
    for refused in (up("", schema=schema), status("", schema=schema), verify("", schema=schema)):
        with pytest.raises(ConfigError, match="schema = "):
            await refused


async def test_a_table_of_somebody_else(tmp_path: Path) -> None:
    """A table schema_migrations that another program made is recognised and left alone."""
    folder = write(tmp_path, TABLE)
    async with fresh_database() as dsn, connection(dsn) as opened:
        await opened.execute("CREATE TABLE public.schema_migrations (version text)")
        with pytest.raises(
            MigrationError, match=r"public.schema_migrations belongs to something else.*\n  remedy: choose"
        ):
            await up(dsn, folder=folder, schema="public")


async def test_a_role_that_may_create_no_schema(tmp_path: Path) -> None:
    """A role without the right to create schemas is told what to ask for, and needs no more than that."""
    folder = write(tmp_path, TABLE)
    async with fresh_database() as dsn, connection(dsn) as opened:
        name = await opened.fetchval("SELECT current_database()")
        role = f"poor_{name}"
        await opened.execute(f"CREATE ROLE {role}")
        await opened.execute(f"ALTER DATABASE {name} SET role = {role}")  # whoever connects from now on has this role
        try:
            with pytest.raises(MigrationError, match=f"the role {role} may not create the schema") as caught:
                await up(dsn, folder=folder)
            remedy = str(caught.value).partition("run: ")[2]
            await opened.execute(remedy)
            assert [one.version for one in (await up(dsn, folder=folder)).applied] == [1]
        finally:
            await opened.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


@pytest.mark.parametrize("dsn", ["secret", "postgresql://u:se/cret@host/x", "postgresql://u:p@host:secret/x"])
async def test_a_url_that_cannot_be_understood(tmp_path: Path, dsn: str) -> None:
    """A wrong URL is an error that does not quote it, not even in its cause, for it may hold the password."""
    with pytest.raises((ConfigError, MigrationError)) as caught:
        await status(dsn, folder=write(tmp_path, TABLE))
    assert not re.search("secret|cret@", f"{caught.value} {caught.value.__cause__}")
