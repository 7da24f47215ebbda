"""Makes files durable before their final name says that they are complete."""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def flush(folder: Path) -> None:
    """Write out the file system that holds `folder`.

    One syncfs(2) takes some ten milliseconds where a sync of each file of a new cluster takes seconds.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            failed = ctypes.CDLL(None).syncfs(descriptor)
        except AttributeError:  # not Linux
            failed = -1
        if failed:
            os.sync()
    finally:
        os.close(descriptor)


def rename(old: Path, new: Path) -> None:
    """Rename a folder so that the new name survives a power cut."""
    old.rename(new)
    descriptor = os.open(new.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_text(path: Path, text: str, *, mode: int) -> None:
    """Write a file anew; a reader sees the old text or the new one, and a symbolic link is replaced, not followed."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(descriptor, mode)  # whatever the umask was
        file.write(text)
    new.replace(path)
