"""Settings: one declared table, read once from file, environment and flags, with every mistake in one message.

`Config` is the table: a setting is one field with a type, a default and a `Setting`; parsing, messages and the
documentation follow from it. `supervisor.toml` comes first, then `SUPERVISOR_<NAME>`, then flags; later wins, but a
wrong value is refused even where a later source overrides it. A relative path is below the working directory.
"""

from __future__ import annotations

from supervisor.config.declared import Config, Lane, LogFormat, LogLevel
from supervisor.config.rows import SettingInfo, settings
from supervisor.config.sources import Loaded, load, read
from supervisor.config.table import Conflict, Secret, Setting, SettingsTable

__all__ = [
    "Config",
    "Conflict",
    "Lane",
    "Loaded",
    "LogFormat",
    "LogLevel",
    "Secret",
    "Setting",
    "SettingInfo",
    "SettingsTable",
    "load",
    "read",
    "settings",
]
