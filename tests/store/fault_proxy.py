"""A TCP proxy before a PostgreSQL server that does to connections what a bad network does."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from enum import Enum
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from typing import Self

_REMEMBERED: Final = 1 << 20
"""Bytes of what has passed, the last ones; what is waited for is among them."""
_AT_ONCE: Final = struct.pack("ii", 1, 0)  # SO_LINGER: close by reset


class Way(Enum):
    """One of the two directions."""

    UP = "to the server"
    DOWN = "to the client"


class FaultProxy:
    """A proxy on a port of 127.0.0.1; what it is told holds for its open connections and for those to come."""

    def __init__(self, dsn: str) -> None:
        parts = urlsplit(dsn)
        query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        self._target: Final = f"{query['host']}/.s.PGSQL.{query['port']}"
        self._place: Final = f"{parts.scheme}://{parts.netloc.rpartition('@')[0]}", parts.path
        self.latency: float = 0.0
        """Seconds by which each piece is late."""
        self.opened = 0
        """How many connections there were."""
        self._flows: Final = {way: asyncio.Event() for way in Way}
        self._room: Final[dict[Way, int | None]] = dict.fromkeys(Way)
        self._open: Final[set[asyncio.StreamWriter]] = set()
        self._passed: Final[dict[Way, bytearray]] = {way: bytearray() for way in Way}
        self._news: Final = asyncio.Event()
        self._server: asyncio.Server | None = None
        self.heal()

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def dsn(self) -> str:
        """The URL of the database through the proxy."""
        begin, path = self._place
        return f"{begin}@127.0.0.1:{self.port}{path}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.heal()
        self.reset()
        while self._open:
            self._news.clear()
            await self._news.wait()

    def swallow(self, *ways: Way) -> None:
        """Let nothing through any more in these directions, without a word to anybody."""
        for way in ways:
            self._flows[way].clear()

    def heal(self) -> None:
        """Let everything through again, and what was held back first."""
        for flow in self._flows.values():
            flow.set()

    def reset(self) -> None:
        """End all connections by a reset."""
        for writer in self._open:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
            writer.transport.abort()

    def cut_after(self, count: int, way: Way) -> None:
        """End the connections when that many bytes more have gone this way; nothing comes back from now on."""
        self.swallow(*(other for other in Way if other is not way))
        self._room[way] = count

    async def passed(self, text: bytes, way: Way) -> None:
        """Wait until this text has gone this way."""
        while text not in self._passed[way]:
            self._news.clear()
            await self._news.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        # No server there now, or the connection was reset between two steps.
        with contextlib.suppress(OSError, RuntimeError):
            back, forth = await asyncio.open_unix_connection(self._target)
            self._open.update((writer, forth))
            try:
                await asyncio.gather(self._pump(reader, forth, Way.UP), self._pump(back, writer, Way.DOWN))
            finally:
                for one in (writer, forth):
                    one.transport.abort()
                    self._open.discard(one)
                self._news.set()
        writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Way) -> None:
        while data := await reader.read(65_536):
            await self._flows[way].wait()
            if self.latency:
                late = asyncio.Event()
                asyncio.get_running_loop().call_later(self.latency, late.set)
                await late.wait()
            room = self._room[way]
            if room is not None:
                self._room[way] = room - len(data)
                data = data[:room]
            self._passed[way] += data
            del self._passed[way][:-_REMEMBERED]
            self._news.set()
            writer.write(data)
            await writer.drain()
            if room is not None and room <= len(data):
                raise ConnectionError("cut, as told")
        raise ConnectionError("the other side has closed")


@contextlib.contextmanager
def unanswered_port() -> Iterator[int]:
    """Give a port of 127.0.0.1 where an attempt to connect is never answered: its queue is full."""
    with contextlib.ExitStack() as stack:
        deaf = stack.enter_context(socket.socket())
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for _ in range(4):
            caller = stack.enter_context(socket.socket())
            caller.settimeout(0.0)
            caller.connect_ex(deaf.getsockname())
        yield deaf.getsockname()[1]


@contextlib.asynccontextmanager
async def proxied(dsn: str) -> AsyncIterator[FaultProxy]:
    """Give a proxy before this database."""
    async with FaultProxy(dsn) as proxy:
        yield proxy
