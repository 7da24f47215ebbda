"""Decides which singletons of a tree run now: somebody outside grants each of them a term, and may revoke it.

The tree does not know how hosts agree on who has a name. It knows that a child with a `singleton` is started when its
name is granted, and not with its supervisor; that it is stopped when that is revoked; and that it then stands by.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor.errors import ConfigError
from supervisor.tree.outcome import Stage
from supervisor.tree.signal import Signal
from supervisor.tree.snapshot import children

if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisor.tree.slot import Slot


class Term:
    """The right to run a singleton, for as long as it is held.

    name: the singleton's. fence: a number that is larger in each later term, here or on another host; what is written
    together with it can be refused once there is a later one.
    """

    __slots__ = ("_valid", "fence", "name", "revoked")

    def __init__(self, name: str, fence: int, valid: Callable[[], bool]) -> None:
        self.name = name
        self.fence = fence
        self.revoked = False
        self._valid = valid

    @property
    def is_held(self) -> bool:
        """Whether nobody else can run the singleton at this moment, as far as this process can prove."""
        return not self.revoked and self._valid()

    @property
    def is_in_doubt(self) -> bool:
        """Whether that can no longer be proved."""
        return not self._valid()


class Singletons:
    """The singletons of one tree, and their terms. `alone`: nobody else is there, so each is granted at once.

    changed: set when a singleton comes, goes, or has ended.
    """

    __slots__ = ("_slots", "_terms", "changed", "is_alone")

    def __init__(self, *, alone: bool = False) -> None:
        self.changed = Signal()
        self.is_alone = alone
        self._slots: dict[str, Slot] = {}
        self._terms: dict[str, Term] = {}

    # --- for supervisors ------------------------------------------------------------------------------

    def enlist(self, name: str, slot: Slot) -> None:
        """Let the child in this slot run under `name`. Raises ConfigError if another child of this tree has it."""
        other = self._slots.setdefault(name, slot)
        if other is not slot:
            raise ConfigError(f"{slot.path}: singleton = {name!r} is that of {other.path} too; give each its own")
        if self.is_alone:
            self._terms[name] = Term(name, 1, lambda: True)
        self.changed.set()

    def strike(self, name: str, slot: Slot) -> None:
        """Forget a child that has left the tree, unless something of it cannot be stopped."""
        if self._slots.get(name) is slot and self.is_quiet(name):
            del self._slots[name]
            self.changed.set()

    def is_granted(self, name: str) -> bool:
        """Whether the child may be started."""
        return name in self._terms and not self._terms[name].revoked

    def term(self, name: str) -> Term:
        """Return the latest term, over or not. Raises KeyError if there was none."""
        return self._terms[name]

    # --- for whoever decides --------------------------------------------------------------------------

    @property
    def wanted(self) -> set[str]:
        """The names under which a child of this tree would run, or runs."""
        return {name for name, slot in self._slots.items() if not slot.held}

    def is_quiet(self, name: str) -> bool:
        """Whether nothing runs under this name, not even a child that was given up."""
        slot = self._slots.get(name)
        return slot is None or (slot.incarnation is None and not slot.runtime.stuck_under(slot.path))

    def grant(self, term: Term) -> None:
        """Let the child run from now on. Nothing may run under its name: see `is_quiet`."""
        self._terms[term.name] = term
        slot = self._slots.get(term.name)
        if slot is not None and slot.permitted is not None:
            slot.permitted()

    def revoke(self, name: str, stage: Stage) -> None:
        """Stop the child, beginning with `stage` or going on to it, and do not start it before another grant."""
        if name in self._terms:
            self._terms[name].revoked = True
        slot = self._slots.get(name)
        if slot is not None:
            if slot.incarnation is not None or slot.pending:
                slot.standby = True
            _stop(slot, stage)


def _stop(slot: Slot, stage: Stage) -> None:
    """Stop what runs in a slot. Not by its supervisor, which may be busy: a stop drives itself.

    A supervisor as the singleton stops its children in order; when there is no time for that, all at once.
    """
    life = slot.incarnation
    if life is None:
        return
    life.stop(Stage.DRAINING if life.node.patient else stage)
    if stage is not Stage.DRAINING:
        for child in children(slot).values():
            _stop(child, stage)
