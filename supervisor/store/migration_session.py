"""Connections and transactions of migrations: every wait is bounded, and one process at a time has its turn.

The turn is a transaction-level advisory lock, so it ends with its transaction however that ends. Nobody waits inside
PostgreSQL for it: a waiting statement would hold a snapshot, and CREATE INDEX CONCURRENTLY, run by whoever has the
turn, would wait for that snapshot for ever. It is asked for again and again instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import math
import os
import random
import socket
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final, TypeAlias

import asyncpg

from supervisor.errors import ConfigError, MigrationError
from supervisor.store.url import wrong_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]

CLIENT_MARGIN: Final = 5.0
"""Seconds after which we give up a statement that the server should have ended by its own limit."""

_RETRY: Final = (0.05, 0.2)
_PATIENT: Final = "SET LOCAL idle_in_transaction_session_timeout = 0"
_BEGIN: Final = f"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; {_PATIENT}"
# What a migration does must not depend on the settings of a role, of a database, or of an earlier migration. With an
# empty search_path a name without its schema is an error instead of a table in the wrong place.
_FIXED: Final = {
    "search_path": "",
    "standard_conforming_strings": "on",
    "check_function_bodies": "on",
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "client_min_messages": "warning",
    "idle_in_transaction_session_timeout": "0",
}
# Not every server knows these, or can do the last: it notices that we died while it was working for us.
_IF_POSSIBLE: Final = {"transaction_timeout": "0", "client_connection_check_interval": "1s"}
_SET: Final = "SELECT set_config(key, value, $3) FROM unnest($1::text[], $2::text[]) AS given (key, value)"
_TRY_SET: Final = """
DO $$
BEGIN
    PERFORM set_config('{key}', '{value}', {local});
EXCEPTION WHEN OTHERS THEN
    NULL;
END $$"""
_HOLDER: Final = """
SELECT format('process %s of the database server, called %L', lock.pid, activity.application_name)
FROM pg_locks AS lock JOIN pg_stat_activity AS activity ON activity.pid = lock.pid
WHERE lock.locktype = 'advisory' AND lock.granted AND lock.objsubid = 1
  AND lock.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND lock.classid::bigint << 32 | lock.objid::bigint = $1
LIMIT 1"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long each thing may take at most, in seconds. Raises ConfigError for what is no time."""

    connect_timeout: float = 10.0
    command_timeout: float = 10.0
    """For each of our own small statements."""
    turn_timeout: float = 300.0
    """To wait until no other process is migrating."""
    lock_timeout: float = 10.0
    """For one statement of a migration to wait for a table that is in use."""
    migration_timeout: float = 300.0
    """For one migration, with all its statements."""

    def __post_init__(self) -> None:
        for row in fields(self):
            value: float = getattr(self, row.name)
            if not 0 < value < math.inf:
                raise ConfigError(f"{row.name} = {value!r}: must be a number of seconds above 0\n  remedy: correct it")


def transient(error: asyncpg.PostgresError) -> bool:
    """Say whether an error is one of the moment: the connection, the load, a lock, a time limit."""
    state = error.sqlstate or ""
    return state[:2] in {"08", "53", "57", "58"} or state in {"25P03", "25P04", "40001", "40P01", "55P03"}


@contextlib.asynccontextmanager
async def connected(dsn: str, limits: Limits) -> AsyncIterator[Connection]:
    """Connect for the length of the block.

    Raises:
        ConfigError: the URL cannot be understood.
        MigrationError: the database cannot be reached, the connection is lost, or, in the block, PostgreSQL refuses.

    """
    connection = await _connect(dsn, limits)
    try:
        yield connection
    except asyncpg.PostgresError as error:
        lost = (error.sqlstate or "").startswith("08")
        what = "the connection to the database was lost" if lost else "the database refuses"
        raise MigrationError(f"{what}: {_said(error)}", transient=transient(error)) from error
    except (OSError, asyncpg.InterfaceError) as error:
        raise MigrationError(f"the connection to the database was lost: {_said(error)}", transient=True) from error
    finally:
        # Whatever transaction is open dies with the connection. A close that fails has become an abort.
        with contextlib.suppress(OSError, asyncpg.InterfaceError, asyncpg.PostgresError):
            await connection.close(timeout=limits.command_timeout)


async def _connect(dsn: str, limits: Limits) -> Connection:
    name = f"supervisor migrate {socket.gethostname()}:{os.getpid()}"
    try:
        async with asyncio.timeout(limits.connect_timeout):
            return await asyncpg.connect(
                dsn,
                timeout=limits.connect_timeout,
                command_timeout=limits.command_timeout,
                statement_cache_size=0,
                server_settings={"application_name": name[:63]},
            )
    except ValueError:
        raise wrong_url("database_url") from None  # its cause may quote the password
    except (OSError, asyncpg.InterfaceError, asyncpg.PostgresError) as error:
        raise MigrationError(f"cannot connect to the database: {_said(error)}", transient=True) from error


def _said(error: BaseException) -> str:
    return str(error) or ("it took too long" if isinstance(error, TimeoutError) else type(error).__name__)


@contextlib.asynccontextmanager
async def turn(
    connection: Connection, schema: str, limits: Limits, *, keep: bool = True, waiting: Callable[[str], None]
) -> AsyncIterator[None]:
    """Have the turn for the length of the block, in a transaction that is committed after it, or undone if not `keep`.

    `waiting` is called once if another process has the turn, with a description of that process.

    Raises:
        MigrationError: others had the turn for longer than `turn_timeout`.

    """
    await _take(connection, schema, limits, waiting)
    yield
    await connection.execute("COMMIT" if keep else "ROLLBACK")


async def _take(connection: Connection, schema: str, limits: Limits, waiting: Callable[[str], None]) -> None:
    now = asyncio.get_running_loop().time
    key, deadline, told = lock_key(schema), now() + limits.turn_timeout, False
    while True:
        await connection.execute(_BEGIN)
        if await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", key):
            return
        holder = await connection.fetchval(_HOLDER, key)
        await connection.execute("ROLLBACK")
        if holder is not None and not told:
            waiting(holder)
            told = True
        if now() >= deadline:
            raise MigrationError(
                f"another process was migrating for longer than {limits.turn_timeout:g} s: {holder or 'just ended'}\n"
                "  remedy: wait for it and try again; if it hangs, end it with pg_terminate_backend",
                transient=True,
            )
        await asyncio.sleep(random.uniform(*_RETRY))  # noqa: S311 - only keeps the waiting ones apart


def lock_key(schema: str) -> int:
    """Return the advisory lock's number, the same in every release: all processes of a schema must meet at it."""
    return int.from_bytes(hashlib.sha256(f"supervisor migrations of {schema}".encode()).digest()[:8], signed=True)


async def settle(connection: Connection, *, lock_timeout: float, statement_timeout: float, local: bool) -> None:
    """Put the session in a known state for a migration: for the transaction only, if `local`. 0 is no time limit."""
    await connection.execute(f"RESET ROLE; RESET ALL; {_PATIENT}" if local else "RESET ROLE; RESET ALL")
    limits = {"lock_timeout": lock_timeout, "statement_timeout": statement_timeout}
    settings = _FIXED | {name: str(math.ceil(seconds * 1000)) for name, seconds in limits.items()}
    await connection.execute(_SET, list(settings), list(settings.values()), local)
    for key, value in _IF_POSSIBLE.items():
        await connection.execute(_TRY_SET.format(key=key, value=value, local=str(local).lower()))
