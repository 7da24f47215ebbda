"""Hears the notifications of the database: of work in a queue, a cancelled job, a change of the switches.

They are hints: a notification can be lost with its connection, and a transaction pooler loses most of them. So `probe`
sends one to itself over the same connection, which shows that the connection lives, and everybody polls all the same.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Final

from supervisor.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisor.store.database import Database
    from supervisor.store.link import Link


class Wakeups:
    """A link of its own, past the pooler, that listens.

    `on_queue` gets the name of a queue, `on_cancel` the id of a job and `on_control` the epoch of the switches;
    `on_lost` is called once if the connection ends by itself. All are called by the event loop and must return at once.
    """

    def __init__(
        self,
        link: Link,
        *,
        on_queue: Callable[[str], None],
        on_cancel: Callable[[int], None],
        on_control: Callable[[int], None] | None = None,
        on_lost: Callable[[], None] | None = None,
    ) -> None:
        self._link: Final = link
        self._on_queue: Final = on_queue
        self._on_cancel: Final = on_cancel
        self._on_control: Final = on_control
        self._on_lost: Final = on_lost
        self._own: Final = f"supervisor_probe_{secrets.token_hex(8)}"
        self._closing = False
        self._probed: asyncio.Future[bool] | None = None

    @classmethod
    async def open(  # noqa: PLR0913 - a callback for each kind
        cls,
        database: Database,
        *,
        on_queue: Callable[[str], None],
        on_cancel: Callable[[int], None],
        on_control: Callable[[int], None] | None = None,
        on_lost: Callable[[], None] | None = None,
        within: float = 10.0,
    ) -> Wakeups:
        """Connect and listen.

        Raises:
            DatabaseUnavailable: the database is out of reach.
            StatementRefused: it refuses us.

        """
        link = await database.dedicated("listener", direct=True, within=within)
        ours = cls(link, on_queue=on_queue, on_cancel=on_cancel, on_control=on_control, on_lost=on_lost)
        try:
            await ours._start()
        except BaseException:
            link.kill()
            raise
        return ours

    async def probe(self, within: float = 5.0) -> None:
        """Notify ourselves and wait for it. Raises DatabaseUnavailable if it does not arrive; open another then."""
        self._probed = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(within):
                await self._link.execute("SELECT pg_notify($1, '')", self._own, within=within)
                lives = await self._probed
        except TimeoutError:
            self._link.kill()
            raise DatabaseUnavailable(f"no notification arrives: none came within {within:g} s") from None
        finally:
            self._probed = None
        if not lives:
            raise DatabaseUnavailable("the connection that listens was lost")

    async def close(self, within: float = 2.0) -> None:
        """Stop listening; `on_lost` is not called."""
        self._closing = True
        await self._link.close(within)

    async def _start(self) -> None:
        self._link.on_end(self._ended)
        schema = self._link.schema
        await self._link.listen(schema, self._on_queue)
        await self._link.listen(f"{schema}_cancel", self._numbered(self._on_cancel))
        if self._on_control is not None:
            await self._link.listen(f"{schema}_control", self._numbered(self._on_control))
        await self._link.listen(self._own, self._arrived)

    def _ended(self) -> None:
        if self._probed is not None and not self._probed.done():
            self._probed.set_result(False)
        if self._on_lost is not None and not self._closing:
            self._on_lost()

    @staticmethod
    def _numbered(callback: Callable[[int], None]) -> Callable[[str], None]:
        def hear(payload: str) -> None:
            if payload.isascii() and payload.isdigit():  # anybody may notify anything
                callback(int(payload))

        return hear

    def _arrived(self, _: str) -> None:
        if self._probed is not None and not self._probed.done():
            self._probed.set_result(True)
