"""Stands between a process and its database, and can fall silent: nothing arrives any more, and nothing is closed."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote, urlsplit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class SilentProxy:
    """A proxy for the Unix socket of a PostgreSQL server; set `speaks` or clear it."""

    def __init__(self) -> None:
        self.speaks = asyncio.Event()
        self.speaks.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str) -> None:
        """Pass on one connection, both ways."""
        other_reader, other_writer = await asyncio.open_unix_connection(path)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pump(reader, other_writer))
            group.create_task(self._pump(other_reader, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await self.speaks.wait()
                writer.write(data)
                await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def silent_proxy(dsn: str, folder: Path) -> AsyncIterator[tuple[SilentProxy, str]]:
    """Give a proxy to a server that listens on a Unix socket, and the DSN that leads through it."""
    query = parse_qs(urlsplit(dsn).query)
    host, port = query["host"][0], query["port"][0]
    name = f".s.PGSQL.{port}"
    proxy = SilentProxy()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await proxy.serve(reader, writer, f"{host}/{name}")

    server = await asyncio.start_unix_server(serve, folder / name)
    try:
        yield proxy, dsn.replace(quote(host, safe="/"), quote(str(folder), safe="/"))
    finally:
        proxy.speaks.set()
        server.close()
