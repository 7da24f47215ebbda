"""The rows that go between the runtime and the switches, with types."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


class Scope(enum.StrEnum):
    """What a switch stops."""

    KILL_SWITCH = "kill_switch"
    MODE = "mode"
    SERVICE = "service"
    TENANT = "tenant"
    QUEUE = "queue"
    KIND = "kind"


class Mode(enum.StrEnum):
    """What may start: everything, only jobs that change nothing, or only essential ones."""

    NORMAL = "normal"
    OBSERVE_ONLY = "observe_only"
    SAFE_MODE = "safe_mode"


@dataclass(frozen=True, slots=True)
class Switches:
    """The control row: what may not start, and what needs a permit of a limit to start. `epoch` counts its changes."""

    epoch: int
    killed: bool
    mode: Mode
    off_services: tuple[str, ...] = ()
    off_tenants: tuple[str, ...] = ()
    off_queues: tuple[str, ...] = ()
    off_kinds: tuple[str, ...] = ()
    gated_services: tuple[str, ...] = ()
    gated_tenants: tuple[str, ...] = ()
    gated_queues: tuple[str, ...] = ()
    gated_kinds: tuple[str, ...] = ()
    gated_tenanted: bool = False
    gated_all: bool = False

    @property
    def any_off(self) -> bool:
        """Whether anything may not start."""
        named = self.off_services or self.off_tenants or self.off_queues or self.off_kinds
        return self.killed or self.mode is not Mode.NORMAL or bool(named)

    @property
    def has_gates(self) -> bool:
        """Whether any job needs a permit to start."""
        named = self.gated_services or self.gated_tenants or self.gated_queues or self.gated_kinds
        return self.gated_tenanted or self.gated_all or bool(named)


@dataclass(frozen=True, slots=True)
class Setting:
    """One switch that is not as usual: by whom, why, since when, and when it turns back by itself if it does."""

    scope: Scope
    name: str | None
    value: bool | str
    reason: str
    actor: str
    since: datetime
    expires_at: datetime | None
    epoch: int


@dataclass(frozen=True, slots=True)
class RunningJob:
    """A job that runs in the scope of a switch, as of a dry run. `claimed_at` is ISO 8601."""

    id: int
    kind: str
    queue: str
    service: str
    tenant: str | None
    worker: int
    claimed_at: str


@dataclass(frozen=True, slots=True)
class Change:
    """What became of a change: the epoch with which it is in force, and what was set before and after.

    before, after: `value`, and if it is not as usual `since`, `reason`, `actor`, `expires_at`, as in the audit log. The
    rest is only for a dry run, else None and empty: how many waiting jobs would be stopped, how many run in the scope,
    whether these figures are `exact` or reckoned from a part, and up to 100 of those that run.
    """

    epoch: int
    changed: bool
    before: Mapping[str, object]
    after: Mapping[str, object]
    stopped_waiting: int | None = None
    stopped_running: int | None = None
    exact: bool | None = None
    running: tuple[RunningJob, ...] = ()


@dataclass(frozen=True, slots=True)
class SafetyCheck:
    """The answer to "may such work be done now?": `reason` is what forbids it, such as `tenant:acme`, else None.

    The five flags say what is set, whether or not it forbids this work. why, actor: what was said by whom when it was
    switched off.
    """

    allowed: bool
    reason: str | None
    global_kill_switch: bool
    service_disabled: bool
    website_paused: bool
    observe_only_mode: bool
    safe_mode: bool
    why: str | None
    actor: str | None
    epoch: int


ALL_ON: Final = SafetyCheck(
    allowed=True,
    reason=None,
    global_kill_switch=False,
    service_disabled=False,
    website_paused=False,
    observe_only_mode=False,
    safe_mode=False,
    why=None,
    actor=None,
    epoch=0,
)
"""The answer where nothing is off, for where there is no database to ask."""


@dataclass(frozen=True, slots=True)
class Unconfirmed:
    """A live worker that has not said yet that it has seen a change."""

    worker: int
    name: str
    host: str
    confirmed_epoch: int


@dataclass(frozen=True, slots=True)
class Confirmation:
    """How many of the live workers have confirmed an epoch, after how many seconds of waiting, and who has not."""

    confirmed: int
    of: int
    seconds: float
    missing: tuple[Unconfirmed, ...]


@dataclass(frozen=True, slots=True)
class Watch:
    """What a switchboard looks at: `expires_in` seconds a switch turns back; `revoking`: somebody is to be stopped."""

    epoch: int
    expires_in: float | None
    revoking: bool


@dataclass(frozen=True, slots=True)
class Revoked:
    """Some running jobs were stopped; `held_up`: others are in somebody's transaction. `done`: there are no more."""

    ids: tuple[int, ...]
    held_up: bool
    done: bool
