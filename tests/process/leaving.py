"""Applications for the process tests in which user code ends the process, or the event loop, on its own authority."""

from __future__ import annotations

import asyncio

import anyio

from supervisor import App, Child
from tests.process.apps import Loud, loud, say


class Leaving(Loud):
    """Asks the process to leave."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    async def run(self) -> None:
        say("leaving")
        raise self.error


class LeavingInSetup(Leaving):
    async def setup(self) -> None:
        raise self.error


class LeavingFromGroup(Leaving):
    """Does so in a task of its own task group."""

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(super().run())
            await anyio.sleep_forever()


class LeavingFromStray(Leaving):
    """Does so in a task that nobody looks after."""

    async def run(self) -> None:
        self.stray = asyncio.Task(super().run(), name="stray")
        await anyio.sleep_forever()


class LeavingFromCallback(Leaving):
    """Does so in a callback of the event loop."""

    async def run(self) -> None:
        asyncio.get_running_loop().call_soon(self.leave)
        await anyio.sleep_forever()

    def leave(self) -> None:
        raise self.error


class StoppingLoop(Loud):
    """Stops the event loop, which is not its own."""

    async def run(self) -> None:
        asyncio.get_running_loop().stop()
        await asyncio.sleep(0)
        say("loop goes on")
        await super().run()


def _between(leaving: type[Leaving], error: BaseException) -> App:
    return App([loud("one"), Child("leaving", lambda: leaving(error), stop_timeout=0.1), loud("three")])


def in_run() -> App:
    """An actor calls `sys.exit(3)`, between two that know nothing of it."""
    return _between(Leaving, SystemExit(3))


def in_setup() -> App:
    """The same while the tree starts."""
    return _between(LeavingInSetup, SystemExit(3))


def in_group() -> App:
    """The same in a task of the actor's own task group."""
    return _between(LeavingFromGroup, SystemExit(3))


def in_stray() -> App:
    """The same in a task that nobody looks after."""
    return _between(LeavingFromStray, SystemExit(3))


def in_callback() -> App:
    """The same in a callback."""
    return _between(LeavingFromCallback, SystemExit(3))


def interrupted() -> App:
    """An actor raises KeyboardInterrupt."""
    return _between(Leaving, KeyboardInterrupt())


def interrupted_group() -> App:
    """An actor's task group raises KeyboardInterrupt."""
    return _between(LeavingFromGroup, KeyboardInterrupt())


def with_words() -> App:
    """An actor calls `sys.exit` with a text."""
    return _between(Leaving, SystemExit("no more paper"))


def stopping_loop() -> App:
    """An actor stops the event loop."""
    return App([loud("one"), Child("stopping", StoppingLoop), loud("three")])
