"""The tree as data: what health checks, dumps, the `tree` command and tests all read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from supervisor.tree.keeper import Keeper
from supervisor.tree.outcome import describe

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from supervisor.tree.slot import Slot, State


@dataclass(frozen=True, slots=True)
class NodeSnapshot:
    """One node at one moment. Ages are in seconds.

    `kind` is the actor's class, or the supervisor's strategy; `stage` the stage of a stop under way;
    `last_progress` the age of the last progress; `busy` whether it is inside a message or tick now.
    """

    path: str
    name: str
    kind: str
    restart: str
    state: State
    stage: str | None
    generation: int
    restarts: int
    age: float | None
    busy: bool
    last_progress: float | None
    mailbox: int
    capacity: int
    last_outcome: str | None
    stack: str | None
    children: tuple[NodeSnapshot, ...]

    def walk(self) -> Iterator[NodeSnapshot]:
        """This node and all below it, in start order."""
        yield self
        for child in self.children:
            yield from child.walk()


def children(slot: Slot) -> Mapping[str, Slot]:
    """The places under the supervisor in this slot; empty for anything else."""
    actor = slot.incarnation.actor if slot.incarnation is not None else None
    return actor.slots if isinstance(actor, Keeper) else {}


def take(slot: Slot, *, stacks: bool = False) -> NodeSnapshot:
    """Describe the node in this slot and everything below it; `stacks` adds where each task stands."""
    life, node = slot.incarnation, slot.node
    actor = life.actor if life is not None else None
    now = slot.runtime.clock.now()
    keeps = isinstance(actor, Keeper)
    return NodeSnapshot(
        path=slot.path,
        name=node.name,
        kind=node.kind if keeps or actor is None else type(actor).__name__,
        restart=slot.restart.value,
        state=slot.state,
        stage=life.stage.value if life is not None and life.stage is not None else None,
        generation=slot.generation,
        restarts=slot.restarts,
        age=now - life.began if life is not None else None,
        busy=life is not None and not keeps and not life.inbox.idle,
        last_progress=now - life.inbox.stamp if life is not None and not keeps else None,
        mailbox=len(node.mailbox),
        capacity=node.mailbox.capacity,
        last_outcome=describe(slot.last_outcome) if slot.last_outcome is not None else None,
        stack=life.stack() if stacks and life is not None else None,
        children=tuple(take(child, stacks=stacks) for child in children(slot).values()),
    )
