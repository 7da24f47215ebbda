"""The proxy of a campaign, behind which the server itself may be gone."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from tests.store.fault_proxy import FaultProxy

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator


class Network(FaultProxy):
    """As the proxy is, and in order when the server cannot be reached, or is cut off in the middle of a piece."""

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await super()._serve(reader, writer)
        except (OSError, RuntimeError):
            pass  # no server there now, or the connection was reset between two steps
        finally:
            writer.transport.abort()
            self._passed.update({way: bytearray() for way in self._passed})  # nobody asks what has passed


@contextlib.asynccontextmanager
async def network(dsn: str) -> AsyncIterator[Network]:
    """Give a proxy before this database."""
    async with Network(dsn) as proxy:
        yield proxy
