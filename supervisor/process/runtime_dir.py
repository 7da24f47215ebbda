"""The folder where running processes leave their sockets, for their owner alone."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from supervisor.errors import ConfigError

# sun_path holds 108 bytes on Linux and 104 elsewhere, with the closing NUL.
LONGEST_SOCKET: Final = 103


def default_dir() -> Path:
    """Where the sockets are unless configured: it depends on the user only, so that every shell finds them."""
    user = os.geteuid()
    if user == 0:
        return Path("/run/supervisor")
    session = Path(f"/run/user/{user}")
    return session / "supervisor" if session.is_dir() else Path(f"/tmp/supervisor-{user}")  # noqa: S108 - checked below


def prepare(folder: Path) -> Path:
    """Create `folder` for its owner alone, or check that it is so. Raises ConfigError."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        reason = error.strerror
        raise ConfigError(f"runtime_dir = {str(folder)!r} cannot be used: {reason}; set another folder") from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise ConfigError(f"runtime_dir = {str(folder)!r} is not a folder of this user; set another one")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise ConfigError(
            f"runtime_dir = {str(folder)!r} is open to other users (mode {stat.S_IMODE(found.st_mode):o}), who could "
            f"stop children; run: chmod 700 {folder}"
        )
    return folder


def socket_path(folder: Path, name: str, pid: int) -> Path:
    """The socket of one process. Raises ConfigError when the path is too long for a socket."""
    path = folder / f"{name}.{pid}.sock"
    if len(os.fsencode(path)) > LONGEST_SOCKET:
        raise ConfigError(f"runtime_dir = {str(folder)!r} is too long: a socket's path may have {LONGEST_SOCKET} bytes")
    return path
