"""Holds the mailbox to its promise that no item is lost, whoever is cancelled when."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter

import anyio
import pytest

from supervisor.testing import settle
from supervisor.tree.events import DeadLetterReason
from supervisor.tree.inbox import Inbox
from supervisor.tree.refs import ActorRef
from tests.unit.opened_mailbox import everything, opened, request

Item = tuple[int, int]


async def test_a_cancelled_sender_has_sent_nothing() -> None:
    """A sender whose wait is cancelled leaves neither a message nor a dead letter."""
    mailbox, letters = opened(1)
    mailbox.put_nowait("a")
    async with asyncio.TaskGroup() as group:
        sender = group.create_task(mailbox.put("b"))
        await settle()
        sender.cancel()
        await settle()
        assert sender.cancelled()
    assert not mailbox.writers
    assert everything(mailbox) == ["a"]
    assert letters.all == []


async def test_the_wake_up_of_a_cancelled_sender_goes_to_the_next() -> None:
    """When a cancel meets the wake-up of a waiting sender, the next sender gets the room."""
    mailbox, _ = opened(1)
    mailbox.put_nowait("a")
    inbox = Inbox(mailbox)
    async with asyncio.TaskGroup() as group:
        first, second = (group.create_task(mailbox.put(item)) for item in "bc")
        await settle()
        assert inbox.take() == "a"
        first.cancel()
        await settle()
        assert first.cancelled()
        assert second.done()
    assert inbox.take() == "c"


async def test_the_wake_up_of_an_expired_asker_goes_to_the_next() -> None:
    """When the limit of a waiting ask passes as it is woken, the next sender gets the room."""
    mailbox, letters = opened(1)
    mailbox.put_nowait("a")
    inbox = Inbox(mailbox)
    envelope, future = request()
    async with asyncio.TaskGroup() as group:
        first, second = (group.create_task(mailbox.put(item)) for item in (envelope, "b"))
        await settle()
        assert inbox.take() == "a"
        future.cancel()
        await settle()
        assert first.done()
        assert second.done()
    assert inbox.take() == "b"
    assert letters.pairs == [("request", DeadLetterReason.EXPIRED)]


@pytest.mark.parametrize("native", [True, False], ids=["task", "scope"])
async def test_a_cancel_loses_no_item_that_has_been_handed_over(native: bool) -> None:
    """An item that woke a reader is still there when the reader is cancelled before it runs."""
    mailbox, _ = opened()
    scope = anyio.CancelScope()

    async def read() -> None:
        with scope:
            await anext(Inbox(mailbox))

    async with asyncio.TaskGroup() as group:
        reader = group.create_task(read())
        await settle()
        mailbox.put_nowait("a")
        if native:
            reader.cancel()
            await settle()
            assert reader.cancelled()
            assert everything(mailbox) == ["a"]
        else:
            # A scope's cancel lets a reader that has been woken take its item.
            scope.cancel()
            await settle()
            assert scope.cancelled_caught == (everything(mailbox) == ["a"])


class Traffic:
    """Senders and one reader at a time on one mailbox, with a driver that cancels them at random."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 - a repeatable run, not a secret
        self.seed = seed
        self.mailbox, self.letters = opened(self.random.choice([1, 2, 3, 10]))
        self.ref: ActorRef[Item] = ActorRef(self.mailbox)
        self.over = False
        self.inbox: Inbox[object] | None = None
        self.sent = 0
        self.delivered: set[Item] = set()
        self.gave_up: set[Item] = set()
        self.taken: list[object] = []
        self.handled: list[object] = []
        self.numbers = [itertools.count() for _ in range(self.random.randint(1, 6))]
        self.lives: dict[int, tuple[asyncio.Task[None], anyio.CancelScope]] = {}

    async def send(self, sender: int, scope: anyio.CancelScope) -> None:
        with scope:
            while not self.over:
                item = (sender, next(self.numbers[sender]))
                self.sent += 1
                try:
                    await self.ref.tell(item)
                except asyncio.CancelledError:
                    self.gave_up.add(item)
                    raise
                self.delivered.add(item)
                if self.random.random() < 0.2:
                    await asyncio.sleep(0)

    async def read(self, scope: anyio.CancelScope) -> None:
        self.inbox = inbox = Inbox(self.mailbox)
        try:
            with scope:
                async for item in inbox:
                    self.taken.append(item)
                    if self.random.random() < 0.5:
                        await asyncio.sleep(0)
                    self.handled.append(item)
        finally:
            inbox.interrupted()

    def revive(self, group: asyncio.TaskGroup) -> None:
        """Start whoever has ended; -1 is the reader."""
        for key in range(-1, len(self.numbers)):
            if key not in self.lives or self.lives[key][0].done():
                scope = anyio.CancelScope()
                work = self.read(scope) if key < 0 else self.send(key, scope)
                self.lives[key] = group.create_task(work), scope

    async def run(self, cancels: int) -> None:
        # Debug mode records a stack for every task, which would make up most of the time.
        asyncio.get_running_loop().set_debug(False)
        async with asyncio.TaskGroup() as group:
            for _ in range(cancels):
                self.revive(group)
                for _turn in range(self.random.randrange(4)):
                    await asyncio.sleep(0)
                task, scope = self.lives[self.random.choice([-1, *self.lives])]
                if self.random.random() < 0.5:
                    task.cancel()
                else:
                    scope.cancel()
                assert len(self.mailbox) <= self.mailbox.capacity, f"seed {self.seed}"
            await self.finish(group)

    async def finish(self, group: asyncio.TaskGroup) -> None:
        self.over = True
        for _ in range(100):
            await settle()
            self.revive(group)
            if not self.mailbox.writers and not len(self.mailbox):
                break
        else:
            raise AssertionError(f"seed {self.seed}: senders are stuck beside {len(self.mailbox)} messages")
        await settle()
        self.revive(group)
        await settle()
        assert self.inbox is not None
        self.inbox.drain(queue=True)

    def check(self) -> None:
        said = f"seed {self.seed}"
        dead = [letter.message for letter in self.letters.all]
        assert Counter(self.taken) == Counter(self.delivered), said
        assert Counter([*self.handled, *dead]) == Counter(self.delivered), said
        assert self.sent == len(self.handled) + len(dead) + len(self.gave_up), said
        assert {letter.reason for letter in self.letters.all} <= {DeadLetterReason.CLOSED}, said
        for sender in range(len(self.numbers)):
            own = [item for item in self.taken if isinstance(item, tuple) and item[0] == sender]
            assert own == sorted(own), f"{said}: the order of sender {sender} is broken"


@pytest.mark.parametrize("seed", range(10))
async def test_ten_thousand_random_cancels_lose_no_item(seed: int) -> None:
    """Under random cancels of readers and senders each sent item is received once, buried, or its sender knows."""
    traffic = Traffic(seed)
    await traffic.run(cancels=1_000)
    traffic.check()


@pytest.mark.soak
async def test_many_more_random_cancels_lose_no_item(soak_seed: int) -> None:
    """A hundred thousand random cancels, from a seed of their own, lose nothing either."""
    for seed in range(soak_seed, soak_seed + 20):
        traffic = Traffic(seed)
        await traffic.run(cancels=5_000)
        traffic.check()
