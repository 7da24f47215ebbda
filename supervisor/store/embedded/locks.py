"""File locks between processes: one starts or stops the server at a time, and everyone who uses it is counted.

They are flock(2) locks, so the kernel frees those of a killed process and no list of pids can go stale.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING, Final

from supervisor.errors import DatabaseStartTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from supervisor.store.embedded.limit import Limit

_POLL: Final = 0.01  # seconds; a blocking flock could be neither bounded nor cancelled


class FileLock:
    """A lock on one file; every instance counts by itself, also within a process."""

    def __init__(self, path: Path) -> None:
        # Not inherited by child processes, which would hold the lock as long as they live.
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

    def share(self) -> bool:
        """Take, or keep, the lock beside others that share it; return False when someone holds it alone."""
        return self._try(fcntl.LOCK_SH)

    def take(self) -> bool:
        """Take the lock alone; return False when anyone else holds it. A share held before may be lost then."""
        return self._try(fcntl.LOCK_EX)

    def close(self) -> None:
        """Give the lock back."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _try(self, mode: int) -> bool:
        try:
            fcntl.flock(self._fd, mode | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


@contextlib.contextmanager
def exclusive(path: Path, limit: Limit, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock of `path` alone; `waiting` is called once if it is taken.

    Raises DatabaseStartTimeout when it stays taken until the limit; `Cancelled` only if it has to wait.
    """
    lock = FileLock(path)
    try:
        if not lock.take():
            waiting()
            while not lock.take():
                if not limit.pause(_POLL):
                    raise DatabaseStartTimeout(
                        f"another process held {path} for {limit.seconds:g} s: it starts or stops the embedded "
                        "PostgreSQL; try again, or end that process if it hangs"
                    )
        yield
    finally:
        lock.close()
