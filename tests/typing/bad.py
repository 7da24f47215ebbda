"""Programs that type checking must reject: one wrong thing to a line, marked with the error it must give.

Read by test_typing.py, never run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Never, assert_never

from supervisor import (
    Actor,
    ActorRef,
    App,
    Backoff,
    Child,
    Inbox,
    Latest,
    Overflow,
    Reply,
    Restart,
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
    reply: Reply[str]
    key: str


class Counter(Actor[Add | Total]):
    async def handle(self, message: Add | Total) -> None:
        match message:
            case Add():
                pass
            case _:
                assert_never(message)  # E: arg-type


class Ticker(Actor[Never]):
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


class Narrow(Actor[Add | Total]):
    async def handle(self, message: Add) -> None:  # E: override
        raise NotImplementedError


class Blocking(Actor[Add]):
    def handle(self, message: Add) -> None:  # E: override
        raise NotImplementedError


class Untyped(Actor):  # E: type-arg
    pass


counter = Child("counter", Counter)
ticker = Child("ticker", lambda: Ticker(1.0))


async def messages(reply: Reply[int], find: Find, other: ActorRef[Find]) -> None:
    await counter.ref.tell("add")  # E: arg-type
    await counter.ref.tell(Add)  # E: arg-type
    await counter.ref.tell(Add("1"))  # E: arg-type
    await counter.ref.tell(find)  # E: arg-type
    counter.ref.tell_nowait(1)  # E: arg-type
    counter.ref.tell(Add(1))  # E: unused-coroutine
    await ticker.ref.tell(Add(1))  # E: arg-type
    await ticker.ref.tell(None)  # E: arg-type
    reply.send("text")  # E: arg-type
    reply.fail("text")  # E: arg-type
    wider: ActorRef[Add | Total | Find] = counter.ref  # E: assignment
    unrelated: ActorRef[Add] = other  # E: assignment
    print(wider, unrelated)


async def requests(total: Total, other: ActorRef[Find]) -> None:
    text: str = await counter.ref.ask(Total)  # E: arg-type
    await counter.ref.ask(Find, "a")  # E: arg-type
    await counter.ref.ask(Add)  # E: arg-type
    await counter.ref.ask(Total, 3)  # E: call-arg
    await counter.ref.ask(total)  # E: arg-type
    await other.ask(Find)  # E: call-arg
    await other.ask(Find, 1)  # E: arg-type
    await other.ask(Find, name="a")  # E: call-arg
    await counter.ref.within("30").ask(Total)  # E: arg-type
    print(text)


class Loop(Actor[Add]):
    async def run(self) -> None:
        inbox: Inbox[Total] = self.inbox  # E: assignment
        async for message in self.inbox:
            message.missing()  # E: attr-defined
        self.after(1.0, Total)  # E: arg-type
        for _ in self.every(1.0):  # E: attr-defined
            pass
        print(inbox)


def children() -> None:
    Child("counter", Counter())  # E: arg-type
    Child("ticker", Ticker)  # E: arg-type
    Child("counter", int)  # E: arg-type
    Child(1, Counter)  # E: arg-type
    Child("counter")  # E: call-arg
    Child("counter", Counter, restart="transient")  # E: arg-type
    Child("counter", Counter, stop_timeout="1")  # E: arg-type
    Child("counter", Counter, timeout=1.0)  # E: call-arg
    Child("counter", Counter, Restart.TRANSIENT)  # E: call-arg
    Child("counter", Counter, overflow=Overflow.WAITING)  # E: attr-defined
    wrong: Child[Find] = Child("counter", Counter)  # E: arg-type
    Backoff(first="1")  # E: arg-type
    print(wrong)


def trees(latest: Latest[int]) -> None:
    Supervisor("root", counter)  # E: arg-type
    Supervisor("root", [Counter])  # E: list-item
    Supervisor("root", [counter], "one_for_one")  # E: arg-type
    Supervisor("root", [counter], Strategy.ONE_FOR_ONE, within="60")  # E: arg-type
    App(actors=counter)  # E: arg-type
    App(actors=[Counter])  # E: list-item
    latest.set("text")  # E: arg-type


async def tests() -> None:
    async with running(Counter):  # E: call-overload
        pass
    async with running(Child("counter", Counter)) as started:
        await started.tell("text")  # E: arg-type
