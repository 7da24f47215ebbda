"""Whole processes under measurement: start one, wait until it is ready, read its CPU time. Needs Linux."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT: Final = Path(__file__).resolve().parent.parent
REPORT: Final = "BENCHMARK_REPORT"
"""The environment variable that tells a measured application where to write what it found."""

_READY_LIMIT: Final = 30.0
_POLL: Final = 0.02
_EXIT_LIMIT: Final = 60.0
# Where /proc/<pid>/stat has what, after the name: the parent; the ticks of the process, and of its dead children.
_PARENT, _FIRST, _REAPED, _LAST = 1, 11, 13, 15


def python(*args: str) -> float:
    """Run our interpreter with these arguments to its end; return the seconds it took."""
    began = time.perf_counter()
    subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, *args], check=True, stdout=subprocess.DEVNULL, env=_environment({}), timeout=_EXIT_LIMIT
    )
    return time.perf_counter() - began


def report_of(module: str, *args: str) -> dict[str, float]:
    """Run one of our modules in a process of its own; return the JSON object that it prints."""
    command = [sys.executable, "-m", module, *args]
    done = subprocess.run(  # noqa: S603 - our own interpreter
        command, check=True, stdout=subprocess.PIPE, env=_environment({}), timeout=10 * _EXIT_LIMIT
    )
    return cast("dict[str, float]", json.loads(done.stdout))


def report_of_app(app: str, exit_code: int) -> dict[str, float]:
    """Run an application until it ends by itself with `exit_code`; return the JSON object that it wrote."""
    with TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        command = _command(app)
        done = subprocess.run(  # noqa: S603 - our own interpreter
            command,
            check=False,
            cwd=folder,
            env=_environment({REPORT: str(report), "SUPERVISOR_RUNTIME_DIR": folder}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_EXIT_LIMIT,
        )
        if done.returncode != exit_code:
            raise RuntimeError(f"{app} ended with {done.returncode}, not {exit_code}:\n{done.stderr[-4000:]}")
        return cast("dict[str, float]", json.loads(report.read_text(encoding="utf-8")))


@contextmanager
def program(app: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run an application for the length of a `with` block, which begins when the application says it is ready.

    Raises RuntimeError with its last words if it does not.
    """
    with TemporaryDirectory() as folder:
        log = Path(folder, "log")
        environment = _environment({"SUPERVISOR_RUNTIME_DIR": folder, "SUPERVISOR_LOG_FORMAT": "json"})
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter
                _command(app), cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        try:
            if not _is_ready(process, log):
                raise RuntimeError(f"{app} did not become ready:\n{log.read_text(encoding='utf-8')[-4000:]}")
            yield process
        finally:
            process.kill()
            process.wait()


def cpu_time(pid: int) -> float:
    """Return the seconds of CPU that all threads of a process have used so far.

    The clock behind `/proc/<pid>/stat`, but in nanoseconds instead of ticks of 10 ms. Its number is
    made as `clock_getcpuclockid(3)` makes it.
    """
    return time.clock_gettime((~pid << 3) | 2)


def family_cpu(pid: int) -> float:
    """Return the seconds of CPU of a process and of all its children so far, past and present."""
    own = _stat(pid)
    living = [_stat(int(folder.name)) for folder in Path("/proc").iterdir() if folder.name.isdigit()]
    ticks = sum(own[_FIRST:_LAST]) + sum(sum(each[_FIRST:_REAPED]) for each in living if each and each[_PARENT] == pid)
    return ticks / os.sysconf("SC_CLK_TCK")


def parent(pid: int) -> int:
    """Return the parent of a process."""
    return _stat(pid)[_PARENT]


def _stat(pid: int) -> list[int]:
    """Read the numbers of a process; none if it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return []
    return [0, *map(int, text.rpartition(")")[2].split()[1:])]


def _command(app: str) -> list[str]:
    return [sys.executable, "-m", "supervisor", "run", "--app", app]


def _is_ready(process: subprocess.Popen[bytes], log: Path) -> bool:
    give_up = time.monotonic() + _READY_LIMIT
    while process.poll() is None and time.monotonic() < give_up:
        if b'"process_ready"' in log.read_bytes():
            return True
        time.sleep(_POLL)
    return False


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Ours, without the settings of a person's own supervisor, and with this checkout on the path."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SUPERVISOR_")}
    path = os.pathsep.join(filter(None, (str(ROOT), kept.get("PYTHONPATH"))))
    return {**kept, "PYTHONPATH": path, **extra}
