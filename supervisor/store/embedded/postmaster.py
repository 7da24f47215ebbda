"""The server's main process: finding it, starting it, waiting for it, ending it.

What PostgreSQL calls the postmaster outlives us on purpose: when we are killed, the next process goes on with it.
Its file `postmaster.pid` says who it is and how far it has come; the file may also be left over from a dead one.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from supervisor.errors import DatabaseStartFailed
from supervisor.store.embedded.folder import socket_file
from supervisor.store.embedded.limit import Cancelled, Limit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from supervisor.store.embedded.account import Account

_SHORT_POLL: Final = 0.005  # seconds between two looks at a server that should be ready within a moment
_LONG_POLL: Final = 0.05  # and at one that recovers from a crash, or writes its last checkpoint
_IMMEDIATE: Final = 7.0  # seconds; the postmaster kills what is left of its children 5 s after SIGQUIT
_KILLED: Final = 2.0
_ANSWER: Final = 1.0
_READY: Final = frozenset({"ready", "standby"})
_PROC: Final = Path("/proc")


@dataclass(frozen=True, slots=True)
class PidFile:
    """What `postmaster.pid` says; `socket_dir` and `status` are empty while it is being written."""

    pid: int
    socket_dir: str
    status: str


def read(cluster: Path) -> PidFile | None:
    """Read `postmaster.pid`; None without one, or while its first line is being written."""
    try:
        lines = (cluster / "postmaster.pid").read_text(encoding="utf-8", errors="surrogateescape").split("\n")
        pid = abs(int(lines[0]))  # a server in single-user mode writes it negative
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    lines += [""] * 8
    return PidFile(pid, socket_dir=lines[4], status=lines[7].strip())


def running(cluster: Path) -> PidFile | None:
    """Return the cluster's live server; a file left over from a dead one, whose pid may be another's now, is none."""
    found = read(cluster)
    return found if found is not None and _works_in(found.pid, cluster) else None


def answers(cluster: Path) -> bool:
    """Return whether someone listens on the socket that `postmaster.pid` names.

    Where `running` sees no server, that is one of another container which shares the folder: PostgreSQL cannot see it
    either, and a second server would destroy the data.
    """
    found = read(cluster)
    if found is None or not found.socket_dir:
        return False
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(_ANSWER)
        try:
            client.connect(str(socket_file(Path(found.socket_dir))))
        except TimeoutError:
            return True  # it listens, though it is busy
        except OSError:
            return False
    return True


def spawn(command: Sequence[str], account: Account, cluster: Path, log: int) -> int:
    """Start the server so that it outlives us, its output going to the open file `log`; return its pid.

    The shell leaves it to the system's first process, which reaps it; a server that was our own child would stay
    a zombie, and PostgreSQL takes a zombie for a running server.
    """
    left_over = read(cluster)
    # PostgreSQL believes the pid in a left-over file if any process has it now, as happens after each restart of a
    # container. It does not believe the pid of its own grandparent, and still looks for shared memory in use.
    disbelieved = {"PG_GRANDPARENT_PID": str(left_over.pid)} if left_over else None
    process = account.popen(
        ["/bin/sh", "-c", '"$0" "$@" >&2 & echo $!', *command],
        stdout=subprocess.PIPE,
        stderr=log,
        variables=disbelieved,
    )
    output, _ = process.communicate()  # the shell ends at once, and the server does not hold its output
    if process.returncode or not output:
        raise DatabaseStartFailed(f"the shell that starts the server ended with exit code {process.returncode}")
    return int(output)


def wait_ready(cluster: Path, pid: int, limit: Limit, report: Callable[[], None]) -> PidFile | None:
    """Wait until that server takes connections; None if it dies instead. `report` is called each second.

    Raises TimeoutError at the limit, and `Cancelled`.
    """
    begin = limit.left
    next_report = begin - 1.0
    while True:
        found = read(cluster)
        if found is not None and found.pid == pid and found.status in _READY:
            return found
        if not alive(pid):
            return None
        if limit.left < next_report:
            next_report -= 1.0
            report()
        if not limit.pause(_SHORT_POLL if begin - limit.left < 1.0 else _LONG_POLL):
            raise TimeoutError


def stop(pid: int, fast: Limit, report: Callable[[str], None]) -> None:
    """End a server: cleanly within `fast`, else at once, else by force; cancelling `fast` ends the first part.

    Only the first leaves nothing to recover at the next start. Raises DatabaseStartFailed if it survives.
    """
    with suppress(Cancelled):
        if _signal(pid, signal.SIGINT, fast):
            return
        report(f"PostgreSQL did not stop within {fast.seconds:g} s; stopping it at once")
    kill(pid)


def kill(pid: int) -> None:
    """End a server at once; the next start recovers. Raises DatabaseStartFailed if it survives even SIGKILL."""
    if not _signal(pid, signal.SIGQUIT, Limit(_IMMEDIATE)) and not _signal(pid, signal.SIGKILL, Limit(_KILLED)):
        raise DatabaseStartFailed(f"PostgreSQL (process {pid}) did not end after SIGKILL; the system holds it")


def abort(pid: int, cluster: Path) -> None:
    """End a server that is not ready. Raises DatabaseStartFailed if it survives even SIGKILL."""
    found = read(cluster)
    if found is None or found.pid != pid:
        # It holds nothing of the cluster yet, and may not listen to SIGQUIT, which the shell lets it ignore.
        _signal(pid, signal.SIGKILL, Limit(_KILLED))
    if alive(pid):
        kill(pid)


def alive(pid: int) -> bool:
    """Return whether the process runs; one that is dead and not reaped yet does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        state = (_PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # it has just ended, or this system has no /proc
        return not (_PROC / "self").exists()
    return state not in {b"Z", b"X"}


def _signal(pid: int, number: signal.Signals, limit: Limit) -> bool:
    """Send a signal and wait for the process to end; return whether it has. Raises `Cancelled`."""
    limit.check()
    with suppress(ProcessLookupError):
        os.kill(pid, number)
    while alive(pid):
        if not limit.pause(_SHORT_POLL):
            return False
    return True


def _works_in(pid: int, cluster: Path) -> bool:
    """Return whether the process is alive with the cluster as its working folder, as a postmaster is."""
    if not alive(pid):
        return False
    if (_PROC / "self").exists():
        try:
            return (_PROC / str(pid) / "cwd").samefile(cluster)
        except OSError:  # gone meanwhile, or another user's
            return False
    command = ["/bin/ps", "-p", str(pid), "-o", "command="]
    output = subprocess.run(command, capture_output=True, text=True, check=False, timeout=5).stdout  # noqa: S603
    return str(cluster) in output
