"""The actor inside a supervisor: it starts, watches, restarts and stops the children, by OTP's rules."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from supervisor.errors import (
    ChildBusy,
    ChildExists,
    ConfigError,
    GaveUp,
    StartFailed,
    StartTimeout,
    Stop,
    SupervisorError,
    UnknownChild,
    Unstoppable,
)
from supervisor.tree.actor import Actor
from supervisor.tree.child import Restart
from supervisor.tree.commands import AddChild, Command, RemoveChild, RestartChild, StopChild
from supervisor.tree.events import AutoShutdownBegan, ChildRestarting, SupervisorGaveUp
from supervisor.tree.group_backoff import GroupBackoff
from supervisor.tree.intensity import Intensity
from supervisor.tree.outcome import Crashed, Ignored, Normal, Shutdown, Stage, describe, summary
from supervisor.tree.slot import Slot, State
from supervisor.tree.strategy import AutoShutdown, Strategy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from supervisor.tree.child import Node
    from supervisor.tree.incarnation import Incarnation
    from supervisor.tree.supervisor import Supervisor


@dataclass(frozen=True, slots=True)
class Ended:
    """An incarnation has ended, or (`stalled`) should be."""

    slot: Slot
    life: Incarnation
    stalled: bool


@dataclass(frozen=True, slots=True)
class RestartDue:
    """A backoff is over."""

    backoff: GroupBackoff


@dataclass(frozen=True, slots=True)
class Permitted:
    """A singleton may run from now on."""

    slot: Slot


Message = Command | Ended | RestartDue | Permitted


class Keeper(Actor[Message]):
    """Keeps the children of one supervisor.

    It handles one thing at a time, as OTP's supervisor does, and stays open to a stop request while
    it waits for a child to start. It never waits for a backoff: that is a timer and a message.
    """

    default_restart = Restart.PERMANENT

    def __init__(self, spec: Supervisor) -> None:
        self.spec = spec
        self.slots: dict[str, Slot] = {}
        self.intensity = Intensity(spec.max_restarts, spec.within)

    # --- life -------------------------------------------------------------------------------------

    async def setup(self) -> None:
        """Start the children in order; one that fails takes the started ones down again."""
        try:
            for node in self.spec.children:
                self._declare(node)
            for slot in tuple(self.slots.values()):
                await self._start(slot)
        except BaseException:
            await self._stop_all()
            raise

    async def handle(self, message: Message) -> None:
        """Act on what a child did, or on a command."""
        match message:
            case Ended(slot, life, stalled):
                self.inbox.done()
                await self._on_ended(slot, life, stalled=stalled)
            case RestartDue(backoff):
                self.inbox.done()
                await self._restart_group(backoff)
            case Permitted(slot):
                self.inbox.done()
                await self._start_permitted(slot)
            case _:
                await self._obey(message)

    async def teardown(self) -> None:
        """Stop the children in reverse order."""
        await self._stop_all()

    # --- start and stop ---------------------------------------------------------------------------

    def _declare(self, node: Node) -> Slot:
        slot = Slot(node, f"{self.path}/{node.name}", self._life.runtime, self.default_restart, self._notify)
        if node.singleton is not None:
            slot.permitted = partial(self._life.node.mailbox.put_control, Permitted(slot))
        self.slots[node.name] = slot
        return slot

    def _notify(self, slot: Slot, life: Incarnation, stalled: bool) -> None:  # noqa: FBT001 - one flag of a callback
        self._life.node.mailbox.put_control(Ended(slot, life, stalled))

    async def _begin(self, slot: Slot) -> Incarnation:
        """Start one child and wait until it runs or has failed; raise Stop if we are to stop meanwhile."""
        life = slot.begin()
        with self._waiting_on(slot):
            await self._life.settled_or_stopping(life)
        if self.stopping:
            raise Stop
        if self._life.running:
            self._refuse_stuck(slot)
        if isinstance(life.outcome, Ignored):
            slot.close()
            if slot.restart is Restart.TEMPORARY:
                self._forget(slot)
        return life

    async def _start(self, slot: Slot) -> None:
        if slot.must_wait():
            return
        life = await self._begin(slot)
        if (error := start_error(life)) is not None:
            raise StartFailed(f"{slot.path} failed to start: {summary(error)}") from error

    async def _halt(self, slot: Slot, *, for_good: bool) -> None:
        """Stop one child. If it cannot be stopped, this supervisor ends, and with it the process."""
        with self._waiting_on(slot):
            slot.begin_halt(for_good=for_good)
            await slot.halted()
        self._refuse_stuck(slot)

    async def _stop_all(self) -> None:
        for slot in reversed(tuple(self.slots.values())):
            if slot.backoff is not None:
                slot.backoff.call_off()
            slot.begin_halt(for_good=True)
            await slot.halted()
            slot.release()

    def _refuse_stuck(self, slot: Slot) -> None:
        if self._life.runtime.stuck_under(slot.path):
            raise Unstoppable(f"{slot.path} survived every stage of its stop; only the end of the process can end it")

    @contextmanager
    def _waiting_on(self, slot: Slot) -> Iterator[None]:
        # A child that asks its supervisor for something while the supervisor waits for it is told so.
        mailbox = self._life.node.mailbox
        mailbox.waiting_on = slot.node.mailbox
        try:
            yield
        finally:
            mailbox.waiting_on = None

    def _forget(self, slot: Slot) -> None:
        if self.slots.get(slot.node.name) is slot:
            del self.slots[slot.node.name]
            slot.release()

    # --- restart ----------------------------------------------------------------------------------

    async def _on_ended(self, slot: Slot, life: Incarnation, *, stalled: bool) -> None:
        if self.slots.get(slot.node.name) is not slot or slot.generation != life.generation:
            return
        slot.pending = False
        if stalled and slot.incarnation is life:
            await self._halt(slot, for_good=False)
        elif slot.incarnation is not None or slot.held or slot.backoff is not None:
            # Overtaken: a sibling's restart or a command came first.
            return
        self._refuse_stuck(slot)
        if slot.standby:
            # Stopped because its term is over, which is no failure.
            slot.close()
            return
        if life.outcome is not None and slot.wants_restart(life.outcome):
            await self._fail(slot, life)
            return
        slot.close()
        if slot.restart is Restart.TEMPORARY:
            self._forget(slot)
        if slot.node.significant:
            self._auto_shutdown(slot)

    async def _fail(self, slot: Slot, life: Incarnation) -> None:
        """Decide on one restart: count it, stop whom it concerns, and wait out the backoff."""
        now = self.clock.now()
        outcome = life.outcome
        if not self.intensity.record(now):
            spec = self.spec
            self._life.runtime.emit(SupervisorGaveUp(self.path, slot.node.name, spec.max_restarts, spec.within))
            cause = outcome.error if isinstance(outcome, Crashed) else None
            raise GaveUp(
                f"{self.path}: {slot.node.name} failed after {spec.max_restarts} restarts in {spec.within:g} s"
            ) from cause
        delay = slot.next_delay(life)
        restarts = self.intensity.recent(now)
        self._life.runtime.emit(ChildRestarting(slot.path, delay, restarts, self.intensity.max_restarts))
        group, mailbox = self._group(slot), self._life.node.mailbox
        GroupBackoff(group, self.clock, delay, lambda backoff: mailbox.put_control(RestartDue(backoff)))
        for other in reversed(group):
            if other is slot:
                continue
            await self._halt(other, for_good=other.restart is Restart.TEMPORARY)
            if other.restart is Restart.TEMPORARY:
                self._forget(other)

    def _group(self, slot: Slot) -> list[Slot]:
        """The children whom a failure of `slot` concerns, in start order."""
        match self.spec.strategy:
            case Strategy.ONE_FOR_ONE:
                return [slot]
            case Strategy.ONE_FOR_ALL:
                return list(self.slots.values())
            case Strategy.REST_FOR_ONE:
                slots = list(self.slots.values())
                return slots[slots.index(slot) :]

    async def _restart_group(self, backoff: GroupBackoff) -> None:
        """Start who waits for this backoff, in order; nobody does if it was called off."""
        waiting = [member for member in backoff.members if member.backoff is backoff]
        for member in waiting:
            if member.held or member.incarnation is not None or member.must_wait():
                continue
            life = await self._begin(member)
            if start_error(life) is not None:
                # A failed restart is one more restart.
                await self._fail(member, life)
                return
        backoff.call_off()

    async def _start_permitted(self, slot: Slot) -> None:
        """Start a singleton that stood by."""
        if self.slots.get(slot.node.name) is not slot or not slot.standby or slot.held:
            return
        # One that waits for a backoff is started after it; a grant may be revoked before it is read.
        if slot.incarnation is not None or slot.backoff is not None or slot.must_wait():
            return
        life = await self._begin(slot)
        if start_error(life) is not None:
            await self._fail(slot, life)

    def _auto_shutdown(self, slot: Slot) -> None:
        """End, if the end of this significant child was the last straw."""
        match self.spec.auto_shutdown:
            case AutoShutdown.NEVER:
                return
            case AutoShutdown.ANY:
                pass
            case AutoShutdown.ALL:
                alive = (State.STARTING, State.RUNNING, State.BACKOFF, State.STANDBY, State.STOPPING)
                others = [other for other in self.slots.values() if other.node.significant]
                if any(other.pending or other.state in alive for other in others):
                    return
        self._life.runtime.emit(AutoShutdownBegan(self.path, slot.node.name))
        raise Stop

    # --- commands ---------------------------------------------------------------------------------

    async def _obey(self, command: Command) -> None:
        try:
            match command:
                case AddChild(_, node):
                    await self._add(node)
                case StopChild(_, name):
                    await self._stop_by_command(self._find(name))
                case RestartChild(_, name):
                    await self._restart_by_command(self._find(name))
                case RemoveChild(_, name):
                    self._remove(name)
        except (Unstoppable, GaveUp) as error:
            command.reply.fail(error)
            raise
        except SupervisorError as error:
            command.reply.fail(error)
        else:
            command.reply.send(None)

    async def _stop_by_command(self, slot: Slot) -> None:
        slot.held = True
        slot.backoff = None
        await self._halt(slot, for_good=True)
        if slot.restart is Restart.TEMPORARY:
            self._forget(slot)

    async def _restart_by_command(self, slot: Slot) -> None:
        await self._halt(slot, for_good=False)
        slot.held = False
        slot.failures = 0
        backoff = self._backoff_around(slot)
        if backoff is None:
            await self._start(slot)
            return
        # Its group waits out a backoff: somebody wants it now, and the others belong before and behind it.
        slot.backoff = backoff
        await self._restart_group(backoff)
        if slot.incarnation is None and not isinstance(slot.last_outcome, Ignored):
            raise StartFailed(f"{slot.path} did not start: {describe(slot.last_outcome)}")

    def _backoff_around(self, slot: Slot) -> GroupBackoff | None:
        """The backoff for which the group of `slot` waits."""
        if self.spec.strategy is Strategy.ONE_FOR_ONE:
            return None
        backoffs = (other.backoff for other in self.slots.values() if other.backoff is not None)
        return next((backoff for backoff in backoffs if slot in backoff.members), None)

    async def _add(self, node: Node) -> None:
        self.spec.check_child(node)
        if node.name in self.slots:
            raise ChildExists(f"{self.path} has a child named {node.name!r} already")
        slot = self._declare(node)
        try:
            await self._start(slot)
        except (ConfigError, StartFailed):
            self._forget(slot)
            raise

    def _remove(self, name: str) -> None:
        slot = self._find(name)
        if slot.state not in (State.DECLARED, State.STOPPED, State.FAILED, State.ABANDONED):
            raise ChildBusy(f"{slot.path} is {slot.state.value}; stop it before removing it")
        self._forget(slot)

    def _find(self, name: str) -> Slot:
        try:
            return self.slots[name]
        except KeyError:
            raise UnknownChild(f"{self.path} has no child named {name!r}") from None


def start_error(life: Incarnation) -> BaseException | None:
    """Why a settled life is not running, if that is a failure."""
    match life.outcome:
        case Crashed(error):
            return error
        case Normal():
            return SupervisorError("it ended during setup; raise Ignore to decline to run")
        case Shutdown(Stage.ABANDONED):
            return StartTimeout("it could not be made to end its setup")
        case _:
            return None
