"""The workers of a campaign: started, killed, paused, stopped, kept at their number, and counted at the end."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.soak.ledger import FOLDER
from tests.soak.pause import pause, until
from tests.source import ROOT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping
    from typing import Self

    from tests.soak.ledger import Ledger

LEASE: Final = 2.0
MARK: Final = "SOAK_RUN"
"""The variable by which processes of a campaign are told from all others, also when their parent is gone."""
END: Final = 30.0
"""Seconds within which a worker must have stopped."""

_SETTINGS: Final = {
    "SUPERVISOR_APP": "tests.soak.app:app",
    "SUPERVISOR_LEASE": f"{LEASE}s",
    "SUPERVISOR_HEARTBEAT": "500ms",
    "SUPERVISOR_POLL": "200ms",
    "SUPERVISOR_IDLE_POLL": "1s",
    "SUPERVISOR_CONCURRENCY": "20",
    "SUPERVISOR_DRAIN_TIMEOUT": "1s",
    "SUPERVISOR_LOG_FORMAT": "json",
    "SUPERVISOR_LOG_LEVEL": "info",
    "SUPERVISOR_MIGRATE": "false",
    "SUPERVISOR_HTTP": "off",
}
_COMMAND: Final = (sys.executable, "-m", "supervisor", "run")
_NOT_INHERITED: Final = ("NOTIFY_SOCKET", "WATCHDOG_", "SUPERVISOR_", "PYTHONASYNCIODEBUG", "DATABASE_URL")


class Worker:
    """A place for one process after the other; `folder` is its host. Its output goes to a file beside the ledger."""

    def __init__(self, crew: Crew, name: str, host: Path, environ: Mapping[str, str]) -> None:
        self.name: Final = name
        self._crew: Final = crew
        self._environ: Final = {**environ, "SUPERVISOR_RUNTIME_DIR": str(host), "SUPERVISOR_NAME": name}
        self._process: subprocess.Popen[bytes] | None = None
        self.codes: Final[list[int]] = []
        self.is_paused = False
        self.is_wanted = False

    @property
    def log(self) -> Path:
        """What its processes wrote to stderr."""
        return self._crew.ledger.folder / f"{self.name}.log"

    @property
    def pid(self) -> int:
        """The process that runs, or ran last."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start a process."""
        self.is_wanted = True
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                _COMMAND,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=ROOT,
                env=self._crew.environ(self._environ),
            )
        self._crew.ledger.write("started", text=self.name, pid=self.pid)

    def send(self, number: signal.Signals) -> None:
        """Send a signal, and put it down."""
        if self.is_over():
            return
        ledger = self._crew.ledger
        ledger.write("sending", text=number.name, pid=self.pid)
        os.kill(self.pid, number)
        ledger.write("sent", text=number.name, pid=self.pid)
        self.is_paused = number is signal.SIGSTOP or (self.is_paused and number is not signal.SIGCONT)

    def is_over(self) -> bool:
        """Whether there is no process; its end is put down when it is first seen."""
        if self._process is None:
            return True
        code = self._process.poll()
        if code is None:
            return False
        self._crew.ledger.write("died", text=f"{self.name} {code}", pid=self.pid)
        self.codes.append(code)
        self._process = None
        self.is_paused = False
        return True

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; return the exit code."""
        self.is_wanted = False
        self.send(number)

        async def over() -> bool:
            return self.is_over()

        await until(over, f"the end of {self.name} after {number.name}", END, 0.02)
        return self.codes[-1]


class Crew:
    """All workers of a campaign. Those that die by themselves are started again by `keep`."""

    def __init__(self, ledger: Ledger, dsn: str, hosts: Path) -> None:
        self.ledger: Final = ledger
        self.workers: Final[list[Worker]] = []
        self._dsn: Final = dsn
        self._hosts: Final = hosts
        self._mark: Final = secrets.token_hex(8)

    def hire(self, name: str, host: str, environ: Mapping[str, str] | None = None) -> Worker:
        """Start a worker on a host, which is a folder of its own; `environ` changes its settings."""
        folder = self._hosts / host
        folder.mkdir(mode=0o700, exist_ok=True)
        worker = Worker(self, name, folder, environ or {})
        self.workers.append(worker)
        worker.start()
        return worker

    def environ(self, more: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of a worker."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_INHERITED)}
        ours = {FOLDER: str(self.ledger.folder), MARK: self._mark, "DATABASE_URL": self._dsn, "PYTHONPATH": str(ROOT)}
        return {**inherited, **_SETTINGS, **ours, **more}

    async def keep(self) -> None:
        """Start again what dies without having been told to."""
        while True:
            for worker in self.workers:
                if worker.is_wanted and worker.is_over():
                    worker.start()
            await pause(0.1)

    async def dismiss(self) -> list[int]:
        """Stop all in order; return their exit codes."""
        return [await worker.end() for worker in self.workers if not worker.is_over()]

    def alive(self) -> list[int]:
        """List the processes of this campaign that are there, also those whose parent has gone."""
        return sorted(pid for pid, _ in _marked(f"{MARK}={self._mark}"))

    def lanes(self) -> list[int]:
        """List the processes for suspects."""
        return sorted(
            pid for pid, environ in _marked(f"{MARK}={self._mark}") if b"SUPERVISOR_LANE=quarantine" in environ
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.is_wanted = False
        for pid in self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for worker in self.workers:
            if worker._process is not None:
                worker._process.wait(END)


@contextlib.asynccontextmanager
async def crew(ledger: Ledger, dsn: str) -> AsyncIterator[Crew]:
    """Give an empty crew; whatever is left of it at the end is killed."""
    with tempfile.TemporaryDirectory(prefix="sv-") as hosts, Crew(ledger, dsn, Path(hosts)) as ours:
        yield ours


def _marked(mark: str) -> Iterator[tuple[int, bytes]]:
    for path in Path("/proc").glob("[0-9]*"):
        try:
            environ = (path / "environ").read_bytes()
            state = (path / "stat").read_bytes().rpartition(b")")[2].split()[0]
        except OSError:
            continue
        if mark.encode() in environ and state != b"Z":
            yield int(path.name), environ
