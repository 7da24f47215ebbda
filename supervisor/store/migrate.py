"""Brings the schema of a database to what this code needs, forward only, and says how far it is.

Each migration is one transaction, which also writes its record, so a crash at any moment leaves it done or not done.
The exception is a migration with `no-transaction`: it is recorded as begun, run, and recorded as applied. After a crash
between these steps it runs again, which must do no harm (see `migration_files.parse`). Any number of processes may
start at once: each migration is applied by one of them, and the others wait.

The URL must lead to PostgreSQL itself and not through a pooler that shares connections between transactions.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from supervisor.errors import MigrationError
from supervisor.store.migration_files import load
from supervisor.store.migration_ledger import Entry, State, compare, problems, read
from supervisor.store.migration_run import Applied, Progress, Run, Step
from supervisor.store.migration_session import Limits, connected
from supervisor.store.schema_name import DEFAULT_SCHEMA, check_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.resources.abc import Traversable

    from supervisor.store.migration_files import Migration

__all__ = ["Applied", "Entry", "Limits", "Progress", "Report", "State", "Status", "Step", "status", "up", "verify"]

_LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True)
class Status:
    """How far a database is: every migration known to the code or to the database, in order, and what is wrong."""

    schema: str
    entries: tuple[Entry, ...]
    problems: tuple[str, ...]

    @property
    def version(self) -> int:
        """The last version that was applied; 0 if none was."""
        return max((entry.version for entry in self.entries if entry.record and entry.record.applied_at), default=0)

    @property
    def pending(self) -> tuple[Entry, ...]:
        """Those that `up` would apply."""
        return tuple(entry for entry in self.entries if entry.state in {State.PENDING, State.UNFINISHED})


@dataclass(frozen=True, slots=True)
class Report:
    """What `up` did, or, if it was a dry run, would do. Others may have applied more at the same time."""

    schema: str
    dry_run: bool
    applied: tuple[Applied, ...]


async def status(
    dsn: str, *, schema: str = DEFAULT_SCHEMA, folder: Traversable | None = None, limits: Limits = _LIMITS
) -> Status:
    """Say how far a database is, and change nothing.

    Raises:
        ConfigError: the URL, or the name of the schema, cannot be.
        MigrationError: the files cannot be read, or the database cannot.

    """
    check_schema(schema)
    files = load(folder)
    async with connected(dsn, limits) as connection:
        entries = compare(files, await read(connection, schema))
    return Status(schema, entries, problems(entries))


async def verify(
    dsn: str, *, schema: str = DEFAULT_SCHEMA, folder: Traversable | None = None, limits: Limits = _LIMITS
) -> Status:
    """Check that the database is exactly what this code needs, and change nothing.

    Raises:
        ConfigError: the URL, or the name of the schema, cannot be.
        MigrationError: something is modified, unknown, unfinished or pending, or the database cannot be read.

    """
    found = await status(dsn, schema=schema, folder=folder, limits=limits)
    if found.problems:
        raise MigrationError("\n".join(found.problems))
    if found.pending:
        waiting = ", ".join(f"{entry.label} ({entry.state})" for entry in found.pending)
        raise MigrationError(
            f"the database is older than this code: it lacks {waiting}\n  remedy: python -m supervisor migrate up"
        )
    return found


async def up(  # noqa: PLR0913 - keywords, each with a default
    dsn: str,
    *,
    schema: str = DEFAULT_SCHEMA,
    folder: Traversable | None = None,
    dry_run: bool = False,
    limits: Limits = _LIMITS,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Report:
    """Apply every migration that is pending, in order; with `dry_run` do it in one transaction and undo it.

    A dry run takes the same locks, and does not run what cannot be in a transaction: of that it checks the syntax.

    Raises:
        ConfigError: the URL, or the name of the schema, cannot be.
        MigrationError: the files break a rule, the database has modified or unknown migrations, a statement failed, or
            the database cannot be reached in time. What was applied before the one that failed stays.

    """
    check_schema(schema)
    files = load(folder)
    async with connected(dsn, limits) as connection:
        # All that will run is read before the first of it runs; in a thread, for it takes its time.
        await asyncio.to_thread(_parse, compare(files, await read(connection, schema)), files)
        run = Run(connection, dsn, schema, files, limits, progress)
        return Report(schema, dry_run, await (run.rehearse() if dry_run else run.apply_all()))


def _parse(entries: Sequence[Entry], files: Sequence[Migration]) -> None:
    pending = {entry.version for entry in entries if entry.state in {State.PENDING, State.UNFINISHED}}
    for file in files:
        if file.version in pending:
            _ = file.content
