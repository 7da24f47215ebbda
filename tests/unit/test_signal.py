"""Holds the coalescing wake-up to its promise: many sets are one wake, and no set is lost."""

from __future__ import annotations

import asyncio

import anyio
import hypothesis
import hypothesis.strategies as st
import pytest

from supervisor.testing import settle
from supervisor.tree.signal import Signal


async def test_a_set_wakes_every_waiter() -> None:
    """All who wait when the signal is set go on, and it is clear afterwards."""
    signal = Signal()
    async with asyncio.TaskGroup() as group:
        waiters = [group.create_task(signal.wait()) for _ in range(3)]
        await settle()
        signal.set()
        await settle()
        assert all(waiter.done() for waiter in waiters)
    assert not signal


async def test_a_set_without_waiters_is_remembered() -> None:
    """The next to wait after a set does not wait, and the one after that does."""
    signal = Signal()
    signal.set()
    assert signal
    await signal.wait()
    assert not signal
    async with asyncio.TaskGroup() as group:
        waiter = group.create_task(signal.wait())
        await settle()
        assert not waiter.done()
        signal.set()


@pytest.mark.parametrize("sets", [1, 2, 50])
async def test_many_sets_are_one_wake(sets: int) -> None:
    """Sets that arrive while nobody waits wake once, however many they are."""
    signal = Signal()
    wakes = 0

    async def count() -> None:
        nonlocal wakes
        while True:
            await signal.wait()
            wakes += 1

    async with asyncio.TaskGroup() as group:
        task = group.create_task(count())
        await settle()
        for _ in range(sets):
            signal.set()
        await settle()
        task.cancel()
    assert wakes == 1


async def test_a_cleared_set_wakes_nobody() -> None:
    """`clear` forgets a set that nobody has seen."""
    signal = Signal()
    signal.set()
    signal.clear()
    async with asyncio.TaskGroup() as group:
        waiter = group.create_task(signal.wait())
        await settle()
        assert not waiter.done()
        signal.set()


@pytest.mark.parametrize("native", [True, False], ids=["task", "scope"])
async def test_a_wake_up_that_meets_a_cancel_is_not_lost(native: bool) -> None:
    """A set is remembered if the waiter that it woke is cancelled before it runs."""
    signal, scope, seen = Signal(), anyio.CancelScope(), list[str]()

    async def wait() -> None:
        with scope:
            await signal.wait()
            seen.append("first")

    async with asyncio.TaskGroup() as group:
        waiter = group.create_task(wait())
        await settle()
        signal.set()
        if native:
            waiter.cancel()
        else:
            scope.cancel()
        await settle()
    # Either the waiter saw the set, or the signal still has it: never both, never neither.
    assert bool(seen) != bool(signal)


async def test_a_cancelled_waiter_is_forgotten() -> None:
    """A waiter that is cancelled leaves nothing behind, and the others are still woken."""
    signal = Signal()
    async with asyncio.TaskGroup() as group:
        gone, stays = (group.create_task(signal.wait()) for _ in range(2))
        await settle()
        gone.cancel()
        await settle()
        assert len(signal._waiters) == 1
        signal.set()
        await settle()
        assert stays.done()
    assert signal._waiters == []


async def test_an_attached_future_sees_the_next_set() -> None:
    """`attach` resolves a future at the next set, or at once after one, and `detach` takes it back."""
    signal = Signal()
    loop = asyncio.get_running_loop()
    first, second, third = (loop.create_future() for _ in range(3))
    signal.attach(first)
    signal.attach(second)
    signal.detach(second)
    signal.detach(second)
    signal.set()
    signal.attach(third)
    assert (first.done(), second.done(), third.done(), bool(signal)) == (True, False, True, True)
    second.cancel()


@hypothesis.given(st.lists(st.sampled_from(["set", "cancel", "turn", "turns"]), max_size=40))
async def test_whatever_was_set_is_seen(steps: list[str]) -> None:
    """After any interleaving of sets and cancels, work that was announced by a set gets done."""
    signal = Signal()
    pending = done = 0

    async def work() -> None:
        nonlocal done
        while True:
            await signal.wait()
            done = pending

    async with asyncio.TaskGroup() as group:
        worker = group.create_task(work())
        for step in steps:
            match step:
                case "set":
                    pending += 1
                    signal.set()
                case "cancel":
                    worker.cancel()
                    await settle()
                    worker = group.create_task(work())
                case "turn":
                    await asyncio.sleep(0)
                case _:
                    await settle()
        await settle()
        worker.cancel()
    assert done == pending
