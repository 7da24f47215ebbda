"""The processes of the example: each is started here, known by its pid, and ended whatever happens."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CHECKOUT = Path(__file__).resolve().parents[2]
SERVICE_STOP = 5.0
"""Seconds that a service gets to end after its input has ended."""
STOP = 70.0
"""Seconds that a process gets to end by itself: longer than the longest shutdown of a supervisor."""


class Failed(Exception):
    """The example cannot go on; the text says why."""


class Process:
    """A Python program in a process group of its own, so that Ctrl-C reaches this program alone.

    Its output goes to `log`. A service says something on its standard output, and ends when its input does. `mark` is a
    file that the process keeps locked while it lives, even if this program is killed.
    """

    def __init__(
        self,
        arguments: list[str],
        environ: Mapping[str, str],
        log: Path,
        *,
        mark: Path | None = None,
        is_service: bool = False,
    ) -> None:
        self.log = log
        self._is_service = is_service
        with contextlib.ExitStack() as stack:
            passed = () if mark is None else (stack.enter_context(mark.open("a+")).fileno(),)
            if not all(map(_lock, passed)):
                raise Failed(f"{mark} is locked: another process of the example lives")
            output = stack.enter_context(log.open("ab"))
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if is_service else output,
                stderr=output,
                cwd=CHECKOUT,
                env={**os.environ, **environ},
                pass_fds=passed,
                process_group=0,
            )
        self.pid = self._process.pid
        if mark is not None:
            mark.write_text(f"{self.pid}\n")

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """With what it ended; None while it runs."""
        return self._process.poll()

    def first_line(self) -> str:
        """Wait for the first line that it prints."""
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        return self._process.stdout.readline().decode().strip()

    def kill(self) -> None:
        """End it with SIGKILL, as a power cut would."""
        self._process.kill()
        self._process.wait()

    def end(self) -> int:
        """Ask it to end, wait, and return its exit code; a second Ctrl-C, or too much time, kills it."""
        try:
            if self._process.stdin is not None:
                self._process.stdin.close()
            if self._is_service:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(SERVICE_STOP)
            self._process.terminate()
            self._process.wait(STOP)
        except (KeyboardInterrupt, subprocess.TimeoutExpired):
            self.kill()
        finally:
            if self._process.stdout is not None:
                self._process.stdout.close()
        return self._process.returncode

    def last_words(self, lines: int = 15) -> str:
        """Return the end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def end_leftover(mark: Path) -> int | None:
    """End the process of an earlier run whose program was killed, if it still lives; return its pid."""
    with mark.open("a+") as file:
        if _lock(file.fileno()):
            return None
        file.seek(0)
        pid = int(file.read())
        # If it is dead already, a child that has inherited the lock is about to notice.
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        if not until(lambda: _lock(file.fileno()), STOP):
            raise Failed(f"a supervisor of an earlier run does not end: pid {pid}")
    return pid


def hold(path: Path) -> int:
    """Keep the data folder for this program; raises Failed if another one has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if not _lock(descriptor):
        raise Failed(f"the example runs already in {path.parent}: stop it, or give this one --data another folder")
    return descriptor


def until(holds: Callable[[], bool], limit: float, pause: float = 0.1) -> bool:
    """Wait until something holds; False if it does not within `limit` seconds."""
    end = time.monotonic() + limit
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(pause)
    return True


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
