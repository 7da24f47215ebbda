"""Says in words what a switch is set to, and which command sets it back."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from supervisor.cli.text_table import plain

if TYPE_CHECKING:
    from collections.abc import Mapping

PROGRAM: Final = "python -m supervisor"

_OFF: Final[Mapping[str, str]] = {"service": "disabled", "tenant": "paused", "queue": "paused", "kind": "paused"}
_BACK: Final[Mapping[str, str]] = {"service": "enable", "tenant": "resume", "queue": "resume", "kind": "resume"}
_MODES: Final[Mapping[str, str]] = {
    "normal": "every job may start",
    "observe_only": "only jobs that change nothing start, on every host",
    "safe_mode": "only essential jobs start, on every host",
}


def headline(scope: str, name: str | None, value: object) -> str:
    """Say what holds now: `kill switch active: no job starts on any host`."""
    if scope == "kill_switch":
        active, inactive = "active: no job starts on any host", "inactive: jobs may start"
        return f"kill switch {active if value is True else inactive}"
    if scope == "mode":
        return f"mode {value}: {_MODES.get(str(value), 'not known to this release')}"
    what = f"{scope} {plain(str(name))}"
    state = f" {_OFF.get(scope, 'off')}: none of its jobs starts on any host"
    return what + (state if value is True else ": its jobs may start")


def back(scope: str, name: str | None) -> str:
    """Return the command that turns it back, for copying; the reason is left to the person."""
    if scope == "kill_switch":
        words = ["kill-switch", "deactivate"]
    elif scope == "mode":
        words = ["mode", "set", "normal"]
    else:
        words = [scope, _BACK.get(scope, "enable"), name or ""]
    return f"{PROGRAM} {shlex.join(words)} --reason …"


def title(scope: str, name: str | None) -> str:
    """Name a switch: `kill switch`, `mode`, `tenant acme`."""
    return plain(" ".join(filter(None, [scope.replace("_", " "), name])))
