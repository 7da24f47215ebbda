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
    Client,
    Discard,
    Down,
    DynamicSupervisor,
    Enqueued,
    EnqueuedMany,
    Ignore,
    Inbox,
    Job,
    JobContext,
    Latest,
    Mailbox,
    Overflow,
    Reply,
    Restart,
    Retry,
    RetryPolicy,
    Signal,
    Snooze,
    Stop,
    Strategy,
    Supervisor,
    job,
)
from supervisor.jobs.context import Connection
from supervisor.jobs.events import JobEvent, JobFailed
from supervisor.testing import JobRun, run_job, running


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


@dataclass(frozen=True)
class Welcome:
    user_id: int


async def address_of(user_id: int) -> str:
    if user_id < 0:
        raise Discard("nobody has it")
    return f"{user_id}@example.org"


async def note(connection: Connection, user_id: int) -> None:
    await connection.execute("INSERT INTO welcomed VALUES ($1)", user_id)


@job(queue="mail", retry=RetryPolicy.exponential(never=(ValueError,)), timeout=60.0)
async def send_welcome(args: Welcome, ctx: JobContext) -> None:
    """A handler of arguments and context."""
    address = await ctx.step("address", address_of, args.user_id)
    assert_type(address, str)
    await ctx.step("charge", address_of, args.user_id, mode="at_most_once")
    await ctx.step("note", note, args.user_id, mode="transactional")
    await ctx.extend(60.0)
    await ctx.progress(1, 2)
    if ctx.attempt > 2:
        raise Retry(after=60.0, reason="busy")
    async with ctx.transaction() as connection:
        await connection.execute("SELECT 1")
    raise Snooze(3600.0)


@job("nightly", retry=lambda attempt, error: 60.0 if attempt < 3 else None, changes=False)
async def nothing() -> None:
    """A handler of nothing."""


@job(isolation="thread")
def plain(args: dict[str, int]) -> int:
    """A plain function, with arguments alone."""
    return args["n"]


@job()
async def with_context(ctx: JobContext) -> None:
    """A handler of the context alone."""


def watch(event: JobEvent) -> None:
    if isinstance(event, JobFailed):
        print(event.error)


worker = App(jobs=[send_welcome, nothing, plain, with_context], actors=[Child("counter", Counter)], on_job=watch)
as_job: Job[Welcome] = send_welcome


async def enqueue(client: Client, ctx: JobContext) -> None:
    assert_type(await client.enqueue(send_welcome, Welcome(7)), Enqueued)
    await client.enqueue(send_welcome, Welcome(7), queue="slow", priority=1, run_at=60.0, unique_key="welcome-7")
    await client.enqueue(nothing)
    await client.enqueue(with_context)
    await client.enqueue(plain, {"n": 1})
    await client.enqueue("send_welcome", {"user_id": 7})
    assert_type(await client.enqueue_many(send_welcome, [Welcome(7), Welcome(8)]), EnqueuedMany)
    await client.enqueue_many(send_welcome, (Welcome(n) for n in range(9)), unique_key=lambda args: str(args.user_id))
    await send_welcome(Welcome(7), ctx)
    assert_type(plain({"n": 1}), int)


async def test_with_run_job(connection: Connection) -> None:
    first = await run_job(send_welcome, Welcome(7))
    assert_type(first, JobRun)
    await run_job(send_welcome, Welcome(7), after=first, conn=connection, tenant="acme", within=5.0)
    await run_job(nothing)
    await run_job(plain, {"n": 1}, attempt=2)
    assert first.decision.action.value == "completed"
