"""A real server over real sockets on a fresh database, with a worker that stands beside it, and a client for it."""

from __future__ import annotations

import asyncio
import io
import json
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from actors.web_thread import WebThread
from supervisor.jobs import lease as leases
from supervisor.store import kinds, tokens, workers
from supervisor.store.database import Database
from supervisor.store.kinds import Kind
from supervisor.store.tokens import Role
from supervisor.store.workers import Identity
from supervisor.web.listening import Listening
from supervisor.web.live import Live, LiveBoard
from supervisor.web.routes import ROUTES
from supervisor.web.site import WebSettings
from tests.actors.engine import job_database
from tests.store.postgres import LIMIT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from supervisor.web.listening import Waiting
    from supervisor.web.route import AnyRoute

WHO: Final = {"reason": "a test", "triggeredBy": "ana"}
"""What every change says."""
SETTINGS: Final = WebSettings(
    host="127.0.0.1", port=0, tokens=False, hosts=(), rate=0, max_losses=3, max_url_length=2048, max_payload=262_144
)
NOOP: Final = Kind("noop", "default", "default", 3, 300.0, changes=True, essential=False)


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer as a test looks at it; `body` is what its JSON says, or its bytes."""

    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def error(self) -> Any:  # noqa: ANN401 - JSON
        """What went wrong."""
        return self.body["error"]


class Site:
    """A server, the database behind it, and a client."""

    def __init__(self, dsn: str, board: LiveBoard, client: aiohttp.ClientSession, server: Database) -> None:
        self.dsn, self.board, self.client, self.server = dsn, board, client, server
        self.database = Database(dsn)
        self.url = ""

    @property
    def port(self) -> int:
        """The port that it listens at."""
        return int(self.url.rpartition(":")[2])

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answered:
        """Send a request, with a body if there is one, as JSON."""
        given = dict(headers or {})
        if body is not None:
            given.setdefault("Content-Type", "application/json")
        if token is not None:
            given["Authorization"] = f"Bearer {token}"
        text = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        data = None if text is None else io.BytesIO(text)
        async with self.client.request(method, self.url + path, data=data, headers=given) as answer:
            received = await answer.read()
            is_json = answer.headers.get("Content-Type") == "application/json"
            return Answered(answer.status, answer.headers, json.loads(received) if is_json and received else received)

    async def get(self, path: str, **options: Any) -> Answered:  # noqa: ANN401 - those of `ask`
        """Ask for something."""
        return await self.ask("GET", path, **options)

    async def post(self, path: str, body: object = None, **options: Any) -> Answered:  # noqa: ANN401 - those of `ask`
        """Change something; without a body, with what every change says."""
        return await self.ask("POST", path, WHO if body is None else body, **options)

    async def rows(self, sql: str, *args: object) -> list[dict[str, Any]]:
        """Run a query; return its rows as dictionaries."""
        async with self.database.connection() as link:
            return [dict(row) for row in await link.fetch(sql, *args)]

    async def until(self, sql: str, *, count: int) -> list[dict[str, Any]]:
        """Wait until a query returns that many rows; return them."""
        async with asyncio.timeout(LIMIT):
            while len(found := await self.rows(sql)) < count:
                await self.rows("SELECT pg_sleep(0.01)")
        return found

    async def cut(self) -> None:
        """Make the server unable to reach the database, from now on."""
        self.server.move_to("postgresql://127.0.0.1:1/nothing")
        await self.rows(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'supervisor http'"
        )

    async def enqueue(self, count: int = 1, **columns: object) -> list[int]:
        """Put jobs of the kind `noop` into the queue; return their ids."""
        async with self.database.connection() as link:
            await kinds.offer(link, [NOOP], replace=False)
            tenant, queue = columns.get("tenant"), columns.get("queue")
            rows = await link.fetch(
                "SELECT id FROM supervisor.enqueue_many($1, $2::text[]::jsonb[], queues => $3, tenants => $4)",
                ["noop"] * count,
                ["{}"] * count,
                None if queue is None else [queue] * count,
                None if tenant is None else [tenant] * count,
            )
        return [row[0] for row in rows]

    async def worker(self, lease: float = 3600.0) -> int:
        """Register a worker that runs."""
        async with self.database.connection() as link:
            identity = Identity(name=f"test-{time.monotonic_ns()}", host="test", pid=1, version="v1")
            made = await workers.register(link, identity, lease)
            await workers.set_status(link, made.id, "RUNNING")
        return made.id

    async def token(self, role: Role = Role.ADMIN, **options: Any) -> str:  # noqa: ANN401 - those of `create`
        """Make a token; return its text."""
        async with self.database.connection() as link:
            made = await tokens.create(
                link, f"{role.value}-{time.monotonic_ns()}"[:60], role=role, actor="test", reason="a test", **options
            )
        return made.text


@asynccontextmanager
async def site(
    dsn: str | None = None,
    *,
    routes: Sequence[AnyRoute] = ROUTES,
    **settings: Any,  # noqa: ANN401 - of WebSettings
) -> AsyncIterator[Site]:
    """Give a server that listens, on a fresh database unless one is named; its process is ready."""
    if dsn is None:
        async with job_database() as fresh, site(fresh, routes=routes, **settings) as made:
            yield made
        return
    board = LiveBoard(leases.now, name="test-1", version="v1", started_at=time.time())
    board.shown = Live(worker=1, lease_until=board.now() + 3600, slots=10, free=10)
    board.turned_at = board.now() + 3600
    loop = asyncio.get_running_loop()
    listening: asyncio.Future[str] = loop.create_future()
    ended: asyncio.Future[None] = loop.create_future()

    def tell(news: Listening | Waiting) -> None:
        if isinstance(news, Listening):
            loop.call_soon_threadsafe(listening.set_result, news.url)

    def end() -> None:
        loop.call_soon_threadsafe(ended.set_result, None)

    server = Database(dsn)
    thread = WebThread(
        replace(SETTINGS, **settings),
        board,
        lambda within: server.dedicated("http", within=within),
        lambda: routes,
        tell,
        end,
    )
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=LIMIT)) as client:
        made = Site(dsn, board, client, server)
        await made.database.open()
        thread.start()
        try:
            made.url = await asyncio.wait_for(listening, LIMIT)
            yield made
        finally:
            thread.finish()
            await asyncio.wait_for(ended, LIMIT)
            thread.join()
            await made.database.close(0.5)
