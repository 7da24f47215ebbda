"""Signals: the first asks, the second insists, the third ends the process; two more show what it does."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any, Final

from supervisor.process.deadman import register_dumps
from supervisor.process.dump import dump

if TYPE_CHECKING:
    import asyncio

    from supervisor.process.shutdown import Shutdown
    from supervisor.tree.tree import Tree

_STOPS: Final = (signal.SIGTERM, signal.SIGINT)
_SHELL_OFFSET: Final = 128
_THIRD: Final = 3


class Signals:
    """The handlers, from the start to the very end of the process.

    Python's own handlers and not the loop's: they run between two bytecodes of the main thread, so
    that the third signal ends even a process whose loop is blocked. Not a blocked mask with a
    `sigwait` thread either: a browser would inherit the mask and ignore SIGTERM.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, shutdown: Shutdown, tree: Tree) -> None:
        self._loop = loop
        self._shutdown = shutdown
        self._received = 0
        self._before: dict[signal.Signals, Any] = {number: signal.signal(number, self._stop) for number in _STOPS}
        loop.add_signal_handler(signal.SIGUSR1, dump, tree)
        self._undo_dumps = register_dumps()

    def _stop(self, number: int, _: object) -> None:
        self._received += 1
        name = signal.Signals(number).name
        if self._received >= _THIRD or self._loop.is_closed():
            which = "third signal" if self._received >= _THIRD else "signal while leaving"
            os.write(2, f"{which}, {name}: leaving at once\n".encode())
            os._exit(_SHELL_OFFSET + number)
        elif self._received == 1:
            self._loop.call_soon_threadsafe(self._shutdown.begin, name)
        else:
            self._loop.call_soon_threadsafe(self._shutdown.hurry, f"second signal, {name}")

    def loop_ends(self) -> None:
        """The loop will turn no more: a signal that shows something shows nothing now, and kills nobody."""
        self._loop.remove_signal_handler(signal.SIGUSR1)
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)

    def close(self) -> None:
        """Put back what was there before: the process goes on without us."""
        self._undo_dumps()
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
        for number, handler in self._before.items():
            signal.signal(number, handler)
