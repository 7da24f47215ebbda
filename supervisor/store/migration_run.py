"""One run of the migrations: takes its turn, applies what is pending one by one, and writes it down."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import asyncpg

from supervisor.errors import MigrationError
from supervisor.store import concurrent_index, migration_ledger
from supervisor.store.migration_failure import at_the_end, failure, put_down, too_slow
from supervisor.store.migration_session import CLIENT_MARGIN, Limits, connected, settle, turn

if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisor.store.migration_files import Migration, Statement
    from supervisor.store.migration_session import Connection


@dataclass(frozen=True, slots=True)
class Applied:
    """A migration that was applied. Without a time it was only checked for its syntax: a dry run cannot run it."""

    version: int
    name: str
    execution_time_ms: int | None


class Step(StrEnum):
    """What is going on."""

    WAITING = "waiting"
    """Another process has its turn; `about` describes it."""
    STARTED = "started"
    FINISHED = "finished"
    """The statements of `about` have run; in a transaction, they are committed next."""
    FAILED = "failed"
    """A statement of `about` failed; the error follows as an exception."""


@dataclass(frozen=True, slots=True)
class Progress:
    """One step of a run; `about` is the migration, as in 001_jobs, and `seconds` the time since it was started."""

    step: Step
    about: str
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Run:
    """The migrations of one schema, and the connection to apply them on."""

    connection: Connection
    dsn: str
    schema: str
    files: tuple[Migration, ...]
    limits: Limits
    progress: Callable[[Progress], None]

    async def apply_all(self) -> tuple[Applied, ...]:
        """Apply everything that is pending; a migration that fails leaves those before it applied."""
        applied: list[Applied] = []
        # Looked at without a turn first: where nothing is pending, a thousand processes start without waiting.
        while await self._pending():
            under_way: Migration | None = None
            try:
                async with turn(self.connection, self.schema, self.limits, waiting=self._waiting):
                    if pending := await self._pending():
                        under_way = first = pending[0]
                        applied.append(await (self._within(first) if first.transactional else self._alone(first)))
            except MigrationError as error:
                if under_way is not None:
                    await put_down(self.connection, self.schema, under_way, error)
                raise
        return tuple(applied)

    async def rehearse(self) -> tuple[Applied, ...]:
        """Do the same in one transaction, and undo it."""
        async with turn(self.connection, self.schema, self.limits, keep=False, waiting=self._waiting):
            return tuple(
                [
                    await (self._within(migration) if migration.transactional else self._check_syntax(migration))
                    for migration in await self._pending()
                ]
            )

    async def _pending(self) -> tuple[Migration, ...]:
        return await migration_ledger.pending(self.connection, self.schema, self.files)

    def _waiting(self, holder: str) -> None:
        self.progress(Progress(Step.WAITING, holder))

    async def _within(self, migration: Migration) -> Applied:
        """Apply a migration in the transaction that has the turn."""
        await migration_ledger.create(self.connection, self.schema)
        elapsed = await self._execute(self.connection, migration)
        await self.connection.execute("RESET ROLE")
        await migration_ledger.write(self.connection, self.schema, migration, elapsed)
        return Applied(migration.version, migration.name, elapsed)

    async def _alone(self, migration: Migration) -> Applied:
        """Apply a migration without a transaction, on a second connection, while the first one keeps the turn."""
        # The first one must hold no snapshot, for which CREATE INDEX CONCURRENTLY would wait. The portal of its last
        # query with arguments would keep one; a simple query, which has none, replaces it.
        await settle(self.connection, lock_timeout=0, statement_timeout=0, local=True)
        await self.connection.execute("SELECT")
        async with connected(self.dsn, self.limits) as connection:
            await migration_ledger.write(connection, self.schema, migration, None)
            elapsed = await self._execute(connection, migration)
        await migration_ledger.write(self.connection, self.schema, migration, elapsed)
        return Applied(migration.version, migration.name, elapsed)

    async def _check_syntax(self, migration: Migration) -> Applied:
        statement = migration.statements[0]
        sent = statement.for_schema(self.schema)
        try:
            await self.connection.prepare(sent.text)
        except asyncpg.PostgresError as error:
            raise failure(migration, statement, sent, error) from error
        return Applied(migration.version, migration.name, None)

    async def _execute(self, connection: Connection, migration: Migration) -> int:
        """Run the statements of a migration, and return how many milliseconds that took."""
        timeout = migration.timeout or self.limits.migration_timeout
        lock_timeout = migration.lock_timeout or self.limits.lock_timeout
        await settle(connection, lock_timeout=lock_timeout, statement_timeout=timeout, local=migration.transactional)
        started = time.monotonic()
        self.progress(Progress(Step.STARTED, migration.label))
        try:
            async with asyncio.timeout(timeout + CLIENT_MARGIN):
                await (self._statements if migration.transactional else self._single)(connection, migration)
        except BaseException as error:
            self.progress(Progress(Step.FAILED, migration.label, time.monotonic() - started))
            if isinstance(error, TimeoutError):
                raise too_slow(migration, timeout) from error
            raise
        elapsed = time.monotonic() - started
        self.progress(Progress(Step.FINISHED, migration.label, elapsed))
        return round(elapsed * 1000)

    async def _statements(self, connection: Connection, migration: Migration) -> None:
        for statement in migration.statements:
            await self._statement(connection, migration, statement)
        try:
            # What the commit would check, while we still know whose fault it is.
            await connection.execute("SET CONSTRAINTS ALL IMMEDIATE", timeout=self._patience(migration))
        except asyncpg.PostgresError as error:
            raise at_the_end(migration, error) from error

    async def _single(self, connection: Connection, migration: Migration) -> None:
        index = concurrent_index.built_by(migration, self.schema)
        if index is not None:
            wait = migration.lock_timeout or self.limits.lock_timeout
            await concurrent_index.clear(connection, index, wait=wait, patience=self._patience(migration))
        await self._statement(connection, migration, migration.statements[0])
        if index is not None:
            await concurrent_index.require_valid(connection, index)

    async def _statement(self, connection: Connection, migration: Migration, statement: Statement) -> None:
        sent = statement.for_schema(self.schema)
        try:
            await connection.execute(sent.text, timeout=self._patience(migration))
        except asyncpg.PostgresError as error:
            raise failure(migration, statement, sent, error) from error

    def _patience(self, migration: Migration) -> float:
        """Return after how many seconds a statement is given up here; the server's own limit comes first."""
        return (migration.timeout or self.limits.migration_timeout) + CLIENT_MARGIN
