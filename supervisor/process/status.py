"""What systemd is told while the tree starts, runs and stops."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Final

from supervisor.process.events import ProcessReady, ShutdownBegan
from supervisor.tree.events import ChildExited, ChildStarted, Event

if TYPE_CHECKING:
    from supervisor.process.systemd import Notifier
    from supervisor.tree.tree import Tree

START_EXTENSION: Final = 30.0
"""Seconds that a started child buys the next ones: more than a `start_timeout` and a stop."""
EXTEND_EVERY: Final = 10.0
"""Seconds between two extensions: systemd's socket holds few datagrams, and READY must find room."""
RETRY: Final = 0.5
"""Seconds until a READY that found none is sent again."""


class Status:
    """A subscriber that keeps systemd's view of the process true. `ready` is also the readiness of the process."""

    def __init__(self, tree: Tree, notifier: Notifier) -> None:
        self._tree = tree
        self._notifier = notifier
        self._ping_timer: asyncio.TimerHandle | None = None
        self._ready_timer: asyncio.TimerHandle | None = None
        self._extended_at = -math.inf
        self._alive: set[str] = set()
        self.ready = False
        self.draining = False

    def __call__(self, event: Event) -> None:
        """Pass on what systemd understands."""
        match event:
            case ChildStarted(path):
                self._alive.add(path)
                if not self.ready and not self.draining:
                    self._extend_start()
            case ProcessReady():
                self.ready = True
                self._send_ready()
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
        """Send no more."""
        for timer in (self._ping_timer, self._ready_timer):
            if timer is not None:
                timer.cancel()

    def _extend_start(self) -> None:
        now = self._tree.runtime.clock.now()
        if now - self._extended_at >= EXTEND_EVERY:
            self._extended_at = now
            self._notifier.extend_timeout(START_EXTENSION)

    def _send_ready(self) -> None:
        if self.ready and not self._notifier.ready() and self._notifier.enabled:
            self._ready_timer = asyncio.get_running_loop().call_later(RETRY, self._send_ready)
