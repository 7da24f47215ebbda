"""Which build of the program this process runs, so that a fleet can show that all of it runs the same one."""

from __future__ import annotations

import os
import platform
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_SHORT: Final = 12


def version_of(module: str | None, environ: Mapping[str, str]) -> str:
    """Return the commit that the module's folder is at, else the variable BUILD_ID, else `build-` and a time.

    The time is when the module's file was last changed, in UTC. `module` is one that is imported; None stands for the
    working directory.
    """
    file = getattr(sys.modules.get(module or ""), "__file__", None)
    place = Path(file).resolve() if file else Path.cwd()
    commit = _commit(place)
    if commit is not None:
        return commit[:_SHORT]
    if environ.get("BUILD_ID"):
        return environ["BUILD_ID"]
    try:
        changed = place.stat().st_mtime
    except OSError:  # from a zip file
        changed = 0.0
    return f"build-{datetime.fromtimestamp(changed, UTC):%Y%m%dT%H%M%SZ}"


def metadata(version: str) -> dict[str, str]:
    """Describe what the process runs on, for its row among the workers."""
    system = os.uname()
    return {
        "version": version,
        "python": platform.python_version(),
        "platform": f"{system.sysname} {system.release}",
        "arch": system.machine,
    }


def _commit(place: Path) -> str | None:
    """Read the commit that is checked out around `place`, without running git; None if there is none to be read."""
    with suppress(OSError, ValueError):
        for folder in (place, *place.parents):
            found = folder / ".git"
            if found.is_dir():
                return _head(found)
            if found.is_file():  # a worktree or submodule: the folder is elsewhere
                return _head(folder / found.read_text().strip().removeprefix("gitdir: "))
    return None


def _head(git: Path) -> str | None:
    head = (git / "HEAD").read_text().strip()
    if not head.startswith("ref: "):
        return head
    name = head.removeprefix("ref: ")
    shared = git / (git / "commondir").read_text().strip() if (git / "commondir").is_file() else git
    if (shared / name).is_file():
        return (shared / name).read_text().strip()
    for line in (shared / "packed-refs").read_text().splitlines():
        if line.endswith(f" {name}"):
            return line.partition(" ")[0]
    return None
