"""What systemd is told while the tree starts, runs and stops."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from supervisor.process.events import ProcessReady, ShutdownBegan
from supervisor.tree.events import ChildExited, ChildStarted, Event

if TYPE_CHECKING:
    from supervisor.process.systemd import Notifier
    from supervisor.tree.tree import Tree

START_EXTENSION: Final = 30.0
"""Seconds that each started child buys the next one: more than a `start_timeout` and a stop."""


class Status:
    """A subscriber that keeps systemd's view of the process true. `ready` is also the readiness of the process."""

    def __init__(self, tree: Tree, notifier: Notifier) -> None:
        self._tree = tree
        self._notifier = notifier
        self._ping_timer: asyncio.TimerHandle | None = None
        self._alive: set[str] = set()
        self.ready = False
        self.draining = False

    def __call__(self, event: Event) -> None:
        """Pass on what systemd understands."""
        match event:
            case ChildStarted(path):
                self._alive.add(path)
                if not self.ready and not self.draining:
                    self._notifier.extend_timeout(START_EXTENSION)
            case ProcessReady():
                self.ready = True
                self._notifier.ready()
                self._notifier.status(f"running: {len(self._alive)} actors and supervisors")
            case ShutdownBegan(_, reason):
                self.ready, self.draining = False, True
                self._notifier.stopping()
                self._notifier.status(f"draining: {reason}")
            case ChildExited(path):
                self._alive.discard(path)
                if self.draining:
                    self._notifier.status(f"draining: {len(self._alive)} left")
            case _:
                pass

    def start_pings(self) -> None:
        """Send WATCHDOG=1 at half of systemd's interval, from the loop, for as long as the tree lives."""
        if self._notifier.watchdog_interval is not None and self._tree.outcome is None:
            self._notifier.watchdog()
            self._ping_timer = asyncio.get_running_loop().call_later(self._notifier.watchdog_interval, self.start_pings)

    def close(self) -> None:
        """Ping no more."""
        if self._ping_timer is not None:
            self._ping_timer.cancel()
