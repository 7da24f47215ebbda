"""A supervisor for children that come and go: started on demand, no order, stopped all at once."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeVar

from supervisor.errors import ChildExists, ConfigError, StartFailed, SupervisorError, TooManyChildren
from supervisor.tree.child import Limits, Restart
from supervisor.tree.commands import AddChild
from supervisor.tree.keeper import Keeper, start_error
from supervisor.tree.outcome import Ignored, summary
from supervisor.tree.supervisor import OWN_STOP, Supervisor

if TYPE_CHECKING:
    import asyncio

    from supervisor.tree.backoff import Backoff
    from supervisor.tree.child import Child
    from supervisor.tree.incarnation import Incarnation
    from supervisor.tree.keeper import Message
    from supervisor.tree.refs import ActorRef, Reply
    from supervisor.tree.slot import Slot

M = TypeVar("M")


class DynamicSupervisor(Supervisor):
    """Holds up to `max_children` children that are started while it runs.

    They start without waiting for each other, have no order, and stop together, each within its own
    limits. A child is temporary unless it says otherwise: it is forgotten when it ends, and its
    crash concerns nobody else.
    """

    __slots__ = ("max_children",)

    def __init__(  # noqa: PLR0913 - keyword options with defaults
        self,
        name: str,
        *,
        max_children: int = 10_000,
        max_restarts: int = 5,
        within: float = 60.0,
        restart: Restart = Restart.PERMANENT,
        backoff: Backoff | None = None,
        significant: bool = False,
    ) -> None:
        if max_children < 1:
            raise ConfigError(f"supervisor {name!r}: max_children = {max_children}; must be 1 or more")
        self.max_children = max_children
        super().__init__(
            name, max_restarts=max_restarts, within=within, restart=restart, backoff=backoff, significant=significant
        )

    def _make_keeper(self) -> Keeper:
        return DynamicKeeper(self, self.max_children)

    def _default_restart(self) -> Restart:
        return DynamicKeeper.default_restart

    @property
    def kind(self) -> str:
        """Unlike other supervisors it has no strategy."""
        return "dynamic"

    @property
    def stop_limit(self) -> float:
        """The longest that stopping it takes if its children keep to the default limits, in seconds."""
        return Limits().whole_stop + OWN_STOP

    async def start_child(self, child: Child[M]) -> ActorRef[M]:
        """Start a child, and return its address when it runs.

        Raises TooManyChildren, StartFailed, ChildExists, ConfigError, NotRunning.
        """
        await self.add_child(child)
        return child.ref


class DynamicKeeper(Keeper):
    """Keeps children without order."""

    default_restart = Restart.TEMPORARY

    def __init__(self, spec: Supervisor, max_children: int) -> None:
        super().__init__(spec)
        self.max_children = max_children

    async def handle(self, message: Message) -> None:
        """Start without waiting; everything else is as in any supervisor."""
        if not isinstance(message, AddChild):
            await super().handle(message)
            return
        try:
            self._admit(message)
        except SupervisorError as error:
            message.reply.fail(error)

    def _admit(self, command: AddChild) -> None:
        node = command.node
        self.spec.check_child(node)
        if len(self.slots) >= self.max_children:
            raise TooManyChildren(f"{self.path} holds {self.max_children} children already, its max_children")
        if node.name in self.slots:
            raise ChildExists(f"{self.path} has a child named {node.name!r} already")
        slot = self._declare(node)
        try:
            waits = slot.must_wait()
        except ConfigError:
            self._forget(slot)
            raise
        if waits:
            command.reply.send(None)
            return
        life = slot.begin()
        life.settled().add_done_callback(partial(self._settled, slot, life, command.reply))

    def _settled(self, slot: Slot, life: Incarnation, reply: Reply[None], _: asyncio.Future[None]) -> None:
        error = start_error(life)
        if error is None and not life.running and not isinstance(life.outcome, Ignored):
            error = SupervisorError("it was stopped before it ran")
        if isinstance(life.outcome, Ignored) and slot.restart is Restart.TEMPORARY:
            self._forget(slot)
        if self._life.runtime.stuck_under(slot.path):
            # Handled in turn, where it can end this supervisor.
            self._notify(slot, life, stalled=False)
        elif error is not None and self.slots.get(slot.node.name) is slot:
            self._forget(slot)
        if error is None:
            reply.send(None)
        else:
            failure = StartFailed(f"{slot.path} failed to start: {summary(error)}")
            failure.__cause__ = error
            reply.fail(failure)

    async def _stop_all(self) -> None:
        slots = tuple(self.slots.values())
        for slot in slots:
            if slot.backoff is not None:
                slot.backoff.call_off()
            slot.begin_halt(for_good=True)
        for slot in slots:
            await slot.halted()
            slot.release()
