"""Where the example plays: its workers, its commands, and the starts that are counted after each."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

from examples.orders.processes import CHECKOUT, Failed, Process, until

if TYPE_CHECKING:
    from collections.abc import Iterator

WORKERS = ("east", "west")
JOBS = 20_000
"""Of each tenant: more than the workers can do before the example ends."""

LOOK = 1.0
"""Seconds in which nothing may start."""

LONG = 60.0
WORDS = 3
"""Of a line that is written whole: when, whose, what."""


class Stage:
    """Starts the workers with a database in a folder of its own, and ends and removes all that whatever happens."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._workers: dict[str, Process] = {}
        self._checks: list[bool] = []
        self._back = 0

    def __enter__(self) -> Self:
        self._data = Path(tempfile.mkdtemp(prefix="control-"))
        self._stack.callback(shutil.rmtree, self._data, ignore_errors=True)
        self._data.chmod(0o711)  # PostgreSQL does not run as root, and must get through
        self._starts = self._data / "starts.txt"
        self._starts.touch()
        self._environ = {
            "SUPERVISOR_DATA_DIR": str(self._data / "database"),
            "SUPERVISOR_RUNTIME_DIR": str(self._data / "sockets"),
            "SUPERVISOR_APP": "examples.control.app:app",
            "SUPERVISOR_HTTP": "false",
            "SUPERVISOR_DRAIN_TIMEOUT": "1s",
            "EXAMPLE_STARTS": str(self._starts),
            "COLUMNS": "110",
        }
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()

    def say(self, text: str) -> None:
        """Write a headline."""
        print(f"\n── {text}", flush=True)

    def start(self) -> None:
        """Start the workers and enqueue the jobs."""
        for name in WORKERS:
            options = ["-m", "supervisor", "run", "--name", name, "--concurrency", "8", "--log-format", "json"]
            worker = Process(options, self._environ, self._data / f"{name}.log")
            self._stack.callback(worker.end)
            self._workers[name] = worker
            if not until(partial(self._is_ready, worker), LONG):
                raise Failed(f"the worker {name} does not start:\n{worker.last_words()}")
            print(f"  worker {name:5} pid {worker.pid}", flush=True)
        for tenant in ("acme", "globex"):
            self._run("enqueue", "scan", "--file", "-", "--tenant", tenant, given="{}\n" * JOBS)
        self._run("enqueue", "crawl", "--tenant", "globex", "--priority", "-1")
        self.starts("acme")
        self.starts("globex", "crawl")

    def command(self, *words: str, code: int = 0) -> None:
        """Show a command, run it, and show what it prints; it must end with this exit code."""
        print(f"\n$ python -m supervisor {shlex.join(words)}", flush=True)
        found = self._run(*words, code=code)
        self._back = time.monotonic_ns()
        print(found, end="", flush=True)
        if code:
            print(f"  (exit code {code})", flush=True)

    def nothing_starts(self, tenant: str | None = None, *, others: bool = False) -> None:
        """Look for a while whether any job of the tenant starts after the command has come back."""
        until(lambda: time.monotonic_ns() > self._back + int(LOOK * 1e9), 2 * LOOK)
        after = [line for line in self._lines() if int(line[0]) > self._back and line[2] != "let-go"]
        count = sum(tenant in {None, line[1]} for line in after)
        self._checks.append(count == 0 and (not others or len(after) > 0))
        rest = f", of the others {len(after) - count}" if others else ""
        verdict = "ok" if self._checks[-1] else "WRONG"
        print(f"\n  started within {LOOK:g} s after it came back: {count}{rest}  {verdict}", flush=True)

    def starts(self, tenant: str, kind: str = "scan") -> None:
        """Wait until a job of the tenant starts."""

        def seen() -> bool:
            return any(int(line[0]) > self._back and line[1:] == [tenant, kind] for line in self._lines())

        self._checks.append(until(seen, LONG))
        if self._back:
            print(f"\n  jobs of {tenant} start: {'ok' if self._checks[-1] else 'WRONG'}", flush=True)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Let one worker stand still, as a machine does that is suspended."""
        west = self._workers["west"]
        os.kill(west.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(west.pid, signal.SIGCONT)

    def verdict(self) -> bool:
        """Say whether all was as it should be."""
        is_right = all(self._checks)
        print("\nnothing started that was stopped" if is_right else "\nWRONG: see above", flush=True)
        return is_right

    def _run(self, *words: str, code: int = 0, given: str | None = None) -> str:
        done = subprocess.run(  # noqa: S603 - our own program
            [sys.executable, "-m", "supervisor", *words],
            input=given,
            capture_output=True,
            text=True,
            cwd=CHECKOUT,
            env={**os.environ, **self._environ},
            timeout=LONG,
            check=False,
        )
        if done.returncode != code:
            raise Failed(f"{shlex.join(words)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def _is_ready(self, worker: Process) -> bool:
        if not worker.is_running:
            raise Failed(f"a worker has ended with exit code {worker.exit_code}:\n{worker.last_words()}")
        return '"process_ready"' in worker.last_words(1000)

    def _lines(self) -> list[list[str]]:
        words = [line.split() for line in self._starts.read_text(encoding="utf-8").splitlines()]
        return [line for line in words if len(line) == WORDS]
