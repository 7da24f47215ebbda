"""Which build a process runs: a commit, a build's name, or a time."""

from __future__ import annotations

import os
import platform
import re
import sys
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from supervisor.process.version import metadata, version_of

if TYPE_CHECKING:
    from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the folder of an imported module called shop."""
    folder = tmp_path / "src"
    folder.mkdir()
    file = folder / "shop.py"
    file.touch()
    os.utime(file, (1_700_000_000, 1_700_000_000))
    module = ModuleType("shop")
    module.__file__ = str(file)
    monkeypatch.setitem(sys.modules, "shop", module)
    return folder


def head(git: Path, text: str) -> Path:
    """Make a folder of git with this HEAD."""
    git.mkdir(parents=True)
    (git / "HEAD").write_text(f"{text}\n")
    return git


def test_a_commit_comes_first(shop: Path) -> None:
    """In a checkout the version is its commit, whatever else is said."""
    head(shop.parent / ".git", COMMIT)
    assert version_of("shop", {"BUILD_ID": "42"}) == COMMIT[:12]


def test_a_branch_is_followed(shop: Path) -> None:
    """HEAD may name a branch, whose commit stands in a file of its own."""
    git = head(shop.parent / ".git", "ref: refs/heads/main")
    (git / "refs/heads").mkdir(parents=True)
    (git / "refs/heads/main").write_text(f"{COMMIT}\n")
    assert version_of("shop", {}) == COMMIT[:12]


def test_a_packed_branch_is_found(shop: Path) -> None:
    """The commit of a branch may stand in the list of packed ones."""
    git = head(shop.parent / ".git", "ref: refs/heads/main")
    (git / "packed-refs").write_text(f"# pack-refs\n{'f' * 40} refs/heads/maintenance\n{COMMIT} refs/heads/main\n")
    assert version_of("shop", {}) == COMMIT[:12]


def test_a_worktree_is_followed(shop: Path) -> None:
    """A worktree has a file in place of the folder, and shares the branches of another."""
    git = head(shop.parent / "other/.git", "ref: refs/heads/old")
    (git / "refs/heads").mkdir(parents=True)
    (git / "refs/heads/main").write_text(COMMIT)
    own = head(git / "worktrees/src", "ref: refs/heads/main")
    (own / "commondir").write_text("../..\n")
    (shop / ".git").write_text(f"gitdir: {own}\n")
    assert version_of("shop", {}) == COMMIT[:12]


def test_without_a_commit_the_build_is_named(shop: Path) -> None:
    """Outside of a checkout, and in one without a commit, BUILD_ID says what runs."""
    head(shop.parent / ".git", "ref: refs/heads/main")
    assert version_of("shop", {"BUILD_ID": "42"}) == "42"


def test_the_last_resort_is_a_time(shop: Path) -> None:
    """Without either, the time of the module's last change is the same on every host that got the same files."""
    head(shop.parent / ".git", "ref: refs/heads/main")
    assert version_of("shop", {}) == "build-20231114T221320Z"


def test_without_a_module_the_working_directory_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that named no app has a version all the same."""
    monkeypatch.chdir(tmp_path)
    head(tmp_path / ".git", "ref: refs/heads/main")
    assert re.fullmatch(r"build-\d{8}T\d{6}Z", version_of(None, {}))


def test_what_it_runs_on() -> None:
    """Beside the version stand Python's, the platform and the architecture."""
    found = metadata("42")
    assert found["version"] == "42"
    assert found["python"] == platform.python_version()
    assert all(found[key] for key in ("platform", "arch"))
