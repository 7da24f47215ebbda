"""Holds the broadcast value to its promise: everyone sees the newest, nobody holds up the writer."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import hypothesis
import hypothesis.strategies as st

from supervisor.testing import settle
from supervisor.tree.latest import Latest

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator


async def follow(latest: Latest[int], seen: list[int], turns: int = 0) -> None:
    """Follow for ever, and take some turns of the loop over each value."""
    async for value in latest.changes():
        seen.append(value)
        for _ in range(turns):
            await asyncio.sleep(0)


def test_the_value_can_be_read_at_any_time() -> None:
    """`value` is the first value, then the one set last, and neither needs an event loop."""
    latest = Latest(1)
    assert latest.value == 1
    latest.set(2)
    latest.set(3)
    assert latest.value == 3


async def test_a_follower_sees_the_present_value_and_each_newer_one() -> None:
    """`changes` begins with the value of the moment and yields each one that follows in its own time."""
    latest, seen = Latest(0), list[int]()
    latest.set(1)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(follow(latest, seen))
        await settle()
        for value in (2, 3):
            latest.set(value)
            await settle()
        task.cancel()
    assert seen == [1, 2, 3]


async def test_a_slow_follower_skips_values() -> None:
    """Values that are set while a follower is busy are skipped, except for the newest."""
    latest, seen = Latest(0), list[int]()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(follow(latest, seen, turns=3))
        await asyncio.sleep(0)
        for value in range(1, 10):
            latest.set(value)
        await settle()
        task.cancel()
    assert seen == [0, 9]


async def test_an_equal_value_is_news() -> None:
    """Setting the same value again wakes the followers again."""
    latest, seen = Latest(7), list[int]()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(follow(latest, seen))
        await settle()
        latest.set(7)
        await settle()
        task.cancel()
    assert seen == [7, 7]


async def test_a_cancelled_follower_harms_no_other() -> None:
    """When one follower is cancelled the others still see every value, and so does its successor."""
    latest, first, second, third = Latest(0), list[int](), list[int](), list[int]()
    async with asyncio.TaskGroup() as group:
        gone = group.create_task(follow(latest, first))
        stays = group.create_task(follow(latest, second))
        await settle()
        gone.cancel()
        await settle()
        late = group.create_task(follow(latest, third))
        await settle()
        latest.set(1)
        await settle()
        stays.cancel()
        late.cancel()
    assert (first, second, third) == ([0], [0, 1], [0, 1])


async def test_a_follower_may_leave() -> None:
    """A follower that breaks off its loop leaves nothing that the writer could trip over."""
    latest = Latest(0)
    changes: AsyncIterator[int] = latest.changes()
    async with aclosing(as_generator(changes)) as values:
        async for value in values:
            assert value == 0
            break
    latest.set(1)
    assert latest.value == 1


async def as_generator(values: AsyncIterator[int]) -> AsyncGenerator[int, None]:
    """Give the values back one by one."""
    async for value in values:
        yield value


async def test_until_returns_at_once_if_it_can() -> None:
    """`until` returns the present value if that is wanted already."""
    assert await Latest(5).until(lambda value: value > 2) == 5


async def test_until_waits_for_a_wanted_value() -> None:
    """`until` passes over values that are not wanted, and returns the first that is."""
    latest = Latest(0)
    async with asyncio.TaskGroup() as group:
        waiter = group.create_task(latest.until(lambda value: value >= 3))
        await settle()
        for value in (1, 2):
            latest.set(value)
            await settle()
            assert not waiter.done()
        latest.set(3)
        await settle()
        assert waiter.result() == 3


@hypothesis.given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=20), st.lists(st.integers(0, 4), max_size=4)
)
async def test_every_follower_ends_at_the_newest_value(steps: list[tuple[int, int]], paces: list[int]) -> None:
    """Whatever their pace, followers see values in the order they were set, none twice, and the last one."""
    latest = Latest(0)
    seen: list[list[int]] = [[] for _ in paces]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(follow(latest, own, turns)) for own, turns in zip(seen, paces, strict=True)]
        for sets, turns in steps:
            for _ in range(sets):
                latest.set(latest.value + 1)
            for _ in range(turns):
                await asyncio.sleep(0)
        await settle()
        for task in tasks:
            task.cancel()
    for own in seen:
        assert own == sorted(set(own))
        assert own[-1] == latest.value
