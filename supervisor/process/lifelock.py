"""Proves on one host that a process is dead: each holds a lock on a file of its name, which the kernel frees.

The locks are flock(2) locks. No pid is looked at, since another process may have it by now. A copy of the process that
was forked without an exec keeps the lock as long as it lives; then nothing is proven, and its lease has to run out.
"""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SUFFIX: Final = ".lock"
_FLAGS: Final = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW


class LifeLock:
    """The lock of this process on a file with its name, and what the files beside it tell.

    A name is `host-pid-start-random`: files of other hosts are left alone, for a folder that hosts share need not
    share its locks. Everything raises OSError.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._folder: Path | None = None
        self._fd: int | None = None

    @property
    def is_held(self) -> bool:
        """Whether this process has said that it lives."""
        return self._fd is not None

    def hold(self, folder: Path) -> None:
        """Say in `folder`, which is made if need be, that this process lives. Once it does, nothing is done."""
        if self._fd is not None:
            return
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Locked before it has its name: nobody may ever find it free.
        unborn = folder / f".{self.name}"
        fd = os.open(unborn, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            unborn.rename(folder / f"{self.name}{SUFFIX}")
        except BaseException:
            os.close(fd)
            unborn.unlink(missing_ok=True)
            raise
        self._folder, self._fd = folder, fd

    def dead(self) -> list[str]:
        """Name the processes of this host that are proven dead and were not forgotten yet."""
        if self._folder is None:
            return []
        names = sorted(path.name.removesuffix(SUFFIX) for path in self._folder.glob(f"*{SUFFIX}"))
        return [
            name for name in names if _host(name) == _host(self.name) and _is_free(self._folder / f"{name}{SUFFIX}")
        ]

    def forget(self, names: Iterable[str]) -> None:
        """Remove the files of the dead, once everybody has been told of them."""
        if self._folder is not None:
            for name in names:
                (self._folder / f"{name}{SUFFIX}").unlink(missing_ok=True)

    def release(self) -> None:
        """Say that this process has left nothing behind that somebody must recover."""
        if self._fd is not None:
            self.forget([self.name])
            os.close(self._fd)
            self._fd = None


def _is_free(path: Path) -> bool:
    try:
        fd = os.open(path, _FLAGS)
    except OSError:  # gone meanwhile, or nothing of ours
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True


def _host(name: str) -> str:
    return name.rsplit("-", 3)[0]
