"""Answers questions about the live tree, and commands to it, over a local socket of its owner.

One JSON object on one line in, one out, then the connection closes. It needs no task of its own, so
it answers for as long as the loop turns, also while the tree goes down.

Requests: `{"op": "tree", "stacks": false}`, and `stop`, `restart`, `remove` with a `"path"`.
Answers: `{"ok": …}` or `{"error": "…"}`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final, cast

from supervisor.errors import SupervisorError
from supervisor.process.dump import as_json, encode
from supervisor.process.runtime_dir import prepare, socket_path
from supervisor.tree.commands import RemoveChild, RestartChild, StopChild

if TYPE_CHECKING:
    from pathlib import Path

    from supervisor.process.status import Status
    from supervisor.tree.tree import Tree

LONGEST_REQUEST: Final = 64 * 1024
PATIENCE: Final = 10.0
"""Seconds in which a caller must have sent its request."""

_log = logging.getLogger(__name__)


class Inspector:
    """The server; `start` binds the socket, `close` removes it."""

    def __init__(self, tree: Tree, folder: Path, name: str, status: Status) -> None:
        self._tree = tree
        self._name = name
        self._started_at = time.time()
        self.path = socket_path(prepare(folder), name, os.getpid())
        self._status = status
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen, readable and writable for the owner alone."""
        _remove_stale(self.path.parent)
        mask = os.umask(0o177)
        try:
            self._server = await asyncio.get_running_loop().create_unix_server(lambda: _Caller(self), str(self.path))
        finally:
            os.umask(mask)

    def close(self) -> None:
        """Stop listening and remove the socket."""
        if self._server is not None:
            self._server.close()
            self._server = None
            self.path.unlink(missing_ok=True)

    def answer(self, line: bytes) -> dict[str, object] | asyncio.Future[None]:
        """Return the answer to a request, or a future for the end of a command."""
        import orjson  # noqa: PLC0415 - only when somebody asks

        try:
            request = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            return {"error": f"the request is not JSON: {error}"}
        if not isinstance(request, dict):
            return {"error": "the request must be a JSON object"}
        match request:
            case {"op": "tree"}:
                return {"ok": self._describe(stacks=bool(request.get("stacks")))}
            case {"op": ("stop" | "restart" | "remove") as op, "path": str(path)}:
                _log.warning("%s of %s asked for over the local socket", op, path)
                try:
                    return self._command(op, path)
                except SupervisorError as error:
                    return {"error": str(error)}
            case _:
                return {"error": 'unknown request; op is "tree", or "stop", "restart" or "remove" with a "path"'}

    def _command(self, op: str, path: str) -> asyncio.Future[None]:
        parent, name = self._tree.parent_of(path)
        match op:
            case "stop":
                return parent.commands.ask_nowait(StopChild, name)
            case "restart":
                return parent.commands.ask_nowait(RestartChild, name)
            case _:
                return parent.commands.ask_nowait(RemoveChild, name)

    def _describe(self, *, stacks: bool) -> dict[str, object]:
        return {
            "name": self._name,
            "pid": os.getpid(),
            "started_at": self._started_at,
            "state": "draining" if self._status.draining else "running",
            "tree": as_json(self._tree.snapshot(stacks=stacks)),
        }


class _Caller(asyncio.Protocol):
    """One connection."""

    def __init__(self, inspector: Inspector) -> None:
        self._inspector = inspector
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None
        self._patience: asyncio.TimerHandle | None = None
        self._asked = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not isinstance: uvloop's transports do not derive from asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._patience = asyncio.get_running_loop().call_later(PATIENCE, self._transport.abort)

    def eof_received(self) -> bool:
        # The caller may close its own end and still wants its answer.
        return True

    def data_received(self, data: bytes) -> None:
        if self._asked:
            return
        self._received += data
        line, newline, _ = bytes(self._received).partition(b"\n")
        if not newline:
            if len(self._received) > LONGEST_REQUEST:
                self._send({"error": f"the request is longer than {LONGEST_REQUEST} bytes"})
            return
        self._asked = True
        if self._patience is not None:
            self._patience.cancel()
        answer = self._inspector.answer(line)
        if isinstance(answer, dict):
            self._send(answer)
        else:
            answer.add_done_callback(self._command_done)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._transport = None
        if self._patience is not None:
            self._patience.cancel()

    def _command_done(self, done: asyncio.Future[None]) -> None:
        error = done.exception()
        self._send({"ok": True} if error is None else {"error": str(error)})

    def _send(self, answer: dict[str, object]) -> None:
        if self._transport is not None:
            self._transport.write(encode(answer) + b"\n")
            self._transport.close()


def _remove_stale(folder: Path) -> None:
    """Remove the sockets of processes that were killed."""
    for path in folder.glob("*.sock"):
        pid = path.suffixes[-2].removeprefix(".") if len(path.suffixes) > 1 else ""
        if pid.isdigit() and not alive(int(pid)):
            with suppress(OSError):
                path.unlink()


def alive(pid: int) -> bool:
    """Whether a process of this number exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
