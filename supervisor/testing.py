"""A kit for testing actors and jobs: run one in a test, turn the clock, wait for events, inject crashes.

Everything is a context manager or a plain object, for use inside the test's body: an async fixture
would run in another task, which cancel scopes do not survive (pytest-asyncio issue 1191).
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Never, TypeVar, overload

import anyio

from supervisor.errors import SupervisorError
from supervisor.jobs.trial import JobRun, run_job
from supervisor.tree.actor import Actor
from supervisor.tree.clock import NEVER
from supervisor.tree.mailbox import Injected
from supervisor.tree.outcome import Crashed
from supervisor.tree.runtime import Runtime
from supervisor.tree.singletons import Singletons
from supervisor.tree.supervisor import Supervisor
from supervisor.tree.tree import Tree

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from supervisor.tree.child import Child
    from supervisor.tree.clock import Clock, Timer
    from supervisor.tree.events import Event
    from supervisor.tree.refs import ActorRef

__all__ = [
    "BadSetup",
    "Blocking",
    "EventLog",
    "FakeClock",
    "JobRun",
    "Shielded",
    "Slow",
    "Stubborn",
    "crash",
    "run_job",
    "running",
    "settle",
]

M = TypeVar("M")
E = TypeVar("E", bound="Event")

REAL_LIMIT = 10.0
"""Seconds of real time after which the kit stops waiting and fails the test."""

_TURNS = 30


async def settle() -> None:
    """Let the event loop turn until what is ready has run, and what that made ready."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)


class _FakeTimer:
    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        self.callback = None


class FakeClock:
    """A clock that stands still until the test advances it."""

    def __init__(self, now: float = 1000.0) -> None:
        self._now = now
        self._timers: list[tuple[float, int, _FakeTimer]] = []
        self._numbers = itertools.count()

    def now(self) -> float:
        """Seconds on this clock."""
        return self._now

    def call_later(self, delay: float, callback: Callable[[], object]) -> Timer:
        """Run `callback` when the clock has been advanced by `delay` seconds."""
        if delay == math.inf:
            return NEVER
        timer = _FakeTimer(callback)
        heapq.heappush(self._timers, (self._now + max(0.0, delay), next(self._numbers), timer))
        return timer

    async def advance(self, seconds: float) -> None:
        """Move the clock on, timer by timer, and let the loop settle after each."""
        if not seconds >= 0:
            raise ValueError(f"advance({seconds}): a clock goes forward, by 0 seconds or more")
        until = self._now + seconds
        await settle()
        while self._timers and self._timers[0][0] <= until:
            due, _, timer = heapq.heappop(self._timers)
            if timer.callback is None:
                continue
            self._now = max(self._now, due)
            callback, timer.callback = timer.callback, None
            callback()
            await settle()
        self._now = max(self._now, until)

    @property
    def pending(self) -> int:
        """How many timers wait."""
        return sum(timer.callback is not None for _, _, timer in self._timers)


class EventLog:
    """Remembers every event of a tree, and waits for those that a test expects."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._news = asyncio.Event()

    def __call__(self, event: Event) -> None:
        """Record: an EventLog is a subscriber."""
        self.events.append(event)
        self._news.set()

    def of(self, kind: type[E], **fields: object) -> list[E]:
        """All events so far of this kind whose fields have these values; `name` is the path's last part."""
        return [event for event in self.events if isinstance(event, kind) and _matches(event, fields)]

    async def expect(self, kind: type[E], *, count: int = 1, limit: float = REAL_LIMIT, **fields: object) -> E:
        """Return the `count`-th such event, past or to come within `limit` real seconds."""
        give_up = time.monotonic() + limit
        while len(found := self.of(kind, **fields)) < count:
            self._news.clear()
            try:
                async with asyncio.timeout(max(0.0, give_up - time.monotonic())):
                    await self._news.wait()
            except TimeoutError:
                seen = "\n  ".join(map(repr, self.events))
                wanted = f"{kind.__name__} with {fields}"
                raise AssertionError(f"no {wanted} within {limit:g} s; events:\n  {seen}") from None
        return found[count - 1]


def _matches(event: Event, fields: dict[str, object]) -> bool:
    for field, wanted in fields.items():
        value = event.path.rpartition("/")[2] if field == "name" else getattr(event, field)
        if value != wanted:
            return False
    return True


@overload
def running(
    node: Child[M], *, clock: Clock | None = None, log: EventLog | None = None, seed: int = 0
) -> AbstractAsyncContextManager[ActorRef[M]]: ...
@overload
def running(
    node: Supervisor, *, clock: Clock | None = None, log: EventLog | None = None, seed: int = 0
) -> AbstractAsyncContextManager[Tree]: ...
def running(
    node: Child[M] | Supervisor, *, clock: Clock | None = None, log: EventLog | None = None, seed: int = 0
) -> AbstractAsyncContextManager[ActorRef[M]] | AbstractAsyncContextManager[Tree]:
    """Run a child or a whole tree for the length of a `with` block.

    Yields the child's `ref`, or the `Tree`. Raises StartFailed when it does not start, and at the
    end of the block the error of a tree that gave up meanwhile. `seed` fixes the jitter. Singletons run at once: no
    other host is there.
    """
    if isinstance(node, Supervisor):
        return _running_tree(node, clock, log, seed)
    return _running_child(node, clock, log, seed)


@asynccontextmanager
async def _running_child(
    child: Child[M], clock: Clock | None, log: EventLog | None, seed: int
) -> AsyncIterator[ActorRef[M]]:
    async with _running_tree(Supervisor("root", [child]), clock, log, seed):
        yield child.ref


@asynccontextmanager
async def _running_tree(root: Supervisor, clock: Clock | None, log: EventLog | None, seed: int) -> AsyncIterator[Tree]:
    runtime = Runtime(clock=clock, seed=seed)
    runtime.singletons = Singletons(alone=True)
    if log is not None:
        runtime.subscribe(log)
    tree = Tree(root, runtime)
    try:
        await tree.start()
        yield tree
    finally:
        tree.stop()
        with anyio.CancelScope(shield=True):
            outcome = await _finish(tree, clock)
    if isinstance(outcome, Crashed) and isinstance(outcome.error, SupervisorError):
        raise outcome.error


async def _finish(tree: Tree, clock: Clock | None) -> object:
    if not isinstance(clock, FakeClock):
        return await tree.wait()
    # Nobody turns a fake clock for the stop; its limits must still pass.
    give_up = time.monotonic() + REAL_LIMIT
    while tree.outcome is None:
        if time.monotonic() > give_up:
            raise AssertionError("the tree did not stop")
        await clock.advance(0.1)
    return await tree.wait()


def crash(ref: ActorRef[Any], error: BaseException) -> None:
    """Make the actor raise `error` at its next read of its inbox."""
    ref.mailbox.put_control(Injected(error))


class Slow(Actor[object]):
    """Ignores the request to stop, but obeys a cancel: ends in stage 2."""

    async def run(self) -> None:
        """Wait for a cancel."""
        await anyio.sleep_forever()


class Shielded(Actor[object]):
    """Waits in a shielded scope, which only a native cancel pierces: ends in stage 3."""

    async def run(self) -> None:
        """Wait behind a shield."""
        with anyio.CancelScope(shield=True):
            await anyio.sleep_forever()


class Stubborn(Actor[object]):
    """Swallows every cancel until `release` is called: it has to be abandoned, stage 4."""

    def __init__(self) -> None:
        self._released = False

    def release(self) -> None:
        """Let it end at last, so that a test leaves nothing behind."""
        self._released = True

    async def run(self) -> None:
        """Swallow cancels until released."""
        while not self._released:
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                continue


class Blocking(Actor[float]):
    """Blocks the whole event loop for as many seconds as a message says."""

    async def handle(self, message: float) -> None:
        """Block the loop."""
        time.sleep(message)  # noqa: ASYNC251 - the point of it


class BadSetup(Actor[Never]):
    """Fails its setup with `error`."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error or RuntimeError("setup failed on purpose")

    async def setup(self) -> None:
        """Fail."""
        raise self._error
