"""The table `schema_migrations`, which says what was applied, and what it means beside the files.

A record without `applied_at` is a migration without a transaction that was begun: nobody knows how it ended.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, assert_never

import asyncpg

from supervisor.errors import MigrationError
from supervisor.store.schema_name import in_schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from supervisor.store.migration_files import Migration
    from supervisor.store.migration_session import Connection

# Not `to_regclass`: it may answer from a cache that is brought up to date when a transaction begins, which is before
# we have our turn. What is read from a table is as new as the statement.
_EXISTS: Final = """
SELECT EXISTS (
    SELECT FROM pg_class JOIN pg_namespace ON pg_namespace.oid = pg_class.relnamespace
    WHERE pg_namespace.nspname = 'supervisor' AND pg_class.relname = 'schema_migrations'
)"""
_SCHEMA: Final = """
SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'supervisor'),
       has_database_privilege(current_database(), 'CREATE'), current_user"""
_READ: Final = """
SELECT version, name, checksum, applied_at, applied_by, execution_time_ms
FROM supervisor.schema_migrations ORDER BY version"""
_CREATE: Final = """
CREATE TABLE supervisor.schema_migrations (
    version           integer PRIMARY KEY CHECK (version > 0),
    name              text NOT NULL,
    checksum          text NOT NULL,
    applied_at        timestamptz,
    applied_by        text NOT NULL,
    execution_time_ms bigint,
    CHECK ((applied_at IS NULL) = (execution_time_ms IS NULL))
);
COMMENT ON TABLE supervisor.schema_migrations IS
    E'What was done to this schema; no applied_at means begun, without a transaction, and not known to have ended'"""
_WRITE: Final = """
INSERT INTO supervisor.schema_migrations AS known (version, name, checksum, applied_at, applied_by, execution_time_ms)
VALUES ($1, $2, $3, CASE WHEN $4::bigint IS NOT NULL THEN clock_timestamp() END, session_user || '@' || $5::text, $4)
ON CONFLICT (version) DO UPDATE
SET name = excluded.name, checksum = excluded.checksum, applied_at = excluded.applied_at,
    applied_by = excluded.applied_by, execution_time_ms = excluded.execution_time_ms
WHERE known.applied_at IS NULL
RETURNING version"""


class State(StrEnum):
    """What a migration is, going by its file and its record."""

    APPLIED = "applied"
    PENDING = "pending"
    UNFINISHED = "unfinished"
    """Begun without a transaction, and not known to have ended: it runs again."""
    MODIFIED = "modified"
    """Applied from a file with another text than it has now."""
    UNKNOWN = "unknown"
    """In the database, but without a file."""


@dataclass(frozen=True, slots=True)
class Record:
    """One row of `schema_migrations`; see `State.UNFINISHED` for one without `applied_at`."""

    version: int
    name: str
    checksum: str
    applied_at: datetime | None
    applied_by: str
    execution_time_ms: int | None


@dataclass(frozen=True, slots=True)
class Entry:
    """One migration, with its file, its record, or both."""

    version: int
    name: str
    state: State
    file: Migration | None
    record: Record | None

    @property
    def label(self) -> str:
        """The number and the name, as in 001_jobs."""
        return f"{self.version:03}_{self.name}"


async def read(connection: Connection, schema: str) -> tuple[Record, ...]:
    """Return every record, in order; none if nothing was ever applied.

    Raises:
        MigrationError: there is a table of this name that somebody else made.

    """
    if not await connection.fetchval(in_schema(_EXISTS, schema)):
        return ()
    try:
        rows = await connection.fetch(in_schema(_READ, schema))
        return tuple(Record(**dict(row)) for row in rows)
    except asyncpg.UndefinedColumnError as error:
        raise MigrationError(
            f"{schema}.schema_migrations belongs to something else: {error.args[0]}\n"
            "  remedy: choose a schema of its own for this program"
        ) from error


async def pending(connection: Connection, schema: str, files: Iterable[Migration]) -> tuple[Migration, ...]:
    """Return what is to be applied, in order.

    Raises:
        MigrationError: the database has something that cannot be worked with.

    """
    entries = compare(files, await read(connection, schema))
    if wrong := problems(entries):
        raise MigrationError("\n".join(wrong))
    runnable = (entry.file for entry in entries if entry.state in {State.PENDING, State.UNFINISHED})
    return tuple(file for file in runnable if file is not None)


async def create(connection: Connection, schema: str) -> None:
    """Make the schema and the table if they are not there.

    Raises:
        MigrationError: the role may not make the schema.

    """
    if await connection.fetchval(in_schema(_EXISTS, schema)):
        return
    # Asked first, and not IF NOT EXISTS: that would need the right to create schemas even where there is one.
    exists, allowed, role = await connection.fetchrow(in_schema(_SCHEMA, schema)) or (False, False, "")
    if not exists:
        if not allowed:
            raise MigrationError(
                f"the role {role} may not create the schema {schema}\n"
                f'  remedy: let an administrator run: CREATE SCHEMA "{schema}" AUTHORIZATION "{role}"'
            )
        await connection.execute(in_schema("CREATE SCHEMA supervisor", schema))
    await connection.execute(in_schema(_CREATE, schema))


async def write(connection: Connection, schema: str, migration: Migration, execution_time_ms: int | None) -> None:
    """Record that a migration was applied, or, without an execution time, that it was begun.

    Raises:
        MigrationError: it is recorded as applied already, which cannot be while we have the turn.

    """
    who = f"{socket.gethostname()}:{os.getpid()}"
    row = (migration.version, migration.name, migration.checksum, execution_time_ms, who)
    if await connection.fetchval(in_schema(_WRITE, schema), *row) is None:
        raise MigrationError(
            f"{migration.label} was applied by somebody else in the meantime\n  remedy: try again", transient=True
        )


def compare(files: Iterable[Migration], records: Iterable[Record]) -> tuple[Entry, ...]:
    """Put files and records side by side, in the order of their numbers."""
    by_number = {file.version: file for file in files}
    recorded = {record.version: record for record in records}
    entries = []
    for version in sorted(by_number.keys() | recorded.keys()):
        file, record = by_number.get(version), recorded.get(version)
        name = file.name if file is not None else record.name if record is not None else ""
        entries.append(Entry(version, name, _state(file, record), file, record))
    return tuple(entries)


def _state(file: Migration | None, record: Record | None) -> State:
    if file is None:
        return State.UNKNOWN
    if record is None:
        return State.PENDING
    if record.applied_at is None:
        return State.UNFINISHED
    return State.APPLIED if record.checksum == file.checksum else State.MODIFIED


def problems(entries: Sequence[Entry]) -> tuple[str, ...]:
    """Say why these migrations cannot be worked with, each with its remedy; nothing if they can."""
    last = max((entry.version for entry in entries if entry.state in {State.APPLIED, State.MODIFIED}), default=0)
    return tuple(text for entry in entries if (text := _problem(entry, last)) is not None)


def _problem(entry: Entry, last: int) -> str | None:
    file, record = entry.file, entry.record
    match entry.state:
        case State.APPLIED | State.UNFINISHED:
            return None
        case State.PENDING:
            if entry.version > last:
                return None
            return (
                f"{entry.label} is not recorded as applied, but {last:03} is: schema_migrations has a hole\n"
                "  remedy: bring the record back, from a backup or from a database of the same release"
            )
        case State.MODIFIED:
            problem = f"{file.path if file else entry.label}: was modified after it was {_applied(record)}"
            remedy = "bring back the text that was applied, and put the change into a new migration"
        case State.UNKNOWN:
            problem = f"the database is newer than this code: {entry.label} was {_applied(record)} and has no file here"
            remedy = "run the release that brought it; if the file was deleted or renumbered, bring it back"
        case _:
            assert_never(entry.state)
    checksums = (record.checksum if record else "none", file.checksum if file else "none")
    return "{}\n  checksum when applied: {}\n  checksum of the file:  {}\n  remedy: {}".format(
        problem, *checksums, remedy
    )


def _applied(record: Record | None) -> str:
    if record is None or record.applied_at is None:
        return "begun"
    return f"applied at {record.applied_at:%Y-%m-%d %H:%M:%S} UTC by {record.applied_by}"
