"""Runs the work of a command with a connection to the configured database, and turns its errors into exit codes."""

from __future__ import annotations

import os
import signal
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar

import typer

from supervisor.errors import (
    DatabaseStartFailed,
    DatabaseUnavailable,
    EnqueueRefused,
    InvalidPayload,
    MigrationError,
    StatementRefused,
)
from supervisor.process.exit_code import ExitCode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from supervisor.config import Config, Secret
    from supervisor.store.link import Link

T = TypeVar("T")

INTERRUPTED: Final = 128 + signal.SIGINT
"""The exit code after Ctrl-C, as a shell reports it."""

# What a database without our tables, functions or columns answers.
_NO_SCHEMA: Final = frozenset({"3F000", "42P01", "42883", "42703"})
_CONNECT: Final = 10.0


@dataclass(slots=True)
class DatabaseSession:
    """The database of one command, and a connection to it."""

    link: Link
    url: str
    config: Config
    setting: str = "database_url"

    @classmethod
    async def connect(cls, url: str, config: Config, setting: str) -> DatabaseSession:
        """Connect; raises as `link.connect`."""
        return cls(await _connect(url, config, setting), url, config, setting)

    async def reconnect(self) -> None:
        """Connect anew, if the connection is broken."""
        if self.link.is_broken:
            self.link = await _connect(self.url, self.config, self.setting)

    async def close(self) -> None:
        """Disconnect."""
        await self.link.close()


def with_database(
    config: Config,
    work: Callable[[DatabaseSession], Awaitable[T]],
    *,
    create: bool = False,
    endless: bool = False,
) -> T:
    """Run `work` and return its result, or leave with one line on stderr and the exit code that says what happened.

    Without a database URL the process's own PostgreSQL is used, and started for the time; `create` says whether there
    may be none yet. `endless` work ends with Ctrl-C, which is then no interruption. Raises ConfigError.
    """
    import asyncio

    async def run() -> T:
        async with _opened(config, create=create) as session:
            return await work(session)

    try:
        return _guarded(lambda: asyncio.run(run()))
    except KeyboardInterrupt:
        if endless:
            raise typer.Exit(ExitCode.CLEAN) from None
        leave(INTERRUPTED, "interrupted")


def leave(code: int, message: str) -> NoReturn:
    """End the command with this exit code after a line on stderr."""
    typer.echo(f"supervisor: {message}", err=True)
    raise typer.Exit(code)


def _guarded(work: Callable[[], T]) -> T:
    try:
        return work()
    except DatabaseUnavailable as error:
        leave(ExitCode.NO_START, str(error))
    except DatabaseStartFailed as error:
        leave(ExitCode.NO_START, str(error))
    except MigrationError as error:
        leave(ExitCode.NO_START if error.transient else ExitCode.CONFIG, str(error))
    except (InvalidPayload, EnqueueRefused) as error:
        leave(ExitCode.USAGE, str(error))
    except StatementRefused as error:
        if error.sqlstate in _NO_SCHEMA:
            leave(ExitCode.CONFIG, f"{_missing(error)}\n  remedy: python -m supervisor migrate up")
        leave(ExitCode.CONFIG, str(error))


def _missing(error: StatementRefused) -> str:
    return f"the database does not have the schema of this release: {error.message}"


@asynccontextmanager
async def _opened(config: Config, *, create: bool) -> AsyncIterator[DatabaseSession]:
    """Connect past a pooler, where there is a way: a command has one connection and may want all of it."""
    async with AsyncExitStack() as stack:
        setting = "database_url" if config.direct_database_url is None else "direct_database_url"
        given: Secret | None = getattr(config, setting)
        url = await stack.enter_async_context(_embedded(config, create=create)) if given is None else given.reveal()
        session = await DatabaseSession.connect(url, config, setting)
        stack.push_async_callback(session.close)
        yield session


async def _connect(url: str, config: Config, setting: str) -> Link:
    from supervisor.store.link import connect

    return await connect(url, schema=config.schema, name="supervisor command", within=_CONNECT, setting=setting)


@asynccontextmanager
async def _embedded(config: Config, *, create: bool) -> AsyncIterator[str]:
    """Use the process's own PostgreSQL: that of a running process, or one that is started for the time."""
    from supervisor.store.embedded import EmbeddedPostgres
    from supervisor.store.embedded.folder import DataFolder, default_data_dir
    from supervisor.store.migrate import up

    folder = default_data_dir(os.environ) if config.data_dir is None else config.data_dir
    if not create and DataFolder.within(folder).major() is None:
        leave(
            ExitCode.NO_START,
            f"there is no database: database_url is not set, and {folder} has none\n"
            "  remedy: set DATABASE_URL, or start a worker, or enqueue a job",
        )
    server = EmbeddedPostgres(folder, bindir=config.pg_bindir, progress=lambda line: typer.echo(line, err=True))
    async with server:
        if config.migrate:
            await up(server.dsn, schema=config.schema)
        yield server.dsn
