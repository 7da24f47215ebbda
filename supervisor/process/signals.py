"""Signals: the first asks, the second insists, the third ends the process; two more show what it does."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

    from supervisor.process.shutdown import Shutdown

_STOPS = (signal.SIGTERM, signal.SIGINT)
_SHELL_OFFSET = 128
_THIRD = 3


class Signals:
    """Handlers on the event loop, for as long as the process runs.

    Ordinary handlers, not a blocked mask with a `sigwait` thread: a browser would inherit the mask
    and ignore SIGTERM.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, shutdown: Shutdown) -> None:
        self._loop = loop
        self._shutdown = shutdown
        self._received = 0
        for number in _STOPS:
            loop.add_signal_handler(number, self._stop, number)

    def _stop(self, number: signal.Signals) -> None:
        self._received += 1
        match self._received:
            case 1:
                self._shutdown.begin(number.name)
            case 2:
                self._shutdown.hurry(f"second signal, {number.name}")
            case _:
                sys.stderr.write(f"third signal, {number.name}: leaving at once\n")
                sys.stderr.flush()
                os._exit(_SHELL_OFFSET + number)

    def close(self) -> None:
        """Take the handlers off again."""
        for number in _STOPS:
            self._loop.remove_signal_handler(number)
