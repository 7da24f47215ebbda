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
    Client,
    Discard,
    Inbox,
    Job,
    JobContext,
    Latest,
    Overflow,
    Reply,
    Restart,
    Retry,
    RetryPolicy,
    Snooze,
    Strategy,
    Supervisor,
    job,
)
from supervisor.jobs.events import JobFailed
from supervisor.testing import run_job, running


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


@dataclass(frozen=True)
class Welcome:
    user_id: int


async def send(user_id: int) -> int:
    return user_id


@job(queue="mail")
async def send_welcome(args: Welcome, ctx: JobContext) -> None:
    text: str = await ctx.step("send", send, args.user_id)  # E: arg-type
    await ctx.step("send", send, "7")  # E: arg-type
    await ctx.step("send", send(7))  # E: call-overload
    await ctx.step("send", send, 7, mode="sometimes")  # E: call-overload
    ctx.step("send", send, 7)  # E: unused-coroutine
    ctx.extend(60.0)  # E: unused-coroutine
    await ctx.progress("half")  # E: arg-type
    ctx.retry()  # E: attr-defined
    print(text)


@job()
async def nothing() -> None:
    pass


@job  # E: arg-type
async def bare(args: Welcome) -> None:
    pass


@job(isolation="moon")  # E: arg-type
async def far_away(args: Welcome) -> None:
    pass


@job()  # E: arg-type
async def turned(ctx: JobContext, args: Welcome) -> None:
    pass


@job()  # E: arg-type
async def three(args: Welcome, ctx: JobContext, more: int) -> None:
    pass


def failed_only(event: JobFailed) -> None:
    pass


async def jobs(client: Client, ctx: JobContext) -> None:
    send_welcome.encode(7)  # E: arg-type
    await send_welcome(Welcome(7))  # E: call-arg
    await nothing(ctx)  # E: call-arg
    other: Job[int] = send_welcome  # E: assignment
    job(queue=3)  # E: arg-type
    job(timeout="5m")  # E: arg-type
    job(retry=3)  # E: arg-type
    job(retries=3)  # E: call-arg
    Retry("soon")  # E: arg-type
    Snooze("1h")  # E: arg-type
    Discard(404)  # E: arg-type
    RetryPolicy.fixed("5s")  # E: arg-type
    await client.enqueue(send_welcome, 7)  # E: misc
    await client.enqueue(send_welcome)  # E: arg-type
    await client.enqueue(send_welcome, Welcome(7), run_at="tomorrow")  # E: call-overload
    client.enqueue(send_welcome, Welcome(7))  # E: unused-coroutine
    await client.enqueue_many(send_welcome, Welcome(7))  # E: call-overload
    App(jobs=send_welcome)  # E: arg-type
    App(jobs=[Welcome])  # E: list-item
    App(jobs=[counter])  # E: list-item
    App(on_job=failed_only)  # E: arg-type
    print(other)
    await run_job(send_welcome, 7)  # E: misc
    await run_job(send_welcome)  # E: arg-type
    run_job(nothing)  # E: unused-coroutine
    (await run_job(nothing, attempt="2")).attempt  # E: call-overload
