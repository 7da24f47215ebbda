"""Makes CREATE INDEX CONCURRENTLY safe to run again.

When it fails, or its server dies, it leaves an invalid index under the name: it slows every write, answers no query,
and IF NOT EXISTS takes it for the index that is wanted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from supervisor.errors import MigrationError
from supervisor.store.schema_name import check_schema
from supervisor.store.sql_tokens import significant

if TYPE_CHECKING:
    from supervisor.store.migration_files import Migration
    from supervisor.store.migration_session import Connection

_BEGINNING: Final = ("create", "index", "concurrently", "if", "not", "exists")
_LOOK: Final = """
SELECT index.indrelid::regclass::text FROM pg_index AS index
WHERE index.indexrelid = to_regclass($1) AND NOT index.indisvalid"""


def built_by(migration: Migration) -> str | None:
    """Return the name, as SQL, of the index that a migration without a transaction builds; None if it builds none."""
    tokens = [token.text for token in significant(migration.statements[0].sql)]
    words = [text.lower() for text in tokens[: len(_BEGINNING) + 1] if text.lower() != "unique"]
    if tuple(words[: len(_BEGINNING)]) != _BEGINNING:
        return None
    return tokens[len(_BEGINNING) + (tokens[1].lower() == "unique")]


async def clear(connection: Connection, schema: str, index: str, patience: float) -> None:
    """Drop an index if it is invalid and nobody is building it, so that it can be built anew.

    Waits, within the time limits of the session and at most `patience` seconds a statement, for whoever is building it:
    the server may still be at work for a process that died.
    """
    name = f'"{check_schema(schema)}".{index}'
    if (table := await connection.fetchval(_LOOK, name)) is None:
        return
    # Building takes this lock from beginning to end.
    await connection.execute(f"BEGIN; LOCK TABLE {table} IN SHARE UPDATE EXCLUSIVE MODE; COMMIT", timeout=patience)
    if await connection.fetchval(_LOOK, name) is not None:
        await connection.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}", timeout=patience)


async def require_valid(connection: Connection, schema: str, index: str) -> None:
    """Check the index after it was built. Raises MigrationError, transient, if it is of no use."""
    if await connection.fetchval(_LOOK, f'"{check_schema(schema)}".{index}') is not None:
        raise MigrationError(
            f"the index {schema}.{index} is invalid: building it failed elsewhere\n"
            "  remedy: try again; the next attempt drops it first",
            transient=True,
        )
