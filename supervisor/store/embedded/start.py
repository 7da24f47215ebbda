"""One start of the embedded server, by the only process that may start it now: create the cluster, launch, wait."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from supervisor.errors import DatabaseStartFailed, DatabaseStartTimeout
from supervisor.store.embedded import disk, postmaster
from supervisor.store.embedded.binaries import find
from supervisor.store.embedded.configuration import SUPERUSER
from supervisor.store.embedded.folder import check_entry, socket_dir

if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisor.store.embedded.account import Account
    from supervisor.store.embedded.binaries import Binaries
    from supervisor.store.embedded.configuration import Configuration
    from supervisor.store.embedded.folder import DataFolder
    from supervisor.store.embedded.limit import Limit
    from supervisor.store.embedded.postmaster import PidFile

_NEW: Final = "cluster.new-"
_TAIL: Final = 2000  # characters of what the server said that an error quotes
_LOG_LIMIT: Final = 10_000_000  # bytes; a longer log is put aside at the next launch
_RETRY: Final = 0.05  # seconds
_MOMENT: Final = 1.0
# A server that dies of these met the last moments of another one; the next try succeeds, or says more.
_PASSING: Final = ("pre-existing shared memory block", 'lock file "postmaster.pid" already exists')
_FULL: Final = "; the disk is full: free some space and start again"
_DAMAGED: Final = "; the database seems damaged: restore it from a backup"
_HINTS: Final = {
    "No space left on device": _FULL,
    "could not locate a valid checkpoint record": _DAMAGED,
    "incorrect checksum": _DAMAGED,
    "invalid page": _DAMAGED,
    "could not read file": _DAMAGED,
    "could not open file": _DAMAGED,
}


@dataclass(frozen=True, slots=True)
class Joined:
    """A running server; `started` says that this start launched it, and did not find it running."""

    started: bool
    pid: int
    major: int
    socket_dir: Path
    log: Path


@dataclass(frozen=True, slots=True)
class Start:
    """What a start needs to know; `report` gets one line of text for each step."""

    folder: DataFolder
    account: Account
    bindir: Path | None
    configuration: Configuration
    report: Callable[[str], None]

    def run(self, limit: Limit) -> Joined:
        """Return when the server is ready.

        Raises ConfigError, DatabaseStartFailed, DatabaseStartTimeout and `Cancelled`. Then a server that was launched
        here has ended, unless it recovers from a crash: at the limit, it goes on doing so.
        """
        try:
            while True:
                major = self.folder.major()
                found = postmaster.running(self.folder.cluster)
                if found is None or major is None:
                    joined = self._launch(major, limit)
                else:
                    joined = self._attach(found, major, limit)
                if joined is not None:
                    return joined
                if not limit.pause(_RETRY):
                    raise self._too_late(limit, "each server that was there has ended")
        except DatabaseStartTimeout:
            raise  # it is an OSError too
        except OSError as error:
            raise DatabaseStartFailed(f"PostgreSQL did not start: {error}{_hint(str(error))}") from error

    def _attach(self, found: PidFile, major: int, limit: Limit) -> Joined | None:
        """Join a live server when it is ready; None if it ends instead."""
        try:
            ready = postmaster.wait_ready(self.folder.cluster, found.pid, limit, self._report_last)
        except TimeoutError:
            raise self._too_late(limit, f"process {found.pid} still says {found.status!r}") from None
        return None if ready is None else self._joined(ready, major, started=False)

    def _launch(self, major: int | None, limit: Limit) -> Joined | None:
        """Start a server and return when it is ready; None if it met another one that was just ending."""
        check_entry(self.folder, self.account, limit)
        self._check_unseen(limit)
        self._remove_left_overs()
        binaries = find(self.account, limit, copies=self.folder.binaries, bindir=self.bindir, major=major)
        if major is None:
            self._create(binaries, limit)
        self.report(f"starting PostgreSQL {binaries.version}")
        configuration = self.configuration.write(self.folder, self.account, socket_dir(self.folder, self.account))
        program = [str(binaries.bindir / "postgres"), "-D", str(self.folder.cluster)]
        command = [*program, "-c", f"config_file={configuration}"]
        log, begin = self._open_log()
        try:
            limit.check()
            pid = postmaster.spawn(command, self.account, self.folder.cluster, log)
        finally:
            os.close(log)
        ready = self._ready(pid, begin, limit)
        if ready is not None:
            return self._joined(ready, binaries.major, started=True)
        said = self._said(begin)
        if any(text in said for text in _PASSING):
            return None
        raise DatabaseStartFailed(f"PostgreSQL did not start{_hint(said)}; {self.folder.log} says:\n{said}")

    def _ready(self, pid: int, begin: int, limit: Limit) -> PidFile | None:
        """Wait for a server of ours, whose log begins at `begin`; None if it dies."""
        cluster = self.folder.cluster
        try:
            return postmaster.wait_ready(cluster, pid, limit, self._report_last)
        except TimeoutError:
            state = postmaster.running(cluster)
            if state is not None and state.pid == pid:
                raise self._too_late(limit, f"process {pid} goes on starting, so try again", begin) from None
            postmaster.abort(pid, cluster)
            raise self._too_late(limit, "it was stopped", begin) from None
        except BaseException:
            postmaster.abort(pid, cluster)
            raise

    def _create(self, binaries: Binaries, limit: Limit) -> None:
        """Run initdb beside the cluster's place, so that whatever stands there is complete."""
        self.report(f"creating a database with PostgreSQL {binaries.version}")
        new = Path(tempfile.mkdtemp(prefix=_NEW, dir=self.folder.root))
        try:
            if self.account.switch:
                os.chown(new, self.account.uid, self.account.gid)
            self._initdb(new, binaries, limit)
            if self.configuration.durable:
                disk.flush(new)
            disk.rename(new, self.folder.cluster)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise

    def _initdb(self, new: Path, binaries: Binaries, limit: Limit) -> None:
        # The access rules that initdb writes are not used, but would be safe.
        access = ["--auth-local=peer", "--auth-host=reject", f"--username={SUPERUSER}"]
        text = ["--encoding=UTF8", "--no-locale"]  # the order of text must not change with the system's libraries
        command = [str(binaries.bindir / "initdb"), "-D", str(new), "--no-sync", *access, *text]
        code, said = self.account.run(command, limit)
        if code:
            said = said.strip()[-_TAIL:]
            raise DatabaseStartFailed(
                f"initdb of PostgreSQL {binaries.version} failed with exit code {code}{_hint(said)}; it says:\n{said}"
            )

    def _check_unseen(self, limit: Limit) -> None:
        """Refuse a cluster that a server which we cannot see serves; a killed one may seem so for a moment."""
        until = limit.left - _MOMENT
        while postmaster.answers(self.folder.cluster):
            if limit.left < until or not limit.pause(_RETRY):
                raise DatabaseStartFailed(
                    f"a server that this process cannot see, such as one of another container, uses the database in "
                    f"{str(self.folder.root)!r}; give each container a data folder of its own (SUPERVISOR_DATA_DIR), "
                    "or set DATABASE_URL"
                )

    def _remove_left_overs(self) -> None:
        """Remove what a start that was killed has left of its initdb."""
        for new in self.folder.root.glob(f"{_NEW}*"):
            shutil.rmtree(new, ignore_errors=True)

    def _open_log(self) -> tuple[int, int]:
        """Open the log and return the descriptor and its present size; the server only inherits the descriptor."""
        path = self.folder.log
        if path.exists() and path.stat().st_size > _LOG_LIMIT:
            path.replace(path.with_name(f"{path.name}.1"))
        log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        return log, os.fstat(log).st_size

    def _said(self, begin: int) -> str:
        """Return the end of what the log holds from `begin` on."""
        said = ""
        with suppress(FileNotFoundError), self.folder.log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(begin, size - _TAIL))
            said = file.read().decode(errors="replace").strip()
        return said or "(nothing)"

    def _report_last(self) -> None:
        self.report(f"PostgreSQL is starting; it said last: {self._said(0).splitlines()[-1]}")

    def _joined(self, ready: PidFile, major: int, *, started: bool) -> Joined:
        return Joined(started, ready.pid, major, Path(ready.socket_dir), self.folder.log)

    def _too_late(self, limit: Limit, state: str, begin: int = 0) -> DatabaseStartTimeout:
        said = self._said(begin)
        return DatabaseStartTimeout(
            f"PostgreSQL was not ready within {limit.seconds:g} s: {state}, with a longer limit if need be; "
            f"{self.folder.log} says:\n{said}"
        )


def _hint(said: str) -> str:
    return next((hint for text, hint in _HINTS.items() if text in said), "")
