"""A child's place under a running supervisor: which incarnation fills it, in what state, with what past."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from supervisor.errors import ConfigError
from supervisor.tree.child import Restart
from supervisor.tree.incarnation import Incarnation
from supervisor.tree.monitor import forget_watchers
from supervisor.tree.outcome import Crashed, Ignored, Normal, Outcome, Shutdown, Stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisor.tree.child import Node
    from supervisor.tree.group_backoff import GroupBackoff
    from supervisor.tree.runtime import Runtime


class State(enum.Enum):
    """Where a child stands."""

    DECLARED = "declared"
    STARTING = "starting"
    RUNNING = "running"
    BACKOFF = "backoff"
    STANDBY = "standby"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"
    ABANDONED = "abandoned"


class Slot:
    """The record of one child. `notify(slot, incarnation, stalled)` tells the supervisor of what happens."""

    __slots__ = (
        "_halting",
        "_notify",
        "backoff",
        "default_restart",
        "failures",
        "generation",
        "held",
        "incarnation",
        "last_outcome",
        "node",
        "path",
        "pending",
        "permitted",
        "restarts",
        "runtime",
        "standby",
    )

    def __init__(
        self,
        node: Node,
        path: str,
        runtime: Runtime,
        default_restart: Restart,
        notify: Callable[[Slot, Incarnation, bool], None],
    ) -> None:
        if node.owner is not None:
            raise ConfigError(f"{path}: this child is running in another place already; make a new one for each tree")
        node.owner = self
        node.mailbox.open(path, runtime)
        self.node = node
        self.path = path
        self.runtime = runtime
        self.default_restart = default_restart
        self.incarnation: Incarnation | None = None
        self.generation = 0
        # Failures in a row, for the backoff; restarts in all, for people.
        self.failures = 0
        self.restarts = 0
        self.last_outcome: Outcome | None = None
        # Stopped by command: stays stopped until the command to start.
        self.held = False
        # What it waits for: its own backoff, or that of a sibling whose failure took it down.
        self.backoff: GroupBackoff | None = None
        # It ended by itself, and the supervisor has not dealt with that yet.
        self.pending = False
        # A singleton that is to be started once it is granted.
        self.standby = False
        self.permitted: Callable[[], object] | None = None
        self._halting = False
        self._notify = notify

    @property
    def restart(self) -> Restart:
        """The restart policy in force."""
        return self.node.restart or self.default_restart

    @property
    def state(self) -> State:
        """Where the child stands, derived from what is there."""
        life = self.incarnation
        if life is not None:
            if life.stage is not None:
                return State.STOPPING
            return State.RUNNING if life.running else State.STARTING
        if self.backoff is not None:
            return State.BACKOFF
        if self.standby and not self.held:
            return State.STANDBY
        match self.last_outcome:
            case Shutdown(Stage.ABANDONED):
                return State.ABANDONED
            case Crashed() if not self.held:
                return State.FAILED
            case None | Ignored():
                return State.STOPPED if self.held else State.DECLARED
            case _:
                return State.STOPPED

    def must_wait(self) -> bool:
        """Whether it is a singleton that may not run now; then it stands by. Raises ConfigError if it never may."""
        name, singletons = self.node.singleton, self.runtime.singletons
        if name is None:
            return False
        if singletons is None:
            raise ConfigError(
                f"{self.path}: singleton = {name!r} needs a database that says who has the name; "
                "run it in an App with jobs, or leave singleton out"
            )
        singletons.enlist(name, self)
        if singletons.is_granted(name):
            return False
        self.standby = True
        self.close()
        return True

    def begin(self) -> Incarnation:
        """Start an incarnation; the caller waits until it has settled."""
        self.backoff = None
        self.held = self.pending = self.standby = False
        self.generation += 1
        self.node.mailbox.open(self.path, self.runtime)
        self.incarnation = Incarnation(self.node, self.path, self.generation, self.runtime, self)
        return self.incarnation

    def ended(self, incarnation: Incarnation) -> None:
        """See `Owner.ended`."""
        if incarnation is not self.incarnation:
            return
        self.incarnation = None
        self.last_outcome = incarnation.outcome
        if self.node.singleton is not None and self.runtime.singletons is not None:
            self.runtime.singletons.changed.set()
        # A failed start and a stop have someone who waits for them.
        if incarnation.running and not self._halting:
            self.pending = True
            self._notify(self, incarnation, False)  # noqa: FBT003 - the callback's only flag

    def stalled(self, incarnation: Incarnation) -> None:
        """See `Owner.stalled`."""
        self._notify(self, incarnation, True)  # noqa: FBT003 - as above

    def begin_halt(self, *, for_good: bool) -> None:
        """Ask whatever runs here to stop. `for_good` also closes the mailbox."""
        if for_good:
            self.node.mailbox.close()
        if self.incarnation is not None:
            self._halting = True
            self.incarnation.stop()

    async def halted(self) -> None:
        """Wait until nothing runs here."""
        if self.incarnation is not None:
            await self.incarnation.over()
        self._halting = False
        if self.node.mailbox.closed:
            self.node.mailbox.drain()

    def close(self) -> None:
        """Take no more messages, and bury those that wait."""
        self.node.mailbox.close()
        self.node.mailbox.drain()

    def release(self) -> None:
        """Leave the tree: nothing will run here again."""
        self.backoff = None
        self.node.owner = None
        if self.node.singleton is not None and self.runtime.singletons is not None:
            self.runtime.singletons.strike(self.node.singleton, self)
        forget_watchers(self.node.mailbox)
        self.close()

    def wants_restart(self, outcome: Outcome) -> bool:
        """Whether the restart policy asks for another incarnation after one that ended by itself."""
        match outcome:
            case Normal():
                return self.restart is Restart.PERMANENT
            case Crashed():
                return self.restart is not Restart.TEMPORARY
            case Shutdown():
                # Ended within a stop that its supervisor did not ask for: only a stall's restart does that.
                return self.restart is not Restart.TEMPORARY
            case _:
                return False

    def next_delay(self, life: Incarnation) -> float:
        """Seconds to wait before the next start; a long healthy life is forgiven."""
        backoff = self.node.backoff
        if life.running and life.ended_at - life.up_since >= backoff.healthy_after:
            self.failures = 0
        self.failures += 1
        self.restarts += 1
        return backoff.jittered(self.failures, self.runtime.random)
