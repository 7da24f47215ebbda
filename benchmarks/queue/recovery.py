"""How soon a job runs again after its process was killed, and what a worker with nothing to do costs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from benchmarks.processes import ROOT, cpu_time
from benchmarks.queue.apps import STARTS
from benchmarks.queue.server import bench
from benchmarks.results import Row, at_most
from benchmarks.sampling import Samples

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.queue.server import Bench
    from benchmarks.sampling import Plan

JOBS: Final = 20
_QUICK: Final = ("--lease", "2s", "--heartbeat", "500ms")
"""For a first look; the figures are about the defaults."""

_IDLE: Final = 20.0
_LIMIT: Final = 90.0
_POLL: Final = 0.005
_SETTLE: Final = 15.0  # together with what follows, longer than the pool keeps a connection that nobody uses
_ENQUEUE: Final = "SELECT count(supervisor.enqueue('hold', '{}')) FROM generate_series(1, $1::integer)"
_SESSIONS: Final = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'supervisor%'"
)


def measure(plan: Plan) -> list[Row]:
    """Real processes with default settings: killed and watched, idle and watched, told to stop."""
    runs = max(1, plan.runs // 2)
    options = () if plan.scale == 1 else _QUICK
    elsewhere, same, exits, share, sessions = [], [], [], [], []
    with bench() as server, TemporaryDirectory() as folder:
        with worker(server, Path(folder, "first"), options):
            pass  # its kind is known from now on
        for number in range(1, runs + 1):
            plan.say(f"kill -9: run {number} of {runs}")
            same.append(_again(server, Path(folder, f"same-{number}"), options, other_host=False))
            elsewhere.append(_again(server, Path(folder, f"other-{number}"), options, other_host=True))
            plan.say(f"idle: run {number} of {runs}")
            server.run(server.empty())
            with worker(server, Path(folder, f"idle-{number}"), options) as process:
                time.sleep(plan.seconds(_SETTLE))
                cpu, began = cpu_time(process.pid), time.monotonic()
                time.sleep(plan.seconds(_IDLE))
                share.append(100 * (cpu_time(process.pid) - cpu) / (time.monotonic() - began))
                sessions.append(server.run(server.number(_SESSIONS)))
                exits.append(_stop(process))
    return [
        Row("kill -9 to the job's next start, on another host", _seconds(elsewhere), None, at_most(33, "s")),
        Row("kill -9 to the job's next start, same host restarted", _seconds(same), None, at_most(2, "s")),
        Row("SIGTERM of an idle worker to its exit", _seconds(exits), None, at_most(1, "s")),
        Row("idle worker: share of a core", Samples("ours", "%", tuple(share)), None, at_most(0.5, "%")),
        Row("idle worker: connections", Samples("ours", "", tuple(sessions)), None, at_most(4, "")),
    ]


def _again(server: Bench, folder: Path, options: Sequence[str], *, other_host: bool) -> float:
    """Kill a worker in the middle of its jobs; return the seconds until the first of them runs again."""
    server.run(server.empty())
    starts = folder / "starts"
    with worker(server, folder / "one", options, starts) as first:
        rival = folder / "two"
        if not other_host:
            server.run(server.value(_ENQUEUE, JOBS))
            _wait_for(starts, JOBS)
            killed = _kill(first)
            with worker(server, folder / "one", options, starts, wait=False):
                return _wait_for(starts, JOBS + 1) - killed
        server.run(server.value(_ENQUEUE, JOBS))
        _wait_for(starts, JOBS)
        with worker(server, rival, options, starts):
            killed = _kill(first)
            return _wait_for(starts, JOBS + 1) - killed


@contextmanager
def worker(
    server: Bench, folder: Path, options: Sequence[str], starts: Path | None = None, *, wait: bool = True
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a worker, ready to run jobs, with more options of `run`; another folder makes it another host."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SUPERVISOR_")}
    environ = {**kept, "DATABASE_URL": server.dsn, "PYTHONPATH": str(ROOT), STARTS: str(starts or folder / "starts")}
    log = folder / f"log-{time.monotonic_ns()}"
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter
            [
                *(sys.executable, "-m", "supervisor", "run", "--app", "benchmarks.queue.apps:app"),
                *("--runtime-dir", str(folder), "--log-format", "json", "--http-port", "0", *options),
            ],
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        give_up = time.monotonic() + _LIMIT
        while wait and b'"process_ready"' not in log.read_bytes():
            if process.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError(f"the worker did not become ready:\n{log.read_text(encoding='utf-8')[-3000:]}")
            time.sleep(_POLL)
        yield process
    finally:
        process.kill()
        process.wait()


def _kill(process: subprocess.Popen[bytes]) -> float:
    process.kill()
    process.wait()
    return time.monotonic()


def _stop(process: subprocess.Popen[bytes]) -> float:
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.wait(_LIMIT)
    return time.monotonic() - began


def _wait_for(starts: Path, count: int) -> float:
    """Wait until so many handlers have started in all; return when that was seen."""
    give_up = time.monotonic() + _LIMIT
    while not starts.exists() or starts.read_bytes().count(b"\n") < count:
        if time.monotonic() > give_up:
            raise RuntimeError(f"fewer than {count} handlers had started after {_LIMIT:g} s")
        time.sleep(_POLL)
    return time.monotonic()


def _seconds(values: list[float]) -> Samples:
    return Samples("ours", "s", tuple(values))
