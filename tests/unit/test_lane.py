"""The environment of a process for suspects: all our settings, and no secret where others can read it."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from supervisor.config import Config, Lane, LogLevel, Secret, load
from supervisor.process import lane

if TYPE_CHECKING:
    from supervisor.config import Config as _Config

CHANGED = Config(
    app="shop:app",
    name="a-name-that-fills-all-32-chars",
    concurrency=7,
    queues=("mail", "slow"),
    lease=9.5,
    heartbeat=1.25,
    quarantine=False,
    history_days=3,
    log_level=LogLevel.DEBUG,
    database_url=Secret("postgresql://me:pässword@localhost/shop?a=b"),
    schema="other",
    data_dir=Path("data"),
)


@pytest.mark.parametrize("config", [CHANGED, Config(app="shop:app")], ids=["changed", "defaults"])
def test_the_lane_has_our_settings(config: _Config, tmp_path: Path) -> None:
    """Read from the environment, the settings of the lane are ours, but for those that make it a lane."""
    found = load(environ=lane.environ_for(config, {}), directory=tmp_path)
    differ = {row.name for row in fields(config) if _text(config, row.name) != _text(found, row.name)}
    assert differ <= {"name", "drain_timeout", "database_wait", "migrate", "until_empty"}
    assert found.name is not None
    assert found.name.endswith("-quarantine")
    assert not found.migrate


def test_the_file_of_settings_is_left_out(tmp_path: Path) -> None:
    """What stands in a file that we did not read does not count in the lane either."""
    (tmp_path / "supervisor.toml").write_text('queues = ["other"]\nno_such_setting = 1\n')
    assert load(environ=lane.environ_for(CHANGED, {}), directory=tmp_path).queues == ("mail", "slow")


def test_what_is_inherited() -> None:
    """The environment of handlers stays as it is; other settings, and what systemd says to us alone, do not."""
    given = {"PATH": "/bin", "SUPERVISOR_QUEUES": "old", "NOTIFY_SOCKET": "/run/n", "SUPERVISOR_CONFIG": "x.toml"}
    found = lane.environ_for(Config(app="shop:app"), given)
    assert found["PATH"] == "/bin"
    assert found[lane.VARIABLE] == Lane.QUARANTINE
    assert found["SUPERVISOR_CONFIG"] == os.devnull
    assert not {"SUPERVISOR_QUEUES", "NOTIFY_SOCKET"} & found.keys()


def test_no_secret_is_an_argument() -> None:
    """Other users can read the arguments of a process, so it has none but the command."""
    assert lane.COMMAND[1:] == ("-m", "supervisor", "run")


def _text(config: _Config, name: str) -> object:
    value: object = getattr(config, name)
    if isinstance(value, Path):
        return value.absolute()
    return value.reveal() if isinstance(value, Secret) else value
