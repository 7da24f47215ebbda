"""A whole process under test: `python -m supervisor run` with its output, its log, its socket and its exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import IO, TYPE_CHECKING, Any

from supervisor.process.inspector_client import Running, request
from tests.source import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

LIMIT = 30.0
"""Seconds after which a wait fails and a process is killed, so that no test hangs."""

APPS = "tests.process.apps"
HOSTILE = "tests.process.hostile"
LEAVING = "tests.process.leaving"
HASTY = ("-m", "tests.process.hasty")
RUN = ("-m", "supervisor", "run", "--log-format", "json", "--log-level", "debug")
DUMPED = {"path", "state", "stage", "generation", "mailbox", "last_progress", "restarts", "stack"}
_NOT_INHERITED = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "SUPERVISOR_", "PYTHONASYNCIODEBUG")


class Output:
    """The lines of one stream of a process, read as they come."""

    def __init__(self, stream: IO[str]) -> None:
        self.lines: list[str] = []
        self._stream = stream
        self._ended = False
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._stream:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def find(self, wanted: Callable[[str], bool], what: str, limit: float = LIMIT) -> str:
        """Wait for a line, already there or yet to come; fail if the stream ends or `limit` seconds pass first."""

        def found() -> str | None:
            return next((line for line in self.lines if wanted(line)), None)

        with self._news:
            self._news.wait_for(lambda: self._ended or found() is not None, limit)
            line = found()
            if line is None:
                told = "\n".join(self.lines)
                raise AssertionError(f"no {what} {'at the end' if self._ended else 'in time'}; there is:\n{told}")
            return line

    def expect(self, text: str) -> str:
        """Wait for a line that contains `text`."""
        return self.find(lambda line: text in line, f"line with {text!r}")

    def join(self) -> None:
        """Wait for the last line."""
        self._reader.join(LIMIT)


class Program:
    """A running process. It is killed after `LIMIT` seconds, or when the test is over."""

    def __init__(self, arguments: Sequence[str], folder: Path, environ: Mapping[str, str], limit: float) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_INHERITED)}
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**inherited, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "SUPERVISOR_HTTP_PORT": "0", **environ},
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.pid = self.process.pid
        self.out = Output(self.process.stdout)
        self.err = Output(self.process.stderr)
        self._limit = threading.Timer(limit, self.process.kill)
        self._limit.start()

    # --- what it says -----------------------------------------------------------------------------

    def event(self, name: str, **fields: object) -> dict[str, Any]:
        """Wait for a line of the log with this event and these fields."""
        wanted = {"event": name, **fields}
        line = self.err.find(lambda line: wanted.items() <= _parsed(line).items(), f"event {wanted}")
        return _parsed(line)

    def events(self, name: str, **fields: object) -> list[dict[str, Any]]:
        """The events of this name and these fields that were logged so far."""
        wanted = {"event": name, **fields}
        return [row for row in self.rows() if wanted.items() <= row.items()]

    def rows(self) -> list[dict[str, Any]]:
        """All lines of stderr that are JSON objects."""
        return [row for line in list(self.err.lines) if (row := _parsed(line))]

    def ready(self) -> Program:
        """Wait until the whole tree runs."""
        self.event("process_ready")
        return self

    def dumped(self, path: str) -> dict[str, Any]:
        """Wait for the line about one node that SIGUSR1 asks for."""

        def wanted(row: dict[str, Any]) -> bool:
            return row.keys() >= DUMPED and row["path"] == path

        return _parsed(self.err.find(lambda line: wanted(_parsed(line)), f"dump of {path}"))

    # --- what it is told --------------------------------------------------------------------------

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def say(self, text: str) -> None:
        """Write one line to its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait until something holds that the process does without a word."""
        give_up, pause = time.monotonic() + LIMIT, threading.Event()
        while not holds():
            assert time.monotonic() < give_up, f"waited in vain for {what}"
            pause.wait(0.01)

    @property
    def socket(self) -> Path:
        """The socket of its inspector, when it was started without `--name`."""
        return self.folder / f"supervisor.{self.pid}.sock"

    def ask(self, op: str, **fields: object) -> dict[str, Any]:
        """Send one request to the inspector. Raises SupervisorError with its answer, if that is an error."""
        return request(Running("supervisor", self.pid, self.socket), {"op": op, **fields})

    def nodes(self) -> dict[str, dict[str, Any]]:
        """Ask for the tree; return its nodes by path."""
        waiting, found = [self.ask("tree")["tree"]], {}
        while waiting:
            node = waiting.pop()
            found[node["path"]] = node
            waiting += node["children"]
        return found

    # --- its end ----------------------------------------------------------------------------------

    def wait(self) -> int:
        """Wait for the end and for all output; return the exit code."""
        code = self.process.wait(LIMIT)
        self.out.join()
        self.err.join()
        return code

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send one signal and wait for the end."""
        self.send(number)
        return self.wait()

    def close(self) -> None:
        """Kill it, if it is still there."""
        self._limit.cancel()
        self.process.kill()
        self.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()


def _parsed(line: str) -> dict[str, Any]:
    """Read a line as a JSON object; anything else is empty."""
    if not line.startswith("{"):
        return {}
    try:
        row: dict[str, Any] = json.loads(line)
    except ValueError:
        return {}
    return row
