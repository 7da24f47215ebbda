"""The OS user whom the server runs as, and commands run as that user: PostgreSQL refuses to run as root."""

from __future__ import annotations

import errno
import os
import pwd
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from supervisor.errors import ConfigError, DatabaseStartTimeout

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from supervisor.store.embedded.limit import Limit

_FOR_ROOT: Final = ("postgres", "nobody")
# The server gets no other variable of ours: a password in our environment is not for its OS user to read.
_KEPT_VARIABLES: Final = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
_POLL: Final = 0.05  # seconds between two looks at the limit while a command runs
_LAST_WORDS: Final = 1.0  # seconds a killed command gets to be gone


@dataclass(frozen=True, slots=True)
class Account:
    """One OS user; `switch` says that it is another user than ours, whom only root can become."""

    name: str
    uid: int
    gid: int
    switch: bool

    def popen(
        self, command: Sequence[str], *, stdout: int, stderr: int, variables: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a command as this user, in a session of its own, so that a terminal's Ctrl-C does not reach it.

        To be called in a thread, also because uvloop's own subprocesses know no `user`. Raises OSError, and
        ConfigError where we cannot become that user.
        """
        kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        try:
            return subprocess.Popen(  # noqa: S603 - our own command lines, no shell text from outside
                command,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                cwd="/",  # ours may be closed to that user
                env={**kept, "LC_ALL": "C", **(variables or {})},
                start_new_session=True,
                umask=0o077,
                user=self.uid if self.switch else None,
                group=self.gid if self.switch else None,
                extra_groups=[] if self.switch else None,
            )
        except PermissionError as error:
            if self.switch and error.errno == errno.EPERM:
                raise ConfigError(
                    f"this process runs as root but may not become user {self.name!r}, as PostgreSQL needs; "
                    "give it the capabilities SETUID and SETGID, run it as an ordinary user, or set DATABASE_URL"
                ) from None
            raise

    def run(self, command: Sequence[str], limit: Limit) -> tuple[int, str]:
        """Run a command to its end; return its exit code and all it wrote.

        Whatever cuts it short kills the command with all its children. Raises as `popen`, DatabaseStartTimeout and
        `Cancelled`.
        """
        process = self.popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            while True:
                with suppress(subprocess.TimeoutExpired):
                    output, _ = process.communicate(timeout=_POLL)
                    return process.returncode, output.decode(errors="replace")
                if not limit.pause(0):
                    raise DatabaseStartTimeout(f"{command[0]} did not end within {limit.seconds:g} s")
        finally:
            if process.returncode is None:
                _kill(process)


def server_account(owner: int | None) -> Account:
    """Choose whom the server runs as: the `owner` of an existing cluster, else us, and for root the first of two.

    Raises ConfigError where that user is unknown or cannot be used.
    """
    us = os.geteuid()
    if us != 0:
        if owner not in (None, us):
            raise ConfigError(
                f"the embedded database belongs to user {_name(owner)}, but this process runs as {_name(us)}; "
                "run it as that user, choose another data folder (SUPERVISOR_DATA_DIR), or set DATABASE_URL"
            )
        return Account(_known(us).pw_name, us, os.getegid(), switch=False)
    if owner == 0:
        raise ConfigError(
            "the embedded database belongs to root, and PostgreSQL does not run as root; "
            f"give its folder `cluster` to user {_for_root().pw_name} with chown -R"
        )
    entry = _for_root() if owner is None else _known(owner)
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, switch=True)


def user_name(uid: int) -> str | None:
    """Return the name of a user, if the system knows one."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


def _name(uid: int | None) -> str:
    return repr(uid if uid is None else user_name(uid) or uid)


def _known(uid: int) -> pwd.struct_passwd:
    try:
        return pwd.getpwuid(uid)
    except KeyError:
        raise ConfigError(
            f"user id {uid} has no name on this system, and PostgreSQL does not run without one; "
            "add it to /etc/passwd, run as another user, or set DATABASE_URL"
        ) from None


def _for_root() -> pwd.struct_passwd:
    for name in _FOR_ROOT:
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise ConfigError(
        f"PostgreSQL does not run as root, and this system has no user {' or '.join(map(repr, _FOR_ROOT))} "
        "to run it as; create one, run this process as an ordinary user, or set DATABASE_URL"
    )


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a command's whole process group; it leads one, being the first of its session."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=_LAST_WORDS)
