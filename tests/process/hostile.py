"""Applications for the process tests that do to a process what no supervisor can prevent: block it, outlive it."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import threading
from typing import TYPE_CHECKING, TextIO

import anyio.to_thread

from supervisor import App, Child
from supervisor.testing import BadSetup
from tests.process.apps import Loud, loud, say

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# --- blocking ---------------------------------------------------------------------------------------


class Blocked(Loud):
    """Blocks the event loop until the test writes a line."""

    async def run(self) -> None:
        self.guilty_wait()
        say("alive")
        await super().run()

    def guilty_wait(self) -> None:
        say("blocked")
        sys.stdin.readline()


def blocked() -> App:
    """An actor that blocks the event loop."""
    return App([loud("one"), Child("blocker", Blocked)])


class Held(Loud):
    """Holds the interpreter in one C call for ages, so that no Python thread can run either."""

    async def run(self) -> None:
        self.guilty_match()

    def guilty_match(self) -> None:
        re.match(r"(a+)+$", "a" * 60 + "b")


def held() -> App:
    """An actor that holds the interpreter."""
    return App([Child("holder", Held)])


class BlockingTeardown(Loud):
    """Blocks the event loop when it goes down, for ever."""

    async def teardown(self) -> None:
        say("blocked")
        threading.Event().wait()


def blocking_teardown() -> App:
    """Its second actor blocks the event loop during the shutdown."""
    return App([loud("one"), Child("blocker", BlockingTeardown)])


# --- leaving something behind -----------------------------------------------------------------------


async def go_on(name: str, *, for_ever: bool) -> None:
    """Be a task that nobody supervises; with `for_ever` one that cannot be cancelled."""
    await asyncio.sleep(0)
    say(f"{name} goes on")
    while True:
        try:
            await anyio.sleep_forever()
        except asyncio.CancelledError:
            if not for_ever:
                raise


class Straying(Loud):
    """Starts a task of its own, and does not look after it."""

    def __init__(self, *, for_ever: bool) -> None:
        self.for_ever = for_ever

    async def run(self) -> None:
        # The constructor and not `create_task`, which the house rules keep to one file.
        self.stray = asyncio.Task(go_on("stray", for_ever=self.for_ever), name="stray")
        await super().run()


def stray() -> App:
    """An actor leaves a task behind that cannot be cancelled."""
    return App([Child("straying", lambda: Straying(for_ever=True))])


def obedient_stray() -> App:
    """An actor leaves a task behind that can be cancelled."""
    return App([Child("straying", lambda: Straying(for_ever=False))])


class Threading(Loud):
    """Starts a thread that never ends."""

    def __init__(self, *, daemon: bool = False) -> None:
        self.daemon = daemon

    async def setup(self) -> None:
        await super().setup()
        threading.Thread(target=self.guilty_thread, name="hopeless", daemon=self.daemon).start()

    def guilty_thread(self) -> None:
        say("thread runs")
        threading.Event().wait()


def thread() -> App:
    """An actor leaves a thread behind."""
    return App([Child("threading", Threading)])


def daemon() -> App:
    """An actor leaves a daemon thread behind."""
    return App([Child("threading", lambda: Threading(daemon=True))])


def thread_and_bad_start() -> App:
    """An actor leaves a thread behind, and the next one cannot be set up."""
    return App([Child("threading", Threading), Child("bad", BadSetup)])


class Unflushed(Threading):
    """Prints without a flush."""

    async def teardown(self) -> None:
        sys.stdout.write("not flushed\n")


def unflushed() -> App:
    """An actor leaves a thread and buffered output behind."""
    return App([Child("unflushed", Unflushed)])


class Unheard(Threading):
    """Prints when the reader of its output has gone."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self.stream = stream

    async def teardown(self) -> None:
        read, write = os.pipe()
        os.dup2(write, self.stream.fileno())
        os.close(write)
        os.close(read)
        self.stream.write("nobody reads this")


def unheard_stdout() -> App:
    """An actor leaves a thread behind, and text that cannot be written."""
    return App([Child("unheard", lambda: Unheard(sys.stdout))])


def unheard_stderr() -> App:
    """The same with stderr."""
    return App([Child("unheard", lambda: Unheard(sys.stderr))])


class InThread(Loud):
    """Waits for a call in a thread that never returns, and gives it up when it is cancelled, or does not."""

    def __init__(self, *, abandon: bool) -> None:
        self.abandon = abandon

    async def run(self) -> None:
        await anyio.to_thread.run_sync(self.guilty_call, abandon_on_cancel=self.abandon)

    def guilty_call(self) -> None:
        say("thread runs")
        threading.Event().wait()


def abandoned_call() -> App:
    """An actor abandons the thread it waits for."""
    return App([Child("caller", lambda: InThread(abandon=True), stop_timeout=0.1)])


def shielded_call() -> App:
    """An actor cannot be cancelled while it waits for its thread."""
    return App([Child("caller", lambda: InThread(abandon=False), stop_timeout=0.1, cancel_grace=0.1)])


class InExecutor(InThread):
    """The same in a thread of the default executor."""

    async def run(self) -> None:
        await asyncio.get_running_loop().run_in_executor(None, self.guilty_call)


def executor_call() -> App:
    """An actor waits for a thread of the default executor."""
    return App([Child("caller", lambda: InExecutor(abandon=True), stop_timeout=0.1)])


class Generating(Loud):
    """Keeps an async generator whose cleanup never ends."""

    async def run(self) -> None:
        self.endless = self.numbers()
        say(f"number {await anext(self.endless)}")
        await super().run()

    async def numbers(self) -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            await anyio.sleep_forever()


_kept: list[object] = []


def generator() -> App:
    """An actor leaves an unfinished generator behind, as a cache or a global would."""

    def make() -> Generating:
        _kept.append(actor := Generating())
        return actor

    return App([Child("generating", make)])
