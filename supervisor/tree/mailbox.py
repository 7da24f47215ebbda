"""A child's mailbox: bounded, two lanes, and it survives the restarts of its actor.

An item leaves only on the reader's own synchronous path, so no cancellation can lose one that has
been handed over but not yet seen.
"""

from __future__ import annotations

import asyncio
import enum
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from supervisor.errors import ConfigError, MailboxClosed, MailboxFull
from supervisor.tree.events import DeadLetterReason
from supervisor.tree.runtime import Runtime

if TYPE_CHECKING:
    from supervisor.tree.incarnation import Incarnation
    from supervisor.tree.outcome import Outcome
    from supervisor.tree.refs import Reply

M = TypeVar("M")

DEFAULT_CAPACITY: Final = 100


class Overflow(enum.Enum):
    """What a `tell` to a full mailbox does."""

    WAIT = "wait"
    FAIL = "fail"
    DROP_OLDEST = "drop_oldest"


class Envelope:
    """A message with what must travel beside it: the slot for its answer, the sender's trace."""

    __slots__ = ("message", "reply", "sender")

    def __init__(self, message: object, reply: Reply[Any] | None, sender: object) -> None:
        self.message = message
        self.reply = reply
        self.sender = sender

    @property
    def expired(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self.reply is not None and self.reply.done


class OwnTimer(Envelope):
    """A message that an incarnation sent to itself by a timer: it is for no other."""

    __slots__ = ("life",)

    def __init__(self, message: object, life: Incarnation) -> None:
        super().__init__(message, None, None)
        self.life = life

    @property
    def expired(self) -> bool:
        """Whether the incarnation has ended."""
        return self.life.outcome is not None


class Injected:
    """An error that the reader raises instead of receiving a message: crash injection for tests."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error


class Mailbox(Generic[M]):
    """Messages on their way to one child. Made and owned by `Child`; read through the actor's `inbox`.

    A message goes in while fewer than `capacity` wait; `overflow` says what happens otherwise. The
    control lane (monitor reports and the runtime's own messages) is read first and has no bound.
    """

    __slots__ = (
        "alive",
        "capacity",
        "control",
        "items",
        "last_outcome",
        "overflow",
        "path",
        "room",
        "runtime",
        "waiter",
        "waiting_for",
        "waiting_on",
        "watchers",
        "watching",
        "writers",
    )

    def __init__(self, name: str, capacity: int = DEFAULT_CAPACITY, overflow: Overflow = Overflow.WAIT) -> None:
        if capacity < 1:
            raise ConfigError(f"child {name!r}: capacity = {capacity}; a mailbox must hold at least 1 message")
        self.path = name
        self.capacity = capacity
        self.overflow = overflow
        # One comparison decides both "closed" and "full" on the fast path: a closed mailbox has no room.
        self.room = capacity
        self.items: deque[M | Envelope] = deque()
        self.control: deque[object] | None = None
        self.waiter: asyncio.Future[None] | None = None
        # The mailbox whose answer our actor's own task awaits: an edge of the wait-for graph.
        self.waiting_on: Mailbox[Any] | None = None
        self.waiting_for: asyncio.Future[Any] | None = None
        # Monitors in both directions, and what a late one wants to know.
        self.watchers: dict[Mailbox[Any], None] | None = None
        self.watching: dict[Mailbox[Any], None] | None = None
        self.alive = False
        self.last_outcome: Outcome | None = None
        self.runtime: Runtime = _DETACHED
        self.writers: deque[asyncio.Future[None]] | None = None

    def __len__(self) -> int:
        return len(self.items)

    @property
    def closed(self) -> bool:
        """Whether new messages are refused."""
        return self.room == 0

    def deliver(self, item: M | Envelope) -> None:
        """Append `item` and wake the reader; the caller has seen that there is room."""
        self.items.append(item)
        if (waiter := self.waiter) is not None:
            self.waiter = None
            if not waiter.done():
                waiter.set_result(None)

    def put_nowait(self, item: M | Envelope) -> None:
        """Deliver at once, or raise MailboxFull or MailboxClosed; the loser becomes a dead letter."""
        if len(self.items) < self.room:
            self.deliver(item)
        elif not self.room:
            self._bury(item, DeadLetterReason.CLOSED)
            raise MailboxClosed(f"{self.path} takes no more messages")
        elif self.overflow is Overflow.DROP_OLDEST:
            self._reject(self.items.popleft(), DeadLetterReason.FULL)
            self.deliver(item)
        else:
            self._bury(item, DeadLetterReason.FULL)
            raise MailboxFull(f"the mailbox of {self.path} holds {self.capacity} messages already")

    async def put(self, item: M | Envelope) -> None:
        """Deliver; when full, wait for room if that is the mailbox's overflow policy."""
        while self.overflow is Overflow.WAIT and len(self.items) >= self.room > 0:
            await self._room_or_closed(item)
            if isinstance(item, Envelope) and item.expired:
                self.wake_writer()
                self._bury(item, DeadLetterReason.EXPIRED)
                return
        self.put_nowait(item)

    async def _room_or_closed(self, item: M | Envelope) -> None:
        if self.writers is None:
            self.writers = deque()
        writer = asyncio.get_running_loop().create_future()
        self.writers.append(writer)
        if isinstance(item, Envelope) and item.reply is not None:
            item.reply.on_done(partial(resolve, writer))
        try:
            await writer
        except BaseException:
            # A wake-up that meets a cancel belongs to the next sender.
            if writer.done() and not writer.cancelled():
                self.wake_writer()
            raise
        finally:
            if writer in self.writers:
                self.writers.remove(writer)

    def put_control(self, item: object) -> None:
        """Deliver on the control lane, ahead of every message."""
        if self.control is None:
            self.control = deque()
        self.control.append(item)
        if (waiter := self.waiter) is not None:
            self.waiter = None
            resolve(waiter)

    def wake_writer(self) -> None:
        """Let one waiting sender look again."""
        while self.writers:
            writer = self.writers.popleft()
            if not writer.done():
                writer.set_result(None)
                return

    def open(self, path: str, runtime: Runtime) -> None:
        """Take messages, as part of this tree."""
        self.path = path
        self.runtime = runtime
        self.room = self.capacity

    def close(self) -> None:
        """Refuse new messages. What is queued stays for the reader, or for `drain`."""
        self.room = 0
        while self.writers:
            self.wake_writer()

    def drain(self) -> None:
        """Turn everything queued into dead letters: nobody will read it."""
        self.control = None
        while self.items:
            self._reject(self.items.popleft(), DeadLetterReason.CLOSED)

    def _bury(self, item: M | Envelope, reason: DeadLetterReason) -> None:
        self.runtime.bury(self.path, item.message if isinstance(item, Envelope) else item, reason)

    def _reject(self, item: M | Envelope, reason: DeadLetterReason) -> None:
        """Bury an item whose sender has gone on; an asker is told."""
        self._bury(item, reason)
        if isinstance(item, Envelope) and item.reply is not None:
            if reason is DeadLetterReason.CLOSED:
                item.reply.fail(MailboxClosed(f"{self.path} stopped before it answered"))
            else:
                item.reply.fail(MailboxFull(f"{self.path} dropped the request: its mailbox was full"))


def resolve(waiter: asyncio.Future[None]) -> None:
    """Wake whoever awaits `waiter`, unless it is over already."""
    if not waiter.done():
        waiter.set_result(None)


# A child that is not part of a tree yet: messages may be queued, and nobody listens to events.
_DETACHED: Final = Runtime()
