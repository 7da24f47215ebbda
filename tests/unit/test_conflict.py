"""A package that would take the place of ours is named before anything starts."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from supervisor.errors import ConfigError
from supervisor.process import conflict

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _actors_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget an `actors` imported by other tests, so that each look-up is a fresh one."""
    monkeypatch.delitem(sys.modules, "actors", raising=False)


def install(site: Path, name: str, files: dict[str, str]) -> None:
    """Write the metadata of an installed distribution."""
    folder = site / f"{name}-4.3.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 4.3.0\n")
    for file, text in files.items():
        (folder / file).write_text(text)


@pytest.mark.parametrize(
    "files",
    [
        {"top_level.txt": "supervisor\n"},
        {"RECORD": "../../bin/supervisord,,\nsupervisor/__init__.py,,\nsupervisor/http.py,,\n"},
        {"top_level.txt": "other\n", "RECORD": "supervisor/__init__.py,,\n"},
    ],
    ids=["editable", "wheel", "both"],
)
def test_supervisord_is_refused(files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With supervisord installed, one line says what it is, where it is and what to do."""
    install(tmp_path, "supervisor", files)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"'supervisor' 4\.3\.0 .* 'pip uninstall supervisor'") as caught:
        conflict.check()
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("supervisor", {"top_level.txt": "another\n", "RECORD": "another/supervisor/x.py,,\n"}),
        ("supervisor", {}),
        ("supervisor_runtime", {"top_level.txt": "supervisor\n"}),
        ("supervisor_wildcards", {"top_level.txt": "supervisor\n"}),
    ],
    ids=["other package", "no file list", "ours", "a plugin"],
)
def test_other_distributions_are_let_through(
    name: str, files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither our own distribution nor one that does not ship `supervisor/` is in the way."""
    install(tmp_path, name, files)
    monkeypatch.syspath_prepend(tmp_path)
    conflict.check_supervisord()


@pytest.mark.parametrize(
    ("file", "remedy"), [("actors/__init__.py", "delete that file"), ("actors.py", "rename that module")]
)
def test_what_hides_the_ready_made_actors_is_named(
    file: str, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A regular package or module `actors` is refused with its path and the remedy, even at the end of the path."""
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).touch()
    ours = tmp_path / "ours"
    (ours / "actors").mkdir(parents=True)
    monkeypatch.setattr(sys, "path", [str(ours), *sys.path, str(tmp_path)])
    with pytest.raises(ConfigError, match=remedy) as caught:
        conflict.check()
    assert str(tmp_path / file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_actors_folder_without_init_is_welcome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project's own `actors/` folder merges with ours and is no conflict."""
    (tmp_path / "actors").mkdir()
    (tmp_path / "actors" / "mine.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    conflict.check()
