"""Holds `sleep` to its promise: it lasts as long as asked, and a signal or a stop ends it."""

from __future__ import annotations

import pytest

from supervisor.testing import FakeClock, running
from supervisor.tree.child import Child
from supervisor.tree.signal import Signal
from tests.unit.loops import Loop, loop, stops_while_draining
from tests.unit.puppet import pause


@pytest.mark.parametrize("seconds", [0.0, -1.0, 3.0])
async def test_sleep_lasts_as_long_as_asked(seconds: float) -> None:
    """`sleep` lasts its seconds, and nothing at all when these are 0 or less."""
    clock, woke = FakeClock(), list[float]()

    async def body(actor: Loop) -> None:
        await actor.sleep(seconds)
        woke.append(actor.clock.now())
        await actor.sleep(1000)

    async with running(loop(body), clock=clock):
        await clock.advance(10)
    assert woke == [1000 + max(0.0, seconds)]


async def test_a_signal_ends_a_sleep() -> None:
    """`sleep` ends early when its signal is set, and clears it; a set from before ends it at once."""
    clock, wake, woke = FakeClock(), Signal(), list[float]()

    async def body(actor: Loop) -> None:
        for _ in range(2):
            await actor.sleep(100, wake)
            woke.append(actor.clock.now() - 1000)
        await actor.sleep(1000, wake)

    wake.set()
    async with running(loop(body), clock=clock):
        await clock.advance(4)
        wake.set()
        await clock.advance(1)
        assert not wake
    assert woke == [0, 4]


@pytest.mark.parametrize("seconds", [1.0, 1000.0])
async def test_a_stop_ends_a_sleep(seconds: float) -> None:
    """A sleep under way ends when the actor is to stop, so that no cancel is needed."""

    async def body(actor: Loop) -> None:
        while not actor.stopping:
            await actor.sleep(seconds)

    assert await stops_while_draining(loop(body), FakeClock(), 2.5)


async def test_a_stop_ends_the_first_sleep_after_it() -> None:
    """The first sleep that begins after the request to stop is cut short as well."""

    async def body(actor: Loop) -> None:
        await pause(actor, 11)
        assert actor.stopping
        await actor.sleep(1000)

    assert await stops_while_draining(Child("loop", lambda: Loop(body), stop_timeout=5), FakeClock(), 10)


@pytest.mark.parametrize("work", [0.0, 2.0])
async def test_a_loop_that_ignores_the_stop_is_no_busy_loop(work: float) -> None:
    """Only one sleep is cut short: a loop that never looks at `stopping` sleeps on, until it is cancelled."""
    rounds = 0

    async def body(actor: Loop) -> None:
        nonlocal rounds
        await pause(actor, work)
        while True:
            rounds += 1
            await actor.sleep(2)

    assert not await stops_while_draining(Child("loop", lambda: Loop(body), stop_timeout=5), FakeClock(), 1)
    assert rounds <= 4
