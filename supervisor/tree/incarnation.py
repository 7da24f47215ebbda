"""One life of an actor: one instance, one task, one outcome, and a stop that always comes to an end.

The stop is a small state machine driven by one timer, not a coroutine: nothing that the actor does,
and no cancellation of its supervisor, can hold it up. A supervisor is woken when a life ends or is
given up; it never waits for the task itself.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard

import anyio

from supervisor.errors import Ignore, StartTimeout, Stop, SupervisorError, TeardownTimeout
from supervisor.tree.actor import Actor
from supervisor.tree.child import KILL_LIMIT, Drain
from supervisor.tree.clock import NEVER
from supervisor.tree.events import ChildAbandoned, ChildExited, ChildStarted, StopStage
from supervisor.tree.inbox import Inbox
from supervisor.tree.mailbox import resolve
from supervisor.tree.monitor import report_down
from supervisor.tree.outcome import Crashed, ExitAsked, Ignored, Shutdown, Stage, classify
from supervisor.tree.pauses import Pauses
from supervisor.tree.refs import RUNNING, Asker
from supervisor.tree.stack import describe_stack
from supervisor.tree.stall import StallWatch

if TYPE_CHECKING:
    from contextlib import AsyncExitStack

    from supervisor.tree.child import Node
    from supervisor.tree.clock import Timer
    from supervisor.tree.outcome import Outcome
    from supervisor.tree.runtime import Runtime

KILLS = 3
KILL_STEP = 0.05

_ORDER = {stage: position for position, stage in enumerate(Stage)}


class Owner(Protocol):
    """The slot that an incarnation fills."""

    def ended(self, incarnation: Incarnation) -> None:
        """It has ended, or was abandoned: `incarnation.outcome` says how. Called once."""

    def stalled(self, incarnation: Incarnation) -> None:
        """It has stalled, and its child wants a restart for that."""


class Incarnation:
    """An actor instance and its task, with its `Owner` told of what the task does by itself."""

    __slots__ = (
        "__weakref__",
        "_cleanup",
        "_due",
        "_error",
        "_expired",
        "_kills",
        "_over",
        "_pauses",
        "_scope",
        "_settled",
        "_stall",
        "_timer",
        "actor",
        "began",
        "ended_at",
        "generation",
        "inbox",
        "node",
        "outcome",
        "owner",
        "path",
        "resources",
        "running",
        "runtime",
        "stage",
        "task",
        "up_since",
    )

    def __init__(self, node: Node, path: str, generation: int, runtime: Runtime, owner: Owner) -> None:
        self.node = node
        self.path = path
        self.generation = generation
        self.runtime = runtime
        self.inbox: Inbox[Any] = Inbox(node.mailbox, runtime.clock.now)
        self.actor: Actor[Any] | None = None
        self.resources: AsyncExitStack | None = None
        self.running = False
        self.stage: Stage | None = None
        self.outcome: Outcome | None = None
        self._settled: asyncio.Future[None] | None = None
        self._over: asyncio.Future[None] | None = None
        self.began = self.up_since = self.ended_at = self.inbox.stamp
        self.owner = owner
        self._error: BaseException | None = None
        self._expired = False
        self._kills = 0
        self._scope = anyio.CancelScope()
        self._cleanup: anyio.CancelScope | None = None
        self._pauses: Pauses | None = None
        self._stall: StallWatch | None = None
        self._due = math.inf
        self._timer: Timer = NEVER
        node.mailbox.alive = True
        self._arm(node.limits.start)
        self.task: asyncio.Task[None] = asyncio.get_running_loop().create_task(self._live(), name=path)
        # Not a `finally`: a task cancelled before its first step never enters its body.
        self.task.add_done_callback(self._task_done)

    # --- the life -------------------------------------------------------------------------------

    async def _live(self) -> None:
        try:
            with self._scope:
                RUNNING.set(Asker(self.node.mailbox, self.task))
                try:
                    # Here, not in a coroutine of its own: each wake-up passes through all of them.
                    actor = self._make_actor()
                    await actor.setup()
                    if self.stage is None:
                        self._started()
                        await actor.run()
                except BaseException as error:
                    await self._clean_up(error)
                    raise
                await self._clean_up(None)
        except GeneratorExit:
            raise
        except BaseException as error:  # noqa: BLE001 - the one place where every end of an actor is recorded
            self._error = error
        self.inbox.close_span(self._error)

    def _make_actor(self) -> Actor[Any]:
        actor = self.node.factory()
        if not isinstance(actor, Actor):
            raise TypeError(f"the factory of {self.path} made a {type(actor).__name__}, which is not an Actor")
        actor._life = self  # noqa: SLF001 - an actor is bound to its life here and nowhere else
        actor.inbox = self.inbox
        self.actor = actor
        return actor

    def _started(self) -> None:
        self.running = True
        self._disarm()
        now = self.runtime.clock.now()
        self.runtime.emit(ChildStarted(self.path, self.generation, now - self.began))
        self.inbox.stamp = self.up_since = now
        if self.node.limits.stall is not None:
            self._stall = StallWatch(self, self.node.limits.stall)
        self._settle()

    async def _clean_up(self, error: BaseException | None) -> None:
        """Run `teardown`, then leave what `enter` entered; after a kill there is no time for either."""
        actor = self.actor
        if actor is None or self._kills:
            return
        tears_down = self.running and type(actor).teardown is not Actor.teardown
        if not tears_down and self.resources is None:
            return
        with anyio.CancelScope(shield=True) as self._cleanup:
            self._arm(self.node.limits.teardown)
            try:
                try:
                    if tears_down:
                        await actor.teardown()
                finally:
                    if self.resources is not None:
                        await self.resources.aclose()
            except Exception as failure:
                if not _is_failure(error):
                    raise
                error.add_note(f"teardown failed too: {type(failure).__name__}: {failure}")
        if self._cleanup.cancelled_caught and not _is_failure(error):
            raise TeardownTimeout(f"{self.path}: teardown took longer than {self.node.limits.teardown:g} s")

    # --- the stop -------------------------------------------------------------------------------

    def stop(self, at: Stage = Stage.DRAINING) -> None:
        """Begin to stop at this stage, or move on to it. Never waits; `over` tells."""
        if self.task.done() or self.outcome is not None:
            return
        if self.stage is not None and _ORDER[at] <= _ORDER[self.stage]:
            return
        if at is Stage.DRAINING and not self.node.patient and (not self.running or self.node.limits.stop == 0):
            # An actor in `setup` cannot know of a drain.
            at = Stage.CANCELLING
        self.runtime.deadline.stopping.add(self)
        self._enter(at)
        # A teardown that began before the shutdown did has not heard of its deadline.
        self.hurry()

    def hurry(self) -> None:
        """Heed a deadline that was brought forward."""
        limit = self.runtime.deadline.drain_by if self.stage is Stage.DRAINING else self.runtime.deadline.end_by
        if self._cleanup is not None:
            limit = self.runtime.deadline.end_by
        if limit < self._due and self.outcome is None:
            self._arm(limit - self.runtime.clock.now())

    def _enter(self, stage: Stage) -> None:
        self.stage = stage
        self.runtime.emit(StopStage(self.path, stage))
        limits = self.node.limits
        match stage:
            case Stage.DRAINING:
                self.inbox.drain(queue=self.node.drain is Drain.QUEUE)
                if self._pauses is not None:
                    self._pauses.rouse()
                if self._cleanup is None:
                    self._arm(min(limits.stop, self.runtime.deadline.drain_by - self.runtime.clock.now()))
            case Stage.CANCELLING:
                self.inbox.revoke()
                self._scope.cancel()
                if self._cleanup is None:
                    self._arm(limits.cancel)
            case Stage.KILLING:
                self._kill()
            case Stage.ABANDONED:
                self._abandon()

    def _advance(self) -> None:
        """The limit of the present stage has passed."""
        if self._cleanup is not None and not self._cleanup.cancel_called:
            self._cleanup.cancel()
            self._arm(KILL_LIMIT)
            return
        match self.stage:
            case None if not self.running and self._cleanup is None:
                self._expired = True
                self.stop(Stage.CANCELLING)
            case Stage.DRAINING if self._cleanup is None:
                self._enter(Stage.CANCELLING)
            case None | Stage.DRAINING | Stage.CANCELLING:
                self.runtime.deadline.stopping.add(self)
                self._enter(Stage.KILLING)
            case Stage.KILLING if self._kills < KILLS:
                self._kill()
            case Stage.KILLING:
                self._enter(Stage.ABANDONED)
            case Stage.ABANDONED:
                pass

    def _kill(self) -> None:
        # Native cancels pierce anyio's shields; the cleanup they destroy is the price.
        self._kills += 1
        self.task.cancel()
        self._arm(KILL_STEP if self._kills < KILLS else KILL_LIMIT - KILL_STEP * (KILLS - 1))

    def _abandon(self) -> None:
        self.inbox.revoke()
        # anyio delivers a level cancel again on every turn of the loop for as long as the task lives,
        # which would burn a core for a task that swallows it. Nobody waits for this one any more.
        for scope in (self._scope, self._cleanup):
            handle: asyncio.Handle | None = getattr(scope, "_cancel_handle", None)
            if handle is not None:
                handle.cancel()
        self.runtime.abandoned.add(self)
        self.runtime.emit(ChildAbandoned(self.path, self.generation, self.stack()))
        self._finish(Shutdown(Stage.ABANDONED))

    # --- the end --------------------------------------------------------------------------------

    def _task_done(self, task: asyncio.Task[None]) -> None:
        if self.outcome is not None:
            self.runtime.abandoned.discard(self)
            return
        if self._expired:
            limit = self.node.limits.start
            self._finish(Crashed(StartTimeout(f"{self.path}: setup took longer than {limit:g} s")))
            return
        error = asyncio.CancelledError() if task.cancelled() else task.exception() or self._error
        outcome = classify(error, self.stage)
        if isinstance(outcome, Ignored) and self.running:
            # Out of place, and easily mistaken for an end.
            outcome = Crashed(SupervisorError(f"{self.path} raised Ignore outside setup; raise Stop to end normally"))
        self._finish(outcome)

    def _finish(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.ended_at = self.runtime.clock.now()
        self._disarm()
        if self._stall is not None:
            self._stall.close()
        if self._pauses is not None:
            self._pauses.close()
        self.runtime.deadline.stopping.discard(self)
        match outcome:
            case Crashed(error):
                self.inbox.crashed(error)
            case ExitAsked(code):
                self.inbox.crashed(SystemExit(code))
            case Shutdown(stage) if stage is not Stage.DRAINING or not isinstance(self._error, Stop | None):
                self.inbox.interrupted()
            case _:
                self.inbox.finished()
        self._error = None
        self.inbox.revoke()
        mailbox = self.node.mailbox
        mailbox.alive = False
        mailbox.waiting_on = None
        self.runtime.emit(ChildExited(self.path, self.generation, outcome))
        report_down(mailbox, outcome)
        # Reports of monitors that it has not read were for this incarnation.
        mailbox.control = None
        if isinstance(outcome, ExitAsked):
            self.runtime.request_exit(self.path, outcome.code, outcome.message)
        self.actor = None
        self._settle()
        if self._over is not None:
            resolve(self._over)
        self.owner.ended(self)

    def settled(self) -> asyncio.Future[None]:
        """A future that is done when it runs, or has ended instead. Many may wait, with `asyncio.wait`."""
        if self._settled is None or self._settled.cancelled():
            self._settled = asyncio.get_running_loop().create_future()
            if self.running or self.outcome is not None:
                self._settled.set_result(None)
        return self._settled

    def over(self) -> asyncio.Future[None]:
        """A future that is done when it has ended or was abandoned. Many may wait, with `asyncio.wait`."""
        if self._over is None or self._over.cancelled():
            self._over = asyncio.get_running_loop().create_future()
            if self.outcome is not None:
                self._over.set_result(None)
        return self._over

    async def settled_or_stopping(self, other: Incarnation) -> None:
        """Wait until `other` has settled, or until we are to stop."""
        if self.stage is None and not (settled := other.settled()).done():
            await self.pauses.until(settled)

    def _settle(self) -> None:
        if self._settled is not None:
            resolve(self._settled)

    # --- what the actor uses ----------------------------------------------------------------------

    @property
    def pauses(self) -> Pauses:
        """Its waits and timers."""
        if self._pauses is None:
            self._pauses = Pauses(self)
        return self._pauses

    def stack(self) -> str:
        """Where the task stands now, as a traceback."""
        return describe_stack(self.task)

    # --- timers -----------------------------------------------------------------------------------

    def _arm(self, delay: float) -> None:
        """Call `_advance` after `delay`, or at the end of the process's shutdown if that is sooner."""
        self._timer.cancel()
        if self.node.patient:
            return
        now = self.runtime.clock.now()
        self._due = min(now + delay, self.runtime.deadline.end_by)
        self._timer = self.runtime.clock.call_later(max(0.0, self._due - now), self._advance)

    def _disarm(self) -> None:
        self._timer.cancel()
        self._due = math.inf


def _is_failure(error: BaseException | None) -> TypeGuard[BaseException]:
    """Whether an actor's end is one that a failing teardown must not hide."""
    return error is not None and not isinstance(error, asyncio.CancelledError | Stop | Ignore)
