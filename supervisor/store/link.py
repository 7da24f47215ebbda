"""One connection to PostgreSQL and what can be called on it; no call can hang."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterable
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Final, TypeVar

import asyncpg

from supervisor.errors import DatabaseUnavailable, StatementRefused
from supervisor.store.dial import Call, dial
from supervisor.store.failures import said
from supervisor.store.guarded import Guarded
from supervisor.store.schema_name import DEFAULT_SCHEMA, check_schema, in_schema

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence

    from asyncpg.transaction import Transaction

    from supervisor.store.session import Session

WITHIN: Final = 10.0
"""Seconds for a call that does not say otherwise."""

_ROLLBACK: Final = 2.0
_rename: Final = lru_cache(maxsize=1024)(in_schema)
_Row = TypeVar("_Row", bound=asyncpg.Record)


async def connect(  # noqa: PLR0913 - a connection has as many properties
    url: str,
    *,
    schema: str = DEFAULT_SCHEMA,
    name: str = "supervisor",
    pooler: bool = False,
    within: float = WITHIN,
    setting: str = "database_url",
) -> Link:
    """Connect, on whatever event loop runs here.

    `name` is what PostgreSQL shows as application_name. With a `pooler` that gives each transaction another
    connection (PgBouncer), nothing is kept in the session: no settings, no prepared statements.

    Raises:
        ConfigError: the URL cannot be understood; `setting` is what the user calls it.
        DatabaseUnavailable: the database cannot be reached now, or takes no writes.
        StatementRefused: the database does not want us, for instance for a wrong password.

    """
    check_schema(schema)
    session = await dial(Call(url=url, name=name, pooler=pooler, setting=setting), within)
    try:
        return Link(session, schema)
    except OSError as error:
        session.terminate()
        raise DatabaseUnavailable(f"no file descriptor for a connection: {error}") from None


class Link(Guarded):
    """One connection, for one call at a time.

    Each call takes at most `within` seconds, and raises:
        DatabaseUnavailable: the database is out of reach, too slow, or cannot do it now. `unknown` says that the
            statement may have been carried out.
        StatementRefused: the database refused the statement.
        LeaseLost: a function of ours found that the worker has no lease.

    SQL is written for the schema `supervisor` and put into ours.
    """

    def __init__(self, session: Session, schema: str = DEFAULT_SCHEMA) -> None:
        super().__init__(session)
        self.schema: Final = schema
        self.server_pid: Final = session.get_server_pid()
        """The process of the server behind this link."""
        self._renamed: Final = schema != DEFAULT_SCHEMA

    def __repr__(self) -> str:
        state = "broken" if self.is_broken else "busy" if self._deadline is not None else "idle"
        return f"<Link schema={self.schema} {state}>"

    @property
    def raw(self) -> asyncpg.Connection[asyncpg.Record]:
        """The connection itself, for a user's own statements in a transaction; its calls have no deadline."""
        return self._session

    @property
    def is_in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return not self.is_broken and self._session.is_in_transaction()

    async def fetch(self, sql: str, *args: object, within: float = WITHIN) -> list[asyncpg.Record]:
        """Return all rows."""
        self._begin(within)
        try:
            rows = await self._session.fetch(_rename(sql, self.schema) if self._renamed else sql, *args)
        except BaseException as error:
            self._fail(error)
            raise
        self._end()
        return rows

    async def fetch_as(self, row: type[_Row], sql: str, *args: object, within: float = WITHIN) -> list[_Row]:
        """Return all rows as objects of this class."""
        self._begin(within)
        try:
            text = _rename(sql, self.schema) if self._renamed else sql
            rows = await self._session.fetch(text, *args, record_class=row)
        except BaseException as error:
            self._fail(error)
            raise
        self._end()
        return rows

    async def fetchrow(self, sql: str, *args: object, within: float = WITHIN) -> asyncpg.Record | None:
        """Return the first row, or None if there is none."""
        text = _rename(sql, self.schema) if self._renamed else sql
        return await self._call(partial(self._session.fetchrow, text, *args), within)

    async def fetchval(self, sql: str, *args: object, within: float = WITHIN) -> object:
        """Return the first column of the first row, or None if there is no row."""
        text = _rename(sql, self.schema) if self._renamed else sql
        return await self._call(partial(self._session.fetchval, text, *args), within)

    async def execute(self, sql: str, *args: object, within: float = WITHIN) -> str:
        """Run a statement, or without arguments several, and return the tag of the last: `DELETE 3`."""
        text = _rename(sql, self.schema) if self._renamed else sql
        return await self._call(partial(self._session.execute, text, *args), within)

    async def copy(
        self,
        table: str,
        columns: Sequence[str],
        rows: Iterable[Sequence[object]] | AsyncIterable[bytes],
        *,
        binary: bool = False,
        within: float = WITHIN,
    ) -> int:
        """Copy rows into a table of our schema and return how many.

        Rows are sequences of values; or they are bytes as COPY reads them, as text or, if `binary`, in its binary
        format, in pieces cut anywhere.
        """
        if isinstance(rows, AsyncIterable):
            call = partial(
                self._session.copy_to_table,
                table,
                source=rows,
                columns=columns,
                schema_name=self.schema,
                format="binary" if binary else "text",
            )
        else:
            call = partial(
                self._session.copy_records_to_table, table, records=rows, columns=columns, schema_name=self.schema
            )

        async def bounded() -> str:
            # Who waits until there is room to send is woken by a cancellation, but not by the end of the connection.
            try:
                async with asyncio.timeout(within) as limit:
                    return await call()
            except TimeoutError:
                self.expired = limit.expired()
                raise

        return int((await self._call(bounded, within, spare=1.0)).removeprefix("COPY "))

    @contextlib.asynccontextmanager
    async def transaction(self, *, within: float = WITHIN) -> AsyncIterator[None]:
        """Run the block in a transaction (READ COMMITTED), or in a savepoint of the one that is open.

        `within` is for each of BEGIN and COMMIT. An error in the block rolls back; a cancellation drops the
        connection, and the server rolls back.

        Raises:
            DatabaseUnavailable: `unknown` only if COMMIT was under way; before it, nothing is carried out.

        """
        outer, self._revocable = self._revocable, True
        transaction = self._session.transaction(isolation="read_committed")
        try:
            await self._begin_transaction(transaction, within)
            try:
                yield
            except Exception as error:
                lost = self._is_lost and isinstance(error, asyncpg.PostgresError | asyncpg.InterfaceError)
                await self._undo(transaction)
                if lost:  # on the connection itself, which raises what asyncpg does
                    raise DatabaseUnavailable(f"the connection to the database was lost: {said(error)}") from None
                raise
            except BaseException:
                self.kill()
                raise
            self._revocable = outer
            await self._call(transaction.commit, within)
        finally:
            self._revocable = outer

    async def _begin_transaction(self, transaction: Transaction, within: float) -> None:
        try:
            await self._call(transaction.start, within)
        except BaseException:
            self.kill()  # asyncpg would take it for begun
            raise

    async def _undo(self, transaction: Transaction) -> None:
        """Roll back, or drop the connection, which is the same."""
        if self.is_broken:
            return
        try:
            await self._call(transaction.rollback, _ROLLBACK)
        except (DatabaseUnavailable, StatementRefused):
            self.kill()

    async def listen(self, channel: str, callback: Callable[[str], None]) -> None:
        """Call back with the payload of each notification on this channel, from now until the connection ends.

        The channel's name is taken as it is. A transaction pooler takes LISTEN without a word, and nothing arrives.
        """

        def on_notification(_: object, _pid: int, _channel: str, payload: object) -> None:
            callback(str(payload))

        await self._call(partial(self._session.add_listener, channel, on_notification), WITHIN)

    def on_end(self, callback: Callable[[], None]) -> None:
        """Call back, once and soon, when the connection has ended for whatever reason."""
        self._session.add_termination_listener(lambda _: callback())
