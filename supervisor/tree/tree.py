"""A whole tree from outside: start its root, stop it, wait for it, look at it, find a node in it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from supervisor.errors import NotRunning, StartFailed, UnknownChild
from supervisor.tree.child import Restart
from supervisor.tree.keeper import start_error
from supervisor.tree.outcome import summary
from supervisor.tree.slot import Slot
from supervisor.tree.snapshot import children, take
from supervisor.tree.supervisor import Supervisor

if TYPE_CHECKING:
    from supervisor.tree.incarnation import Incarnation
    from supervisor.tree.outcome import Outcome
    from supervisor.tree.runtime import Runtime
    from supervisor.tree.snapshot import NodeSnapshot


class Tree:
    """Runs one root supervisor, which nobody restarts."""

    def __init__(self, root: Supervisor, runtime: Runtime) -> None:
        self.root = root
        self.runtime = runtime
        self._slot = Slot(root, root.name, runtime, Restart.TEMPORARY, lambda _slot, _life, _stalled: None)
        self._life: Incarnation | None = None
        runtime.look = self.snapshot

    @property
    def outcome(self) -> Outcome | None:
        """How the tree ended; None before it starts and while it runs."""
        return self._life.outcome if self._life is not None else None

    async def start(self) -> None:
        """Start every child, in order.

        Raises StartFailed after the started ones have stopped again. A stop during the start is not
        an error: `wait` tells.
        """
        self.runtime.loop = asyncio.get_running_loop()
        self._life = life = self._slot.begin()
        await asyncio.wait((life.settled(),))
        if life.running:
            return
        self._slot.release()
        error = start_error(life)
        if isinstance(error, StartFailed):
            raise error
        if error is not None:
            raise StartFailed(f"{self._slot.path} failed to start: {summary(error)}") from error

    def stop(self) -> None:
        """Ask the whole tree to stop, in reverse order of its start; `wait` for the end."""
        self._slot.begin_halt(for_good=True)

    async def wait(self) -> Outcome:
        """Wait until the root has ended, by itself or by `stop`, and return how. Raises NotRunning before `start`."""
        if self._life is None:
            raise NotRunning(f"the tree of {self.root.name!r} was never started")
        while (outcome := self._life.outcome) is None:
            await asyncio.wait((self._life.over(),))
        self._slot.release()
        return outcome

    def snapshot(self, *, stacks: bool = False) -> NodeSnapshot:
        """The tree as data, now."""
        return take(self._slot, stacks=stacks)

    def parent_of(self, path: str) -> tuple[Supervisor, str]:
        """Return the supervisor that holds the node at `path`, and the node's name. Raises UnknownChild."""
        slot = self._slot
        names = path.split("/")
        if len(names) > 1 and names[0] == slot.node.name:
            for name in names[1:-1]:
                slot = children(slot).get(name, slot)
            if names[-1] in children(slot) and slot.path == "/".join(names[:-1]) and isinstance(slot.node, Supervisor):
                return slot.node, names[-1]
        raise UnknownChild(f"there is no {path!r} below {self._slot.path!r}; `tree` lists the paths")
