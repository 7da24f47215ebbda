"""Sources of settings, what is loaded from them, and a table with every type of setting."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import pytest

from supervisor.config import Config, Conflict, Secret, Setting, SettingsTable, load, read
from supervisor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NOWHERE = Path("/nonexistent")
HIDDEN = "hunter2"


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table(SettingsTable):
    """Every type that a setting may have."""

    count: Annotated[int, Setting("a whole number", ge=1, le=9)] = 3
    ratio: Annotated[float, Setting("a plain number", gt=0)] = 0.5
    wait: Annotated[float | None, Setting("a duration", unit="s")] = None
    switch: Annotated[bool, Setting("a switch")] = True
    hosts: Annotated[tuple[str, ...], Setting("names", pattern="[a-z.]+", form="a host name")] = ("a", "b")
    delays: Annotated[tuple[float, ...], Setting("durations", unit="s")] = ()
    colour: Annotated[Colour, Setting("a colour")] = Colour.RED
    folder: Annotated[Path, Setting("a folder")] = Path("here")
    text: Annotated[str, Setting("any text")] = ""
    url: Annotated[Secret | None, Setting("a secret", env="THE_URL", pattern="pg://.*", form="pg://...")] = None
    tokens: Annotated[tuple[Secret, ...], Setting("secrets", pattern="[a-z0-9]{7}")] = ()

    def conflicts(self) -> Iterator[Conflict]:
        if self.url is not None and self.count == 1:
            yield Conflict(("url", "count"), "needs a count above 1", "raise count")


def env(**values: str) -> dict[str, str]:
    """Return an environment with these settings."""
    return {f"SUPERVISOR_{name.upper()}": value for name, value in values.items()}


def loaded(flags: Mapping[str, object] | None = None, directory: Path = NOWHERE, **variables: str) -> Config:
    """Return the configuration that these flags, this folder and these variables give."""
    return load(flags=flags, environ=env(**variables), directory=directory)


def refusal(
    table: type[SettingsTable] = Config,
    *,
    flags: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    directory: Path = NOWHERE,
) -> str:
    """Return the message of the refusal, which must not carry another error with it: that one may quote a secret."""
    with pytest.raises(ConfigError) as caught:
        read(table, flags=flags, environ=environ or {}, directory=directory)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return str(caught.value)


def written(folder: Path, text: str | bytes, name: str = "supervisor.toml") -> Path:
    """Write a file and return its folder."""
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder
