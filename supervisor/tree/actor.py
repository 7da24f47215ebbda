"""The class that users write: one unit of supervised work."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Generic, Never, TypeVar

from supervisor.errors import SupervisorError
from supervisor.tree.monitor import watch
from supervisor.tree.ticks import Ticks

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from supervisor.tree.clock import Clock, Timer
    from supervisor.tree.inbox import Inbox
    from supervisor.tree.incarnation import Incarnation
    from supervisor.tree.refs import ActorRef
    from supervisor.tree.signal import Signal
    from supervisor.tree.singletons import Term

M = TypeVar("M")
T = TypeVar("T")


class Actor(Generic[M]):
    """A unit of work with a mailbox for messages of type `M`, kept alive by its supervisor.

    Override `handle` to react to messages, or `run` for a loop of your own. Every incarnation is a
    new instance from the child's factory; `setup`, `run` and `teardown` run in one task.
    """

    inbox: Inbox[M]
    """The messages: `async for message in self.inbox`. It ends when the actor is to stop."""

    _life: Incarnation

    async def setup(self) -> None:
        """Acquire what this actor guarantees. The next child starts only after this returns.

        An error here is a failed start. A remote service that is down must not be one: connect in
        `run`, and report the trouble. Raise `Ignore` to decline to run.
        """

    async def run(self) -> None:
        """Do the work; the default handles every message. Returning ends the actor normally."""
        await self.inbox.serve(self.handle)

    async def handle(self, message: M) -> None:
        """React to one message."""
        raise NotImplementedError(f"{type(self).__name__} has neither `handle` nor `run`")

    async def teardown(self) -> None:
        """Release what `setup` acquired. Runs also after a crash, within the child's `teardown_timeout`."""

    @property
    def name(self) -> str:
        """The child's name."""
        return self._life.node.name

    @property
    def path(self) -> str:
        """Where this actor stands in the tree: `root/shop/mailer`."""
        return self._life.path

    @property
    def stopping(self) -> bool:
        """Whether the actor has been asked to stop; a loop should end soon after."""
        return self._life.stage is not None

    @property
    def term(self) -> Term:
        """For a singleton: under which fence it runs, and whether it may go on; see `Child` and `Term`.

        What it does to the outside world it should do only while `self.term.is_held`, and what it writes to the
        database, in a transaction that begins with `SELECT supervisor.hold_singleton(name, fence)`: then nothing of
        it can come after the first act of a successor, however long this process stood still.

        Raises SupervisorError in an actor whose child is no singleton.
        """
        name, singletons = self._life.node.singleton, self._life.runtime.singletons
        if name is None or singletons is None:
            raise SupervisorError(f"{self.path} is no singleton and has no term; write Child(…, singleton='name')")
        return singletons.term(name)

    @property
    def clock(self) -> Clock:
        """The tree's clock; a fake one under test."""
        return self._life.runtime.clock

    async def sleep(self, seconds: float, wake: Signal | None = None) -> None:
        """Sleep; end early when the actor is to stop, or when `wake` is set.

        Only the sleep that the stop interrupts, or the first one after it, is cut short: a loop that
        ignores `stopping` must not become a busy loop.
        """
        await self._life.pauses.sleep(seconds, wake)

    def every(self, seconds: float, *, jitter: float = 0.0, spread: float = 0.0, wake: Signal | None = None) -> Ticks:
        """Tick at once and then every `seconds`, or sooner when `wake` is set; end at stop.

        `async for _ in self.every(1.0): …`. Ticks keep to a fixed schedule of the monotonic clock;
        those missed while busy are skipped. `jitter` 0.1 moves each by up to ±10 % of the period.
        With `spread` the first tick comes after a random time of up to so many seconds, so that many
        hosts that start together do not poll together.
        """
        return Ticks(self._life, seconds, jitter, spread, wake)

    def after(self, seconds: float, message: M) -> Timer:
        """Send `message` to this incarnation in `seconds`. `cancel()` the result to take it back."""
        return self._life.pauses.after(seconds, message)

    def progress(self) -> None:
        """Say that long work goes on, for the detection of stalls."""
        self._life.inbox.stamp = self._life.runtime.clock.now()

    def monitor(self, ref: ActorRef[Never]) -> None:
        """Receive a `Down` ahead of other messages each time an incarnation behind `ref` ends.

        If it is not running now, one comes at once. Ends with this incarnation.
        """
        watch(self._life.node.mailbox, ref.mailbox)

    async def enter(self, cm: AbstractAsyncContextManager[T]) -> T:
        """Enter a context manager that is left, in reverse order, right after `teardown`."""
        if self._life.resources is None:
            self._life.resources = contextlib.AsyncExitStack()
        return await self._life.resources.enter_async_context(cm)
