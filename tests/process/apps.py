"""Applications for the process tests: well behaved, slow, stubborn and failing ones."""

from __future__ import annotations

import asyncio
import sys
from typing import Any, Never

import anyio.to_thread

from examples.tree import shop
from supervisor import Actor, App, AutoShutdown, Child, OnStall, Restart
from supervisor.testing import BadSetup, Shielded, Slow, Stubborn


def say(text: str) -> None:
    """Tell the test something, on stdout."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


async def told() -> None:
    """Wait until the test writes a line to stdin, while the loop goes on."""
    await anyio.to_thread.run_sync(sys.stdin.readline)


class Loud(Actor[object]):
    """Says when it goes up and down."""

    async def setup(self) -> None:
        say(f"{self.name} up")

    async def teardown(self) -> None:
        say(f"{self.name} down")


def loud(name: str) -> Child[object]:
    """Make a child that is `Loud`."""
    return Child(name, Loud)


# --- well behaved -----------------------------------------------------------------------------------


def idle() -> App:
    """Three actors that wait for messages."""
    return App([loud("one"), loud("two"), loud("three")])


class Ticker(Actor[Never]):
    async def run(self) -> None:
        number = 0
        async for _ in self.every(0.02):
            number += 1
            say(f"tick {number}")


def quiet() -> App:
    """An actor without messages, watched for stalls much shorter than the test, beside a busy one."""
    idle = Child("idle", Loud, stall_after=0.05, on_stall=OnStall.RESTART)
    return App([idle, Child("ticker", Ticker)])


class Finite(Loud):
    """Has done its work at once."""

    async def run(self) -> None:
        say(f"{self.name} done")


def finite() -> App:
    """Ends by itself when two of its three actors have done their work."""
    first, second = (Child(name, Finite, restart=Restart.TRANSIENT, significant=True) for name in ("first", "second"))
    return App([first, loud("service"), second], auto_shutdown=AutoShutdown.ALL)


class Patient(Loud):
    """Takes its time to go down: until the test says so."""

    async def teardown(self) -> None:
        say(f"{self.name} going down")
        await told()
        await super().teardown()


def patient() -> App:
    """Its second actor goes down when the test says so."""
    return App([loud("one"), Child("patient", Patient, teardown_timeout=15.0)])


class Threaded(Loud):
    """Has used a thread, as well-behaved code does."""

    async def run(self) -> None:
        await anyio.to_thread.run_sync(str)
        await asyncio.get_running_loop().run_in_executor(None, str)
        say("used threads")
        await super().run()


def threaded() -> App:
    """An actor that has used threads of both kinds."""
    return App([Child("threaded", Threaded)])


class Parent(Loud):
    """Starts a process, and says which variables of interest it inherited."""

    SCRIPT = "import os; print(*sorted({'NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID', 'KEPT'} & os.environ.keys()))"

    async def run(self) -> None:
        done = await anyio.run_process([sys.executable, "-c", self.SCRIPT])
        say(f"inherited: {done.stdout.decode().strip()}")
        await super().run()


def parent() -> App:
    """An actor that starts a process."""
    return App([Child("parent", Parent)])


# --- slow and stubborn ------------------------------------------------------------------------------


def slow() -> App:
    """An actor that drains for longer than a test may last, beside one that does not."""
    return App([loud("one"), Child("slow", Slow, stop_timeout=30.0)])


def stages() -> App:
    """One actor for each stage of the stop."""
    return App(
        [
            loud("polite"),
            Child("slow", Slow, stop_timeout=0.2),
            Child("shielded", Shielded, stop_timeout=0.2, cancel_grace=0.2),
            Child("stubborn", Stubborn, stop_timeout=0.2, cancel_grace=0.2),
        ]
    )


def stubborn() -> App:
    """An actor that no stop can end, between two that end when asked."""
    return App([loud("one"), Child("stubborn", Stubborn, stop_timeout=0.2, cancel_grace=0.1), loud("three")])


class Hesitant(Loud):
    """Does not finish its setup before the test says so."""

    async def setup(self) -> None:
        say(f"{self.name} starting")
        await told()
        await super().setup()


def hesitant() -> App:
    """Its second actor starts when the test says so."""
    return App([loud("one"), Child("hesitant", Hesitant), loud("three")])


class SlowBothWays(Hesitant, Patient):
    """Goes up and down when the test says so."""


def slow_both_ways() -> App:
    """Its only actor starts and stops when the test says so."""
    return App([Child("patient", SlowBothWays, teardown_timeout=15.0)])


# --- failing ----------------------------------------------------------------------------------------


def bad_start() -> App:
    """The third of four actors cannot be set up."""
    bad = Child("bad", lambda: BadSetup(OSError("port 80 is in use")))
    return App([loud("one"), loud("two"), bad, loud("four")])


class Crashing(Actor[object]):
    async def run(self) -> None:
        raise RuntimeError("crashed on purpose")


def storm() -> App:
    """An actor that crashes whenever it is started, beside one that does not."""
    return App([loud("one"), Child("crashing", Crashing)])


def jammed_shop() -> App:
    """The shop of the examples, whose till jams once, on a sale like any other."""
    opened = shop(jams=0.0, every=0.05)
    till = next(child for child in opened.children if child.name == "till")
    make = till.factory

    def jamming() -> Actor[Any]:
        till.factory = make
        return Jamming()

    till.factory = jamming
    return App([opened])


class Jamming(Actor[object]):
    async def handle(self, message: object) -> None:
        raise RuntimeError("the till jammed on purpose")


# --- not applications -------------------------------------------------------------------------------

NOT_AN_APP = "text"


def twins() -> App:
    """Two actors with one name: an impossible tree."""
    return App([loud("one"), loud("one")])
