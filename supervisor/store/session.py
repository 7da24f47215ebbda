"""The connection class we give to asyncpg: it never waits in order to give up a statement, and hears one warning.

asyncpg ends a cancelled statement by asking the server over a second connection, and waits for the answer without a
limit. Here such a connection is dropped instead, and the server ends the statement when it sees that we have gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import asyncpg

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable, Mapping

    from asyncpg.connect_utils import _ClientConfiguration, _ConnectionParameters
    from asyncpg.protocol.protocol import BaseProtocol

_WARNING: Final = "01000"
_WAIT: Final = "SyncRepWaitForLSN"  # the function of PostgreSQL that warns; its text is translated, its name is not


class Session(asyncpg.Connection):
    """A connection whose statements can be given up at once."""

    given_up: bool = False
    """A statement was given up, so that nobody knows what comes next on this connection."""

    unreplicated: bool = False
    """A commit was done here, but its wait for a standby was cut short; whoever reads it sets it back."""

    def __init__(  # noqa: PLR0913, PLR0917 - what asyncpg calls it with
        self,
        protocol: BaseProtocol[asyncpg.Record],
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        addr: tuple[str, int] | str,
        config: _ClientConfiguration,
        params: _ConnectionParameters,
    ) -> None:
        super().__init__(protocol, transport, loop, addr, config, params)
        self.on_given_up: Callable[[], None] = self.terminate
        self._at: Final = loop
        self.socket: Final[socket.socket] = transport.get_extra_info("socket")

    def _cancel_current_command(self, *_: object) -> None:
        """Drop the connection, where asyncpg would ask the server to cancel.

        Not within this call: the protocol writes to its transport once more after it.
        """
        self.given_up = True
        self._at.call_soon(self.on_given_up)

    def _process_log_message(self, fields: Mapping[str, str], last_query: str | None) -> None:
        if fields.get("C") == _WARNING and fields.get("R") == _WAIT:
            self.unreplicated = True
        super()._process_log_message(fields, last_query)  # type: ignore[misc]  # not in the stubs

    async def execute(self, query: str, *args: object, timeout: float | None = None) -> str:  # noqa: ASYNC109
        """Execute, but a transaction that is gone with its connection needs no ROLLBACK, and COMMIT must commit.

        The first keeps the error, or the cancellation, that ended a block of asyncpg's `transaction()`. The second:
        a COMMIT after a failed statement answers ROLLBACK, which asyncpg takes for success.
        """
        if query.startswith("ROLLBACK") and (self.given_up or self.is_closed()):
            return "ROLLBACK"
        status = await super().execute(query, *args, timeout=timeout)
        if status == "ROLLBACK" and query.startswith("COMMIT"):
            raise asyncpg.InFailedSQLTransactionError(
                "a statement of the transaction had failed; nothing was committed"
            )
        return status
