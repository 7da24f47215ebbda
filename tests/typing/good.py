"""Programs that type-check: everything here must pass `mypy --strict`. Read by test_typing.py, never run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Never, assert_never, assert_type

from supervisor import (
    Actor,
    ActorRef,
    App,
    Backoff,
    Child,
    Down,
    DynamicSupervisor,
    Ignore,
    Inbox,
    Latest,
    Mailbox,
    Overflow,
    Reply,
    Restart,
    Signal,
    Stop,
    Strategy,
    Supervisor,
)
from supervisor.testing import running


@dataclass(frozen=True, slots=True)
class Add:
    n: int


@dataclass(frozen=True, slots=True)
class Total:
    reply: Reply[int]


@dataclass(frozen=True, slots=True)
class Find:
    reply: Reply[str | None]
    key: str
    default: str = ""


class Counter(Actor[Add | Total]):
    """An actor that handles messages; the match over its messages is exhaustive."""

    def __init__(self) -> None:
        self.total = 0

    async def handle(self, message: Add | Total) -> None:
        match message:
            case Add(n):
                self.total += n
            case Total(reply):
                reply.send(self.total)
            case _:
                assert_never(message)


class Store(Actor[Find]):
    """An actor whose request carries arguments beside the reply."""

    async def setup(self) -> None:
        if not self.name:
            raise Ignore

    async def handle(self, message: Find) -> None:
        if not message.key:
            message.reply.fail(KeyError(message.key))
        message.reply.send(message.default or None)


class Reader(Actor[Add | Down]):
    """An actor with a loop of its own, that also watches another."""

    def __init__(self, watched: ActorRef[Add | Total]) -> None:
        self.watched = watched

    async def run(self) -> None:
        assert_type(self.inbox, Inbox[Add | Down])
        self.monitor(self.watched)
        async for message in self.inbox:
            if isinstance(message, Down):
                raise Stop
            await self.watched.tell(message)


class Ticker(Actor[Never]):
    """A loop that takes no messages: it depends on others through constructor arguments."""

    def __init__(self, totals: ActorRef[Total], wake: Signal, shown: Latest[int]) -> None:
        self.totals = totals
        self.wake = wake
        self.shown = shown

    async def run(self) -> None:
        async for _ in self.every(1.0):
            self.shown.set(await self.totals.ask(Total))
            self.wake.set()
            await self.sleep(0.5)
            self.progress()


wake = Signal()
shown = Latest(0)
counter = Child("counter", Counter, restart=Restart.TRANSIENT, stop_timeout=1.0)
store = Child("store", lambda: Store(), capacity=10, overflow=Overflow.FAIL)
reader = Child("reader", lambda: Reader(counter.ref), backoff=Backoff(first=0.5))
ticker = Child("ticker", lambda: Ticker(counter.ref, wake, shown))

assert_type(counter, Child[Add | Total])
assert_type(counter.ref, ActorRef[Add | Total])
assert_type(shown.value, int)

narrower: ActorRef[Add] = counter.ref
still_narrower: ActorRef[Never] = narrower

tree = Supervisor(
    "root",
    [
        counter,
        Supervisor("pair", [store, reader], Strategy.REST_FOR_ONE, max_restarts=5, within=60.0),
        DynamicSupervisor("rooms"),
        ticker,
    ],
    Strategy.ONE_FOR_ONE,
)
app = App(actors=[counter, tree])


def waiting(mailbox: Mailbox[Add | Total]) -> int:
    return len(mailbox)


async def use() -> None:
    print(waiting(counter.mailbox))
    await counter.ref.tell(Add(1))
    counter.ref.tell_nowait(Add(1))
    assert_type(await counter.ref.ask(Total), int)
    assert_type(await counter.ref.within(30.0).ask(Total), int)
    assert_type(await store.ref.ask(Find, "a"), str | None)
    assert_type(await store.ref.ask(Find, key="a", default="b"), str | None)
    print(await counter.ref.ask(Total))
    async for value in shown.changes():
        assert_type(value, int)
    assert_type(await shown.until(lambda value: value > 2), int)


async def test_with_running() -> None:
    async with running(Child("counter", Counter)) as ref:
        assert_type(ref, ActorRef[Add | Total])
        await ref.tell(Add(2))
        assert await ref.ask(Total) == 2
