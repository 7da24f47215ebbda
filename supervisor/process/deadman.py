"""End a process that can no longer end itself: a C timer that fires even while the interpreter is held.

The timer is `faulthandler.dump_traceback_later(..., exit=True)`: a thread written in C that needs no GIL, writes the
stacks of all threads to stderr and calls `_exit(1)`. The number cannot be chosen, so exit code 1 is reserved for it.

What was found by experiment (Linux, CPython 3.11 to 3.13), and what follows:

- Only one such timer exists per process. pytest's `faulthandler_timeout` uses the same one, so it is injected here.
- The dump is an ordinary blocking write. With stderr a pipe that nobody reads (a stuck log collector, which may well
  be what blocks the loop) the timer waited for the reader and the process lived on for ever. A pipe or terminal is
  therefore opened a second time, non-blocking; what does not fit is lost, the exit is not. A socket cannot be opened
  again: under systemd, whose journal is one, rely on `WatchdogSec` besides.
- The clock is monotonic and runs on while the process is stopped (SIGSTOP, a frozen container), but not while the
  machine sleeps. After a stop longer than the timer had left, the timer and the loop's next re-arming race when the
  process goes on, and either may win: the timer did in 18 of 24 runs.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import stat
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

STDERR: Final = 2
"""The descriptor and not `sys.stderr`, which tests, loggers and libraries replace or close."""
_SOONEST: Final = 0.001


class DeadMan(Protocol):
    """A timer that ends the process with code 1 unless it is armed again in time."""

    @property
    def armed(self) -> bool:
        """Whether the timer is running."""

    def arm(self, seconds: float) -> None:
        """Start the timer anew; it must fire `seconds` from now. Ignored after `hold`."""

    def disarm(self) -> None:
        """Stop the timer. Ignored after `hold`."""

    def hold(self, seconds: float) -> None:
        """Arm once for the hard deadline of a shutdown; from then on only `close` can prevent the end."""

    def close(self) -> None:
        """Stop the timer, held or not, for a program that outlives its runtime."""


class CDeadMan:
    """The real timer; re-arming costs some 10 to 50 µs, as a thread is started each time.

    When no thread can be started (a container at its process limit) the timer stays off, `armed` says so, and
    nothing is raised: the next `arm` tries again.
    """

    def __init__(self, fd: int = STDERR) -> None:
        """Prepare to write stacks to file descriptor `fd`."""
        self._fd, self._own = _never_blocking(fd)
        self._armed = False
        self._held = False

    @property
    def armed(self) -> bool:
        """Whether the timer is running."""
        return self._armed

    def arm(self, seconds: float) -> None:
        """Start the timer anew, unless it is held."""
        if not self._held:
            self._start(seconds)

    def disarm(self) -> None:
        """Stop the timer, unless it is held."""
        if not self._held:
            self._stop()

    def hold(self, seconds: float) -> None:
        """Arm for the last time; a second call changes nothing, so the hard deadline cannot be pushed away."""
        if not self._held:
            self._start(seconds)
            self._held = self._armed

    def close(self) -> None:
        """Stop the timer, held or not, and close what was opened."""
        self._stop()
        self._held = False
        if self._own:
            os.close(self._fd)
            self._fd, self._own = STDERR, False

    def _start(self, seconds: float) -> None:
        try:
            # A deadline that has passed already means now, and zero is refused by faulthandler.
            faulthandler.dump_traceback_later(max(seconds, _SOONEST), exit=True, file=self._fd)
        except RuntimeError:  # "unable to start watchdog thread", after the old timer was cancelled
            self._armed = False
        else:
            self._armed = True

    def _stop(self) -> None:
        if self._armed:
            faulthandler.cancel_dump_traceback_later()
            self._armed = False


class NullDeadMan:
    """Never fires: for unit tests, and for programs that embed the runtime and do not want to be ended by it."""

    @property
    def armed(self) -> bool:
        """Never."""
        return False

    def arm(self, seconds: float) -> None:
        """Do nothing."""

    def disarm(self) -> None:
        """Do nothing."""

    def hold(self, seconds: float) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def register_dumps(fd: int = STDERR) -> Callable[[], None]:
    """Make SIGQUIT write the stacks of all threads to `fd`, also while the loop is blocked; the process lives on.

    The stacks are those of threads; tasks that wait are not in them. Returns the function that undoes it. The signal
    is not passed on to an earlier handler (`chain=False`), whose default would end the process.
    """
    target, own = _never_blocking(fd)
    faulthandler.register(signal.SIGQUIT, file=target, all_threads=True, chain=False)

    def undo() -> None:
        nonlocal own
        faulthandler.unregister(signal.SIGQUIT)
        if own:
            os.close(target)
            own = False

    return undo


def _never_blocking(fd: int) -> tuple[int, bool]:
    """Return a descriptor for what `fd` shows to, non-blocking where that is possible, and whether it is a new one.

    `O_NONBLOCK` set on `fd` itself would reach everyone who shares it, the parent included.
    """
    try:
        mode = os.fstat(fd).st_mode
        if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
            flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
            return os.open(f"/proc/self/fd/{fd}", flags), True
    except OSError:
        pass  # closed, not ours to open, or no /proc: the descriptor as it is must do
    return fd, False
