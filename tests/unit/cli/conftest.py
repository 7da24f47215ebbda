"""A command line that finds no settings but those of the test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from supervisor.config import settings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test an empty working directory without settings."""
    monkeypatch.chdir(tmp_path)
    for variable in [row.env for row in settings()]:
        monkeypatch.delenv(variable, raising=False)
