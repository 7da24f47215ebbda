"""One shutdown, from the first request to the last moment: deadlines, dead-man timer, systemd."""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor.process.budget import Budget
from supervisor.process.events import PhaseDone, ShutdownBegan, ShutdownHurried
from supervisor.tree.events import AutoShutdownBegan, ChildAbandoned, ChildExited, Event, SupervisorGaveUp

if TYPE_CHECKING:
    from supervisor.process.deadman import DeadMan
    from supervisor.process.systemd import Notifier
    from supervisor.tree.tree import Tree


class Shutdown:
    """Brings the tree down within its budget. A subscriber: it also sees when the tree goes down by itself."""

    def __init__(self, tree: Tree, total: float, deadman: DeadMan, notifier: Notifier) -> None:
        self._tree = tree
        self._budget = Budget(total)
        self._deadman = deadman
        self._notifier = notifier
        self._hurried = False
        self.began: float | None = None
        self.exit_code: int | None = None

    @property
    def end_by(self) -> float:
        """The tree's time at which everything must be over."""
        return self._tree.runtime.deadline.end_by

    def begin(self, reason: str) -> None:
        """Start to go down; a second call changes nothing."""
        if self.began is not None:
            return
        runtime, budget = self._tree.runtime, self._budget
        # First of all: from here on the process ends, whatever it meets.
        self._deadman.hold(budget.hard)
        self.began = now = runtime.clock.now()
        self._notifier.extend_timeout(budget.hard)
        runtime.emit(ShutdownBegan(self._tree.root.name, reason, budget.drain))
        runtime.deadline.tighten(now + budget.drain, now + budget.end)
        self._tree.stop()

    def hurry(self, reason: str) -> None:
        """Cut every drain short; what follows a drain keeps its time."""
        if self._hurried:
            return
        self._hurried = True
        runtime, budget = self._tree.runtime, self._budget
        drain_by = runtime.clock.now() + budget.collapse
        runtime.emit(ShutdownHurried(self._tree.root.name, reason, budget.collapse))
        runtime.deadline.tighten(drain_by, drain_by + budget.reserve)

    def exit_requested(self, code: int) -> None:
        """An actor asked the whole process to leave with `code`; the first one decides."""
        if self.exit_code is None:
            self.exit_code = code
        self.begin(f"an actor asked to exit with {code}")

    def __call__(self, event: Event) -> None:
        """Follow the tree: when it goes down by itself, the same limits hold."""
        match event:
            case SupervisorGaveUp(path) if path == self._tree.root.name:
                self.begin("the root supervisor gave up")
            case AutoShutdownBegan(path) if path == self._tree.root.name:
                self.begin("the work is done")
            case ChildAbandoned(path) if self._tree.runtime.stuck_under(path):
                self.begin(f"{path} cannot be stopped")
            case ChildExited(path) if self.began is not None and path.count("/") == 1:
                self._tree.runtime.emit(PhaseDone(path, self._tree.runtime.clock.now() - self.began))
            case _:
                pass
