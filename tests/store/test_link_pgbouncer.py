"""Links through a real PgBouncer that gives each transaction another connection."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from supervisor.errors import DatabaseUnavailable, StatementRefused
from supervisor.store.link import connect
from supervisor.store.wakeups import Wakeups
from tests.store.linked import INSTALLATION, linked, opened, prepared
from tests.store.postgres import LIMIT, open_folder, remove_folder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="PgBouncer is not installed")


@contextlib.contextmanager
def bouncer(sockets: Path, port: str) -> Iterator[int]:
    """Run PgBouncer before the server of these sockets, with two connections; give its port."""
    folder = open_folder()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        ours: int = probe.getsockname()[1]
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n* = host={sockets} port={port} user=postgres\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {ours}\nunix_socket_dir =\nauth_type = any\n"
        "pool_mode = transaction\ndefault_pool_size = 2\n"
    )
    # It does not run as root, and the server knows its owner by the socket.
    user = sockets.stat().st_uid if os.geteuid() == 0 else None
    with subprocess.Popen(
        [str(PROGRAM), "-q", str(folder / "pgbouncer.ini")], stderr=subprocess.DEVNULL, user=user
    ) as run:
        try:
            yield ours
        finally:
            run.send_signal(signal.SIGINT)
            run.wait(LIMIT)
            remove_folder(folder)


@contextlib.asynccontextmanager
async def pooled() -> AsyncIterator[tuple[str, str]]:
    """Give the URLs of a database, direct and through PgBouncer."""
    async with prepared() as dsn:
        parts = urlsplit(dsn)
        query = parse_qs(parts.query)
        with bouncer(Path(query["host"][0]), query["port"][0]) as port:
            url = f"postgresql://postgres@127.0.0.1:{port}{parts.path}"
            async with asyncio.timeout(LIMIT):
                while True:
                    with contextlib.suppress(DatabaseUnavailable):
                        link = await connect(url, pooler=True)
                        break
            await link.close()
            yield dsn, url


async def test_what_a_session_would_keep_is_refused() -> None:
    """Without being told of the pooler, the first attempt says what to set."""
    async with pooled() as (_, url):
        with pytest.raises(StatementRefused, match="direct_database_url"):
            await connect(url)


async def test_more_links_than_connections() -> None:
    """Links take turns on fewer connections: statements with arguments, transactions and copies all work."""

    async def work(url: str, number: int) -> None:
        async with linked(url, pooler=True) as link:
            for turn in range(10):
                assert await link.fetchval("SELECT $1::int", turn) == turn
                async with link.transaction():
                    await link.execute("INSERT INTO supervisor.rows VALUES ($1)", 100 * number + turn)
                await link.copy("rows", ["number"], [(100 * number + turn + 50,)])

    async with pooled() as (dsn, url):
        await asyncio.gather(*(work(url, number) for number in range(6)))
        async with linked(dsn) as link:
            assert await link.fetchval("SELECT count(*) FROM supervisor.rows") == 120


async def test_a_database_behind_a_pooler() -> None:
    """With both URLs the pool goes through the pooler, and what listens goes past it."""
    heard: asyncio.Queue[str] = asyncio.Queue()
    async with pooled() as (dsn, url), opened(url, direct_url=dsn) as database:
        assert database.installation == INSTALLATION
        wakeups = await Wakeups.open(database, on_queue=heard.put_nowait, on_cancel=lambda _: None)
        await wakeups.probe(LIMIT)
        async with database.connection() as link:
            await link.execute("NOTIFY supervisor, 'mail'")
        assert await asyncio.wait_for(heard.get(), LIMIT) == "mail"
        await wakeups.close()


async def test_a_call_given_up_behind_a_pooler() -> None:
    """A statement that was given up does not keep a connection of the pooler."""
    async with pooled() as (_, url), linked(url, pooler=True) as other:
        for _ in range(3):
            async with linked(url, pooler=True) as link:
                with pytest.raises(DatabaseUnavailable):
                    await link.fetchval("SELECT pg_sleep(60)", within=0.1)
        assert await other.fetchval("SELECT 1") == 1
