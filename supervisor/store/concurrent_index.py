"""Makes CREATE INDEX CONCURRENTLY safe to run again.

When it fails, or its server dies, it leaves an invalid index under the name: it slows every write, answers no query,
and IF NOT EXISTS takes it for the index that is wanted.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from supervisor.errors import MigrationError
from supervisor.store.schema_name import check_schema
from supervisor.store.sql_tokens import significant

if TYPE_CHECKING:
    from supervisor.store.migration_files import Migration
    from supervisor.store.migration_session import Connection

_BEGINNING: Final = ["create", "index", "concurrently", "if", "not", "exists"]
_PAUSE: Final = 0.1
# Whoever builds an index, or vacuums, has this lock on the table from beginning to end.
_LOOK: Final = """
SELECT ARRAY(
    SELECT lock.pid FROM pg_locks AS lock
    WHERE lock.locktype = 'relation' AND lock.relation = index.indrelid AND lock.granted
      AND lock.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND lock.mode = 'ShareUpdateExclusiveLock'
)
FROM pg_index AS index WHERE index.indexrelid = to_regclass($1) AND NOT index.indisvalid"""


def built_by(migration: Migration, schema: str) -> str | None:
    """Return the full name, as SQL, of the index that a migration without a transaction builds; None if it builds none.

    Raises ConfigError if no schema can have this name.
    """
    tokens = [token.text for token in significant(migration.statements[0].sql) if not token.is_word("unique")]
    if [text.lower() for text in tokens[: len(_BEGINNING)]] != _BEGINNING:
        return None
    return f'"{check_schema(schema)}".{tokens[len(_BEGINNING)]}'


async def clear(connection: Connection, name: str, *, wait: float, patience: float) -> None:
    """Drop an index if it is invalid, so that it can be built anew; what may take long is given `patience` seconds.

    Someone may still be building it: the server may be at work for a process that died. That is waited for, without a
    lock, since the builder waits for everybody who waits with one.

    Raises:
        MigrationError: somebody is still at it, or at another such task on its table, after `wait` seconds.

    """
    now = asyncio.get_running_loop().time
    deadline = now() + wait
    while (builders := await connection.fetchval(_LOOK, name)) is not None:
        if not builders:
            await connection.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}", timeout=patience)
            return
        if now() >= deadline:
            raise MigrationError(
                f"the index {name} is invalid, and process {builders[0]} of the database server is still at its table\n"
                "  remedy: wait for it and try again; if it hangs, end it with pg_terminate_backend",
                transient=True,
            )
        await asyncio.sleep(_PAUSE)


async def require_valid(connection: Connection, name: str) -> None:
    """Check the index after it was built. Raises MigrationError, transient, if it is of no use."""
    if await connection.fetchval(_LOOK, name) is not None:
        raise MigrationError(
            f"the index {name} is invalid: building it failed elsewhere\n"
            "  remedy: try again; the next attempt drops it first",
            transient=True,
        )
