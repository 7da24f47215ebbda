"""Addresses: how actors reach each other. A ref stays valid across restarts."""

from __future__ import annotations

import asyncio
import math
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Concatenate, Final, Generic, ParamSpec, TypeVar, final

from supervisor.errors import AskCycle
from supervisor.tree.expiry import ASK_TIMEOUT
from supervisor.tree.mailbox import Envelope
from supervisor.tree.tracing import capture_sender

if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisor.tree.mailbox import Mailbox

M_contra = TypeVar("M_contra", contravariant=True)
R = TypeVar("R")
R_contra = TypeVar("R_contra", contravariant=True)
P = ParamSpec("P")


class Asker:
    """Who an ask comes from: the running actor's mailbox and its own task."""

    __slots__ = ("mailbox", "task")

    def __init__(self, mailbox: Mailbox[Any], task: asyncio.Task[None]) -> None:
        self.mailbox = mailbox
        self.task = task


RUNNING: Final[ContextVar[Asker | None]] = ContextVar("supervisor_running_actor", default=None)


@final
class Reply(Generic[R_contra]):
    """The slot for one answer, carried by a request as its first field.

    A late or second answer is dropped: the asker has gone on.
    """

    __slots__ = ("_future",)

    def __init__(self, future: asyncio.Future[Any]) -> None:
        self._future = future

    @property
    def done(self) -> bool:
        """Whether it was answered, or nobody waits any more."""
        return self._future.done()

    def send(self, value: R_contra) -> None:
        """Answer."""
        if not self._future.done():
            self._future.set_result(value)

    def on_done(self, callback: Callable[[], object]) -> None:
        """Call back when it is answered or given up."""
        self._future.add_done_callback(lambda _: callback())

    def fail(self, error: Exception) -> None:
        """Answer with an error, which `ask` raises at the asker."""
        if not self._future.done():
            self._future.set_exception(error)


@final
class ActorRef(Generic[M_contra]):
    """The address of a child: send it messages, whichever incarnation of it lives."""

    __slots__ = ("_mailbox", "_timeout")

    def __init__(self, mailbox: Mailbox[Any], timeout: float = ASK_TIMEOUT) -> None:
        self._mailbox = mailbox
        self._timeout = timeout

    def __repr__(self) -> str:
        return f"<ActorRef {self._mailbox.path}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ActorRef) and other._mailbox is self._mailbox

    def __hash__(self) -> int:
        return hash(id(self._mailbox))

    @property
    def path(self) -> str:
        """Where the child stands in its tree; only its name until the tree has started."""
        return self._mailbox.path

    @property
    def mailbox(self) -> Mailbox[Any]:
        """The mailbox behind this address, for the runtime and for tests."""
        return self._mailbox

    def within(self, seconds: float) -> ActorRef[M_contra]:
        """Return the same address, whose asks wait up to `seconds`."""
        if not 0 < seconds < math.inf:
            raise ValueError(f"within({seconds}): an ask needs a positive, finite limit in seconds")
        return ActorRef(self._mailbox, seconds)

    async def tell(self, message: M_contra) -> None:
        """Send without an answer. A full mailbox makes the sender wait, unless its policy says otherwise.

        Raises MailboxClosed when the actor has stopped for good or is stopping, MailboxFull under
        `Overflow.FAIL` and for a message to oneself. Either way the message becomes a dead letter.
        """
        mailbox = self._mailbox
        items = mailbox.items
        if len(items) < mailbox.room and mailbox.runtime.tracer is None:
            # What `deliver` does, without the call.
            items.append(message)
            if (waiter := mailbox.waiter) is not None:
                mailbox.waiter = None
                if not waiter.done():
                    waiter.set_result(None)
        elif (asker := RUNNING.get()) is not None and asker.mailbox is mailbox and asyncio.current_task() is asker.task:
            # Nobody but itself could make the room that it would wait for.
            mailbox.put_nowait(_wrap(mailbox, message))
        else:
            await mailbox.put(_wrap(mailbox, message))

    def tell_nowait(self, message: M_contra) -> None:
        """Send at once, or raise MailboxFull or MailboxClosed."""
        self._mailbox.put_nowait(_wrap(self._mailbox, message))

    async def ask(  # noqa: C901, PLR0912 - written out: a call more would cost every ask
        self,
        message: Callable[Concatenate[Reply[R], P], M_contra],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """Build a request around a fresh `Reply`, send it, and return the answer.

        `await counter.ask(Total)` sends `Total(reply)`; more arguments follow the reply.
        Waits 5 s at most; `within` changes that.

        Raises AskTimeout; AskCycle when the actor waits, directly or not, for the asker;
        ActorCrashed when it crashed over this request; MailboxClosed when it will not run again;
        and whatever `Reply.fail` was given.
        """
        mailbox = self._mailbox
        runtime = mailbox.runtime
        loop = runtime.loop or asyncio.get_running_loop()
        asker = RUNNING.get()
        if asker is not None and asyncio.current_task(loop) is asker.task:
            waiting: Mailbox[Any] | None = asker.mailbox
            if mailbox is asker.mailbox or mailbox.waiting_on is not None:
                _refuse_cycle(asker.mailbox, mailbox)
        else:
            waiting = None
        future: asyncio.Future[R] = loop.create_future()
        if waiting is not None:
            waiting.waiting_on, waiting.waiting_for = mailbox, future
        reply: Reply[R] = Reply(future)
        try:
            sender = None if runtime.tracer is None else capture_sender(runtime.tracer)
            # Unpacking nothing costs 0.06 µs.
            request = message(reply, *args, **kwargs) if args or kwargs else message(reply)  # type: ignore[call-arg]
            envelope = Envelope(request, reply, sender)
            if self._timeout == ASK_TIMEOUT:
                runtime.asks.add(loop, future, mailbox)
            elif self._timeout != math.inf:
                runtime.expiry[self._timeout].add(loop, future, mailbox)
            if len(mailbox.items) < mailbox.room:
                mailbox.items.append(envelope)
                if (waiter := mailbox.waiter) is not None:
                    mailbox.waiter = None
                    if not waiter.done():
                        waiter.set_result(None)
            else:
                await mailbox.put(envelope)
            return await future
        except BaseException:
            # Refused: nobody waits for this answer, nor for its limit.
            future.cancel()
            raise
        finally:
            if waiting is not None:
                waiting.waiting_on = waiting.waiting_for = None

    def ask_nowait(
        self,
        message: Callable[Concatenate[Reply[R], P], M_contra],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> asyncio.Future[R]:
        """Like `ask`, but return a future for the answer at once. For callbacks, which cannot await.

        Raises MailboxFull or MailboxClosed. A cycle is not detected.
        """
        mailbox = self._mailbox
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        reply: Reply[R] = Reply(future)
        tracer = mailbox.runtime.tracer
        sender = None if tracer is None else capture_sender(tracer)
        mailbox.put_nowait(Envelope(message(reply, *args, **kwargs), reply, sender))
        if self._timeout != math.inf:
            mailbox.runtime.expiry[self._timeout].add(loop, future, mailbox)
        return future


def _wrap(mailbox: Mailbox[Any], message: object) -> object:
    tracer = mailbox.runtime.tracer
    return message if tracer is None else Envelope(message, None, capture_sender(tracer))


def _refuse_cycle(asker: Mailbox[Any], target: Mailbox[Any]) -> None:
    """Walk the wait-for graph from the target; meeting the asker means that nobody could ever answer."""
    chain = [asker]
    node: Mailbox[Any] | None = target
    # A circle without the asker, such as a supervisor that waits for a child that asks it, has its own asker.
    while node is not None and (node is asker or node not in chain):
        chain.append(node)
        if node is asker:
            raise AskCycle(f"this ask would wait for itself: {' -> '.join(link.path for link in chain)}")
        # An asker that has its answer waits no more, even if its task has not run yet.
        answered = node.waiting_for is not None and node.waiting_for.done()
        node = None if answered else node.waiting_on
