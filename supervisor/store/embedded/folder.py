"""Where the embedded PostgreSQL lives on disk, and who may enter: nothing of it is open to other OS users."""

from __future__ import annotations

import hashlib
import os
import socket
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from supervisor.errors import ConfigError
from supervisor.store.embedded.account import user_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from supervisor.store.embedded.account import Account
    from supervisor.store.embedded.limit import Limit

PORT: Final = 5432  # only a part of the socket's name: the server listens on no network
# sun_path holds 108 bytes on Linux and 104 elsewhere, with the closing NUL.
_LONGEST_SOCKET: Final = 103
_SEPARATORS: Final = frozenset(",\"'\\\n")  # PostgreSQL, or a reader of the DSN, would split the path there


@dataclass(frozen=True, slots=True)
class DataFolder:
    """The folder `postgres` within the data folder, and what stands in it.

    It belongs to us. Only `cluster` and the sockets' folder belong to the user of the server, so that root never
    writes a file where that user could have put a symbolic link.
    """

    root: Path

    @classmethod
    def within(cls, data_dir: Path) -> DataFolder:
        """Name our folder in `data_dir`, whether it exists or not."""
        return cls(data_dir.resolve() / "postgres")

    @property
    def cluster(self) -> Path:
        """The data of the server, which it keeps closed to everyone else."""
        return self.root / "cluster"

    @property
    def version_file(self) -> Path:
        """The file in which a complete cluster names its major version."""
        return self.cluster / "PG_VERSION"

    @property
    def log(self) -> Path:
        """What the server writes."""
        return self.root / "server.log"

    @property
    def binaries(self) -> Path:
        """Copies of binaries that the server's user could not execute where they are."""
        return self.root / "binaries"

    @property
    def start_lock(self) -> Path:
        """Held by the one process that starts or stops the server."""
        return self.root / "start.lock"

    @property
    def use_lock(self) -> Path:
        """Shared by all processes that use the server."""
        return self.root / "use.lock"

    def owner(self) -> int | None:
        """Return the user id that an existing cluster belongs to."""
        try:
            return self.cluster.lstat().st_uid
        except FileNotFoundError:
            return None

    def major(self) -> int | None:
        """Return the major version of an existing cluster. Raises ConfigError for a folder that is none."""
        try:
            return int(self.version_file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            if not self.cluster.exists():
                return None
            problem = "has no file PG_VERSION"
        except (OSError, ValueError) as error:
            problem = f"has a file PG_VERSION that cannot be read: {error}"
        raise ConfigError(
            f"{str(self.cluster)!r} is not a PostgreSQL cluster: it {problem}; put back what belongs there, "
            "move it away to begin with an empty database, or set DATABASE_URL"
        )


def default_data_dir(environ: Mapping[str, str]) -> Path:
    """Return the data folder of a process that was given none: of the system for root, else of the user.

    The user's is the XDG base directory for data. Raises ConfigError where the user has no home.
    """
    if os.geteuid() == 0:
        return Path("/var/lib/supervisor")
    given = Path(environ.get("XDG_DATA_HOME", ""))
    try:
        base = given if given.is_absolute() else Path.home() / ".local/share"
    except RuntimeError:
        raise ConfigError("no data folder: this user has no home folder; set SUPERVISOR_DATA_DIR") from None
    return base / "supervisor"


def prepare(data_dir: Path) -> DataFolder:
    """Create our folder in `data_dir`, or check that it is ours. Raises ConfigError."""
    folder = DataFolder.within(data_dir)
    root = folder.root
    # Root's is searchable for others, since the server runs as one of them; no name in it can be listed.
    mode = 0o711 if os.geteuid() == 0 else 0o700
    try:
        data_dir.mkdir(mode=mode, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            root.mkdir(mode=mode)
        found = root.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            owner = user_name(found.st_uid) or found.st_uid
            raise ConfigError(
                f"data_dir = {str(data_dir)!r} cannot be used: {str(root)!r} is not a folder of this user but of "
                f"{owner!r}; run as that user, or choose another data folder (SUPERVISOR_DATA_DIR)"
            )
        root.chmod(mode)  # whatever the umask was
    except OSError as error:
        raise ConfigError(
            f"data_dir = {str(data_dir)!r} cannot be used: {error.strerror}; "
            "choose another data folder (SUPERVISOR_DATA_DIR), or set DATABASE_URL"
        ) from None
    return folder


def check_entry(folder: DataFolder, account: Account, limit: Limit) -> None:
    """Check that the server's user can get to our folder, which it must before it can run. Raises ConfigError."""
    code, _ = account.run(["/bin/sh", "-c", 'cd -- "$0"', str(folder.root)], limit) if account.switch else (0, "")
    if code == 0:
        return
    closed = [path for path in folder.root.parents if not path.stat().st_mode & stat.S_IXOTH]
    where = f"{str(closed[-1])!r}" if closed else "it"
    raise ConfigError(
        f"data_dir = {str(folder.root.parent)!r} cannot hold the embedded PostgreSQL: the server runs as user "
        f"{account.name!r}, who may not enter {where}; choose another data folder (SUPERVISOR_DATA_DIR), such as "
        "/var/lib/supervisor, or set DATABASE_URL"
    )


def socket_dir(folder: DataFolder, account: Account) -> Path:
    """Create the folder of the server's socket, closed to all but its user: ours if it can be, else a shorter path.

    The path of a socket is limited, and some file systems hold none. Raises ConfigError if nothing fits.
    """
    digest = hashlib.sha256(os.fsencode(folder.root)).hexdigest()[:12]
    session = Path("/run") if os.geteuid() == 0 else Path(f"/run/user/{os.geteuid()}")
    short = f"supervisor-pg-{account.uid}-{digest}"
    # Ours comes first: it is the same in every shell, service and container that sees the data, and is not cleaned up.
    for candidate in (folder.root / "socket", session / short, Path("/tmp") / short):  # noqa: S108 - owner is checked
        if _fits(candidate) and candidate.parent.is_dir():
            with suppress(OSError):
                _close_to_others(candidate, account)
                _probe(candidate)
                return candidate
    raise ConfigError(
        f"data_dir = {str(folder.root.parent)!r} has no place for a socket: its path is longer than {_LONGEST_SOCKET} "
        f"bytes or its file system holds none, and /tmp/{short} cannot be used; choose another data folder "
        "(SUPERVISOR_DATA_DIR)"
    )


def socket_file(directory: Path) -> Path:
    """Return the path of the socket, as PostgreSQL names it."""
    return directory / f".s.PGSQL.{PORT}"


def _fits(directory: Path) -> bool:
    return len(os.fsencode(socket_file(directory))) <= _LONGEST_SOCKET and _SEPARATORS.isdisjoint(str(directory))


def _close_to_others(directory: Path, account: Account) -> None:
    """Give the folder to the server's user alone. Raises OSError where somebody else has made it."""
    with suppress(FileExistsError):
        directory.mkdir(mode=0o700)
        if account.switch:
            os.chown(directory, account.uid, account.gid, follow_symlinks=False)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != account.uid:
        raise PermissionError
    if stat.S_IMODE(found.st_mode) != 0o700:  # noqa: PLR2004 - the mode it was made with
        directory.chmod(0o700)


def _probe(directory: Path) -> None:
    """Make a socket and remove it. Raises OSError where the file system holds none."""
    path = directory / ".probe"
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as probe:
        probe.bind(str(path))
    path.unlink()
