"""The actor that serves: it answers while the main loop is blocked, waits for its port, and never starts unguarded."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest

from actors.web import WebActor
from supervisor import Child, Restart, Supervisor
from supervisor.errors import StartFailed
from supervisor.jobs import lease as leases
from supervisor.jobs.switches import Switches
from supervisor.store import tokens
from supervisor.store.tokens import Role
from supervisor.testing import running
from supervisor.web.live import STILL, LiveBoard
from tests.actors.parts import Parts, parts
from tests.store.postgres import LIMIT
from tests.web.site import SETTINGS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from supervisor.web.site import WebSettings

SAID: Final = "HTTP: listening at http://127.0.0.1:"


def asked(port: int, path: str) -> tuple[int, object]:
    """Ask from another thread; return the status and the body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


@asynccontextmanager
async def actor(made: Parts, settings: WebSettings = SETTINGS) -> AsyncIterator[None]:
    """Run the actor over parts."""
    board = LiveBoard(leases.now, name="test-1", version="v1", started_at=time.time())

    def make() -> WebActor:
        return WebActor(made.database, board, made.lease, made.slots, made.outbox, Switches(), settings=settings)

    child = Child("web", make, restart=Restart.TEMPORARY)
    async with running(Supervisor("root", [child]), log=made.log):
        yield


async def said(caplog: pytest.LogCaptureFixture, what: str) -> str:
    """Wait until this is in the log, and return the message."""
    async with asyncio.timeout(LIMIT):
        while not (found := [text for text in map(str, caplog.messages) if what in text]):  # noqa: ASYNC110 - polls
            await asyncio.sleep(0)
    return found[-1]


async def port_of(caplog: pytest.LogCaptureFixture) -> int:
    """Wait until it says where it listens."""
    return int((await said(caplog, SAID)).removeprefix(SAID))


async def test_it_tells_of_its_process(caplog: pytest.LogCaptureFixture) -> None:
    """What the main loop knows is answered by the thread, with the tree."""
    caplog.set_level("INFO", "actors.web")
    async with parts() as made:
        worker = await made.become()
        async with actor(made):
            port = await port_of(caplog)
            async with asyncio.timeout(LIMIT):
                while (await asyncio.to_thread(asked, port, "/readyz"))[0] != 200:
                    pass
            status, process = await asyncio.to_thread(asked, port, "/api/system/process")
            assert status == 200
            assert isinstance(process, dict)
            assert (process["worker"], process["holdsLease"], process["tree"]["name"]) == (worker, True, "root")
        assert [thread for thread in threading.enumerate() if thread.name == "http"] == []


async def test_it_answers_while_the_loop_is_blocked(caplog: pytest.LogCaptureFixture) -> None:
    """While a handler blocks the main loop, the probe is answered, and says that the process does not live."""
    caplog.set_level("INFO", "actors.web")
    seen: list[int] = []
    async with parts() as made, actor(made):
        port = await port_of(caplog)
        assert (await asyncio.to_thread(asked, port, "/livez"))[0] == 200
        done = threading.Event()

        def ask() -> None:
            while not done.is_set():
                seen.append(asked(port, "/livez")[0])

        asker = threading.Thread(target=ask)
        asker.start()
        threading.Event().wait(STILL + 1.0)  # the loop of the test is the main loop
        done.set()
        asker.join()
        assert 503 in seen
        async with asyncio.timeout(LIMIT):
            while (await asyncio.to_thread(asked, port, "/livez"))[0] != 200:
                pass


async def test_it_waits_for_its_port(caplog: pytest.LogCaptureFixture) -> None:
    """A port that another has is a warning and no crash, and is taken as soon as it is free."""
    caplog.set_level("INFO", "actors.web")
    other = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    port = other.sockets[0].getsockname()[1]
    async with parts() as made, actor(made, replace(SETTINGS, port=port)):
        warning = await said(caplog, "another process has it")
        assert str(port) in warning
        other.close()
        await other.wait_closed()
        assert await port_of(caplog) == port
        assert (await asyncio.to_thread(asked, port, "/livez"))[0] == 200


async def test_it_does_not_start_unguarded() -> None:
    """A server that others can reach does not start while nobody has a token, and asks for one when it does."""
    settings = replace(SETTINGS, host="0.0.0.0", tokens=True)  # noqa: S104 - that is the case
    async with parts() as made:
        with pytest.raises(StartFailed) as failed:
            async with actor(made, settings):
                pass
        assert "tokens create" in "".join(str(each) for each in _causes(failed.value))
        async with made.database.connection() as link:
            await tokens.create(link, "ops", role=Role.ADMIN, actor="test", reason="a test")
        async with actor(made, settings):
            pass


def _causes(error: BaseException | None) -> list[BaseException]:
    found = []
    while error is not None:
        found.append(error)
        error = error.__cause__
    return found
