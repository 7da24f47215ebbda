"""Finds the processes of this user on this host, and asks them about their trees."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from supervisor.errors import SupervisorError
from supervisor.process.runtime_dir import default_dir

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CONNECT_TIMEOUT: Final = 2.0
ANSWER_TIMEOUT: Final = 120.0
"""Seconds to wait for a command: stopping a subtree can take its time."""


@dataclass(frozen=True, slots=True)
class Running:
    """A process that listens: its socket is `path`."""

    name: str
    pid: int
    path: Path


def find(runtime_dir: Path | None = None, name: str | None = None) -> list[Running]:
    """Return the processes that listen in `runtime_dir` (default: this user's), all or those called `name`."""
    folder = runtime_dir or default_dir()
    found = []
    try:
        paths = sorted(folder.glob("*.sock"))
    except OSError:
        return []
    for path in paths:
        stem, _, pid = path.name.removesuffix(".sock").rpartition(".")
        if pid.isdigit() and name in (None, stem) and _listens(path):
            found.append(Running(stem, int(pid), path))
    return found


def request(running: Running, message: Mapping[str, object]) -> dict[str, Any]:
    """Send one request and return what came in `ok`. Raises SupervisorError with the process's own words."""
    try:
        with socket.socket(socket.AF_UNIX) as channel:
            channel.settimeout(CONNECT_TIMEOUT)
            channel.connect(str(running.path))
            channel.sendall(json.dumps(message).encode() + b"\n")
            channel.settimeout(ANSWER_TIMEOUT)
            answer = _read(channel)
    except OSError as error:
        raise SupervisorError(
            f"process {running.pid} ({running.name}) does not answer: {error}; its event loop may be blocked, "
            f"`kill -QUIT {running.pid}` makes it write its stacks"
        ) from None
    if not answer:
        raise SupervisorError(f"process {running.pid} ({running.name}) ended before it answered")
    reply = json.loads(answer)
    if "error" in reply:
        raise SupervisorError(reply["error"])
    ok = reply["ok"]
    return ok if isinstance(ok, dict) else {}


def _read(channel: socket.socket) -> bytes:
    parts = []
    while part := channel.recv(65536):
        parts.append(part)
    return b"".join(parts)


def _listens(path: Path) -> bool:
    try:
        with socket.socket(socket.AF_UNIX) as channel:
            channel.settimeout(CONNECT_TIMEOUT)
            channel.connect(str(path))
    except OSError:
        return False
    return True
