"""Turns what PostgreSQL says about a statement into a message that shows the line of the file it is about."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Final

import asyncpg

from supervisor.errors import MigrationError
from supervisor.store.migration_session import transient
from supervisor.store.schema_name import in_schema

if TYPE_CHECKING:
    from supervisor.store.migration_files import Migration, Statement
    from supervisor.store.migration_session import Connection
    from supervisor.store.schema_name import Renamed

_REMEDIES: Final = {
    "25001": "put it alone into a file whose first line is `-- supervisor: no-transaction`",
    "3F000": "name the schema: supervisor.name",
    "42P06": "the schema exists before the first migration: write CREATE SCHEMA IF NOT EXISTS, or leave it out",
    "55P03": "the table is in use: try again, or wait longer with `-- supervisor: lock-timeout=30s` on the first line",
    "57014": "if it was at work and not blocked, give it longer with `-- supervisor: timeout=30m` on the first line",
}
_PUT_DOWN: Final = "INSERT INTO supervisor.migration_failures (version, name, problem) VALUES ($1, $2, $3)"
_LONGEST: Final = 500
"""Characters that are kept of what went wrong."""
_PATIENCE: Final = 2.0
"""Seconds for putting it down."""
_PUT_THERE: Final = re.compile(r"\A\s*(?:SELECT\b)?\s*")


def failure(migration: Migration, statement: Statement, sent: Renamed, error: asyncpg.PostgresError) -> MigrationError:
    """Make the error of a statement that failed; `sent` is the statement as PostgreSQL saw it."""
    offset = statement.start + sent.original(_offset(sent.text, error))
    # The first argument, since `str` of the error would repeat detail and hint.
    lines = [migration.at(offset, f"{error.args[0]} ({error.sqlstate})")]
    remedy = _REMEDIES.get(error.sqlstate or "")
    named = (("detail", error.detail), ("hint", error.hint), ("remedy", remedy), ("afterwards", aftermath(migration)))
    lines += [f"  {name}: {text}" for name, text in named if text]
    return MigrationError("\n".join(lines), transient=transient(error))


def at_the_end(migration: Migration, error: asyncpg.PostgresError) -> MigrationError:
    """Make the error of a migration whose statements left something that cannot be committed."""
    detail = f"\n  detail: {error.detail}" if error.detail else ""
    return MigrationError(
        f"{migration.path}: cannot be committed: {error.args[0]} ({error.sqlstate}){detail}\n"
        f"  afterwards: {aftermath(migration)}",
        transient=transient(error),
    )


def too_slow(migration: Migration, timeout: float) -> MigrationError:
    """Make the error of a migration that was given up."""
    return MigrationError(
        f"{migration.path}: took longer than {timeout:g} s and was given up\n"
        f"  remedy: {_REMEDIES['57014']}\n  afterwards: {aftermath(migration)}",
        transient=True,
    )


def aftermath(migration: Migration) -> str:
    """Say what is left of a migration that failed."""
    if migration.transactional:
        return f"nothing of {migration.label} was kept"
    return f"{migration.label} has no transaction, so parts of it may stay; it is recorded as unfinished and runs again"


def _offset(text: str, error: asyncpg.PostgresError) -> int:
    """Find where in the statement the error is; without a word about that, it is about the whole statement."""
    if error.position is not None:
        return int(error.position) - 1
    # Something within a function or a DO block: find it again, if it stands in the file just once. What is shown of it
    # may begin with a SELECT that PL/pgSQL put there, instead of PERFORM or before an expression.
    inner, position = error.internal_query, error.internal_position
    if inner is not None and position is not None:
        shown = _PUT_THERE.sub("", inner)
        offset = int(position) - 1 - (len(inner) - len(shown))
        if offset >= 0 and text.count(shown) == 1:
            return text.index(shown) + offset
    return 0


async def put_down(connection: Connection, schema: str, migration: Migration, error: MigrationError) -> None:
    """Put a failure on record, for the metrics, if the database can still be told and has the table for it."""
    text = str(error).partition("\n")[0][:_LONGEST]
    with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
        sql = in_schema(_PUT_DOWN, schema)
        await connection.execute("ROLLBACK", timeout=_PATIENCE)
        await connection.execute(sql, migration.version, migration.name, text, timeout=_PATIENCE)
