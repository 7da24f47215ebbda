"""The process's copy of the switches, which the switchboard keeps and everybody may read.

It is for those who choose what to do next, and for status pages. What may start is never decided by it: the claim asks
the database.
"""

from __future__ import annotations

from typing import Final

from supervisor.store.control_rows import Mode
from supervisor.store.control_rows import Switches as ControlRow
from supervisor.tree.signal import Signal

UNKNOWN: Final = ControlRow(epoch=0, killed=False, mode=Mode.NORMAL)
"""What is assumed before the database was asked: epochs begin at 1."""


class Switches:
    """Written on the event loop by the switchboard; `now` may be read from any thread.

    now: the newest that was read. news: set when there may be something newer, for the switchboard. changed: set with
    each newer one, for one who waits; `follow` gives others a signal of their own. listening: notifications arrive.
    """

    __slots__ = ("_followers", "changed", "listening", "news", "now")

    def __init__(self) -> None:
        self.now = UNKNOWN
        self.news = Signal()
        self.changed = Signal()
        self.listening = False
        self._followers: list[Signal] = [self.changed]

    def follow(self) -> Signal:
        """Return a signal that is set with each newer value; for as long as this object lives."""
        signal = Signal()
        self._followers.append(signal)
        return signal

    def heard(self, epoch: int) -> None:
        """Take note that the database spoke of this epoch: there may be a newer value, or something to stop."""
        if epoch >= self.now.epoch:
            self.news.set()

    def seen(self, epoch: int) -> None:
        """Take note of an epoch that came with something else, which is worth a look only if it is newer."""
        if epoch > self.now.epoch:
            self.news.set()

    def put(self, value: ControlRow) -> bool:
        """Publish what was read; False: it is the same. It is older only if the database was set back."""
        if value.epoch == self.now.epoch:
            return False
        self.now = value
        for follower in self._followers:
            follower.set()
        return True
