"""The reading end of a mailbox, one for each incarnation: an actor that should be gone reads nothing."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, Generic, TypeVar, cast

from supervisor.errors import ActorCrashed, MailboxClosed, SupervisorError
from supervisor.tree.events import DeadLetterReason
from supervisor.tree.mailbox import Envelope, Injected, OwnTimer, resolve
from supervisor.tree.tracing import enter_span, leave_span

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractContextManager

    from supervisor.tree.mailbox import Mailbox

M = TypeVar("M")


class _Empty:
    """Nothing to read now."""


EMPTY: Final = _Empty()


class Inbox(Generic[M]):
    """What an actor reads: `async for message in self.inbox`. Ends when the actor is to stop.

    The message read last counts as being handled until the next read, or `done`: if the actor crashes,
    it becomes a dead letter and is not delivered again, so that a poisoned message cannot loop.
    """

    __slots__ = (
        "_current",
        "_envelope",
        "_items",
        "_left",
        "_loop",
        "_mailbox",
        "_now",
        "_span",
        "asleep",
        "draining",
        "halted",
        "stamp",
    )

    def __init__(self, mailbox: Mailbox[M], now: Callable[[], float] = time.monotonic) -> None:
        self._loop = asyncio.get_running_loop()
        self._mailbox = mailbox
        self._items = mailbox.items
        self._current: object = EMPTY
        self._envelope: Envelope | None = None
        self._span: AbstractContextManager[object] | None = None
        self._now = now
        self.halted = False
        self.draining = False
        self._left = 0
        self.asleep = False
        self.stamp = now()

    def __len__(self) -> int:
        return len(self._items)

    def __aiter__(self) -> Inbox[M]:
        return self

    async def __anext__(self) -> M:
        while True:
            item = self.take()
            if not isinstance(item, _Empty):
                return item
            if (waiter := self.wait()) is None:
                raise StopAsyncIteration
            await waiter

    async def serve(self, handle: Callable[[M], Awaitable[None]]) -> None:
        """Handle every message, until there will be none: `async for`, without a coroutine for each message."""
        mailbox, items, now = self._mailbox, self._items, self._now
        while True:
            # Nothing but plain messages: the path on which the speed of `tell` is decided.
            while items and not (self.draining or mailbox.control):
                item = items[0]
                if type(item) is Envelope or type(item) is OwnTimer:
                    break
                items.popleft()
                if mailbox.writers:
                    mailbox.wake_writer()
                self.stamp = now()
                self._current = item
                await handle(item)  # type: ignore[arg-type]
            while (message := self.take()) is not EMPTY:
                await handle(message)  # type: ignore[arg-type]
            if (waiter := self.wait()) is None:
                return
            await waiter

    def take(self) -> M | _Empty:
        """Return the next message, or EMPTY, without waiting."""
        # Written out here and below: a call or a property costs every message 0.05 µs.
        self._current = EMPTY
        self._envelope = None
        if self._span is not None:
            self.close_span(None)
        if self.halted:
            return EMPTY
        mailbox = self._mailbox
        if mailbox.control:
            return cast("M", self._take_control(mailbox.control.popleft()))
        items = self._items
        while items:
            item = items.popleft()
            if self.draining:
                self._left -= 1
                self.halted = self._left <= 0
            if mailbox.writers:
                mailbox.wake_writer()
            message: object = item
            if type(item) is Envelope or type(item) is OwnTimer:
                message = item.message
                reply = item.reply
                if item.expired if reply is None else reply._future.done():  # noqa: SLF001
                    mailbox.runtime.bury(mailbox.path, message, DeadLetterReason.EXPIRED)
                    continue
                self._envelope = item
                if mailbox.runtime.tracer is not None:
                    self._span = enter_span(mailbox.runtime.tracer, mailbox.path, item)
            self.stamp = self._now()
            self._current = message
            return cast("M", message)
        return EMPTY

    def wait(self) -> asyncio.Future[None] | None:
        """Return a future for the moment when there may be something to take; None when there will be nothing."""
        mailbox = self._mailbox
        if self.halted:
            return None
        if (waiter := mailbox.waiter) is not None and not waiter.done():
            raise SupervisorError(f"{mailbox.path}: an inbox has one reader; a second one waits on it already")
        waiter = self._loop.create_future()
        if mailbox.control or self._items:
            waiter.set_result(None)
        else:
            mailbox.waiter = waiter
        return waiter

    @property
    def idle(self) -> bool:
        """Whether the actor waits for a message, or sleeps."""
        waiter = self._mailbox.waiter
        return self.asleep or (waiter is not None and not waiter.done())

    def drain(self, *, queue: bool) -> None:
        """Begin to stop: end after the queued messages, or after the current one."""
        self.draining = True
        # Counted now: a mailbox that stays open for the next incarnation must not keep this one busy.
        self._left = len(self._items)
        self.halted = self.halted or not queue or not self._left
        self._wake()

    def revoke(self) -> None:
        """Read nothing more, whatever is queued: another incarnation may own the mailbox soon."""
        self.draining = self.halted = True
        self._wake()

    def done(self) -> None:
        """Count the message read last as handled: from now on a crash does not concern it, nor its asker."""
        self._current = EMPTY
        if self._envelope is not None:
            self._envelope = None
            self.close_span(None)

    def crashed(self, error: BaseException) -> None:
        """Bury the message being handled; its asker gets ActorCrashed."""
        failure = ActorCrashed(f"{self._mailbox.path} crashed while it handled a request")
        failure.__cause__ = error
        self._bury_current(DeadLetterReason.CRASHED, failure)

    def interrupted(self) -> None:
        """Bury the message whose handling a stop cut short; its asker gets MailboxClosed."""
        failure = MailboxClosed(f"{self._mailbox.path} was stopped before it answered")
        self._bury_current(DeadLetterReason.CLOSED, failure)

    def _bury_current(self, reason: DeadLetterReason, failure: Exception) -> None:
        current, self._current = self._current, EMPTY
        envelope, self._envelope = self._envelope, None
        if envelope is not None and envelope.reply is not None:
            envelope.reply.fail(failure)
        if current is not EMPTY:
            self._mailbox.runtime.bury(self._mailbox.path, current, reason)

    def finished(self) -> None:
        """The actor ended well: the last message counts as handled, but its asker will get no answer."""
        self._current = EMPTY
        envelope, self._envelope = self._envelope, None
        if envelope is not None and envelope.reply is not None:
            envelope.reply.fail(MailboxClosed(f"{self._mailbox.path} ended before it answered"))

    def _wake(self) -> None:
        waiter, self._mailbox.waiter = self._mailbox.waiter, None
        if waiter is not None:
            resolve(waiter)

    def _take_control(self, item: object) -> object:
        self.stamp = self._now()
        if type(item) is Injected:
            raise item.error
        self._current = item
        return item

    def close_span(self, error: BaseException | None) -> None:
        """Leave the span of the message being handled. In the actor's own task: spans live in its context."""
        span, self._span = self._span, None
        if span is not None:
            leave_span(span, error)
