"""The ways of an enqueue to the database: through a pool of ours, or on a connection that the caller has."""

from __future__ import annotations

import asyncio
from functools import lru_cache
from typing import TYPE_CHECKING, Final, TypeVar

from supervisor.errors import DatabaseUnavailable, StatementRefused
from supervisor.jobs.enqueue_failure import WRONG_VALUE
from supervisor.store.failures import NO_PERMIT, no_permit
from supervisor.store.schema_name import DEFAULT_SCHEMA, in_schema

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from supervisor.errors import SupervisorError
    from supervisor.jobs.context import Connection
    from supervisor.store.database import Database
    from supervisor.store.enqueue import Row
    from supervisor.store.link import Link

T = TypeVar("T")

_in_schema: Final = lru_cache(maxsize=64)(in_schema)


async def through(database: Database, within: float, work: Callable[[Link, float], Awaitable[T]]) -> T:
    """Do something on a link of the pool; it gets the seconds that are left.

    What certainly was not done is tried again until the time is over. Raises DatabaseUnavailable.
    """
    now = asyncio.get_running_loop().time
    deadline = now() + within
    while True:
        try:
            async with database.connection(deadline - now()) as link:
                done = await work(link, deadline - now())
        except DatabaseUnavailable as error:
            wait = database.outage.failed(error)
            if error.unknown or now() + wait >= deadline:
                raise
            await asyncio.sleep(wait)
        else:
            database.outage.recovered()
            return done


class OnConnection:
    """The connection of a caller's own transaction; errors of the database stay those of its driver."""

    __slots__ = ("_connection", "_schema", "_within")

    def __init__(self, connection: Connection, schema: str, within: float) -> None:
        self._connection = connection
        self._schema = schema
        self._within = within

    @property
    def is_in_transaction(self) -> bool:
        """Whether a transaction is open, as far as the connection can tell."""
        tell = getattr(self._connection, "is_in_transaction", None)
        return tell is None or bool(tell())

    async def fetch(self, query: str, /, *args: object) -> Sequence[Row]:
        """Run a query and return all rows."""
        text = query if self._schema == DEFAULT_SCHEMA else _in_schema(query, self._schema)
        try:
            async with asyncio.timeout(self._within):
                return await self._connection.fetch(text, *args)
        except Exception as error:
            told = _refusal(error, self._within)
            if told is None:
                raise
            raise told from error


def _refusal(error: Exception, within: float) -> SupervisorError | None:
    """Return our error for those of the driver that say something about the job; the others are the caller's."""
    if isinstance(error, TimeoutError):
        return DatabaseUnavailable(f"no answer within {within:g} s on the connection given as conn", unknown=True)
    if getattr(error, "sqlstate", None) == WRONG_VALUE:
        # The message alone: the detail may quote a row.
        return StatementRefused(WRONG_VALUE, getattr(error, "message", "it is wrong"), getattr(error, "hint", None))
    if getattr(error, "sqlstate", None) in NO_PERMIT:
        return no_permit(
            getattr(error, "message", "not now"), getattr(error, "hint", None), getattr(error, "detail", None)
        )
    return None
