"""The state of the whole, the safety check, and the recovery of what dead workers hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from supervisor.store import control, workers
from supervisor.store.control import Mode
from supervisor.web.route import LOOK, RECOVER, Access, get, post
from supervisor.web.structs import Answer, Body, Count, Moment, Name
from supervisor.web.switching import now

if TYPE_CHECKING:
    from collections.abc import Sequence

    from supervisor.store.link import Link
    from supervisor.web.call import Call
    from supervisor.web.route import AnyRoute
    from supervisor.web.structs import NoBody, NoParams


class KillSwitchState(Answer, frozen=True, kw_only=True):
    """Whether it is on; `enabled`: it works."""

    active: bool
    enabled: bool


class Status(Answer, frozen=True, kw_only=True):
    """The whole in short. `healthy`: this process and the database work; a switch that is off is no illness."""

    healthy: bool
    kill_switch: KillSwitchState
    mode: Mode
    epoch: int
    timestamp: Moment


class Work(Body, frozen=True, kw_only=True):
    """What somebody wants to do."""

    service_name: Name | None = None
    website_id: Annotated[Name | int | None, msgspec.Meta(description="The tenant.")] = None
    requires_changes: Annotated[bool, msgspec.Meta(description="Whether it changes anything out there.")] = True
    queue: Name | None = None
    kind: Name | None = None
    essential: bool = False


class Checks(Answer, frozen=True, kw_only=True):
    """What is set, whether or not it forbids this work."""

    global_kill_switch: bool
    service_disabled: bool
    website_paused: bool
    observe_only_mode: bool
    safe_mode: bool


class Safety(Answer, frozen=True, kw_only=True):
    """Whether it may be done now. `reason` names the switch that forbids it; `detail` is why somebody set that."""

    allowed: bool
    reason: str | None
    checks: Checks
    detail: str | None
    triggered_by: str | None
    epoch: int
    timestamp: Moment


class RecoveredWorker(Answer, frozen=True, kw_only=True):
    """A worker whose jobs were freed. `lost`: it was silent beyond its lease."""

    worker: int
    lost: bool
    past_deadline: bool
    released: list[int]
    quarantined: list[int]


class Recovery(Answer, frozen=True, kw_only=True):
    """What was freed; every worker does the same by itself, every few seconds. `more`: call again for the rest."""

    recovered: Count
    quarantined: Count
    workers: list[RecoveredWorker]
    more: bool
    timestamp: Moment


BATCH: Final = 500
MOST: Final = 10_000
"""Jobs that one request frees at most."""


async def show_status(call: Call[NoParams, NoBody]) -> Status:
    """Say how things are, from one read of one row for all who ask at once."""
    switches = await call.site.switches.get()
    return Status(
        healthy=not call.site.board.is_blocked,
        kill_switch=KillSwitchState(active=switches.killed, enabled=True),
        mode=switches.mode,
        epoch=switches.epoch,
        timestamp=now(),
    )


async def check_safety(call: Call[NoParams, Work]) -> Safety:
    """Ask the same function that every claim asks."""
    body = call.body
    async with call.site.link() as link:
        found = await control.safety_check(
            link,
            body.service_name,
            None if body.website_id is None else str(body.website_id),
            requires_changes=body.requires_changes,
            queue=body.queue,
            kind=body.kind,
            essential=body.essential,
        )
    return Safety(
        allowed=found.allowed,
        reason=found.reason,
        checks=Checks(
            global_kill_switch=found.global_kill_switch,
            service_disabled=found.service_disabled,
            website_paused=found.website_paused,
            observe_only_mode=found.observe_only_mode,
            safe_mode=found.safe_mode,
        ),
        detail=found.why,
        triggered_by=found.actor,
        epoch=found.epoch,
        timestamp=now(),
    )


async def recover(call: Call[NoParams, NoBody]) -> Recovery:
    """Free what dead workers hold, at once."""
    async with call.site.link() as link:
        found = await _recovered(link, call.site.settings.max_losses)
    released = sum(len(one.released) for one in found)
    quarantined = sum(len(one.quarantined) for one in found)
    return Recovery(
        recovered=released,
        quarantined=quarantined,
        workers=found,
        more=released + quarantined >= MOST,
        timestamp=now(),
    )


async def _recovered(link: Link, max_losses: int) -> list[RecoveredWorker]:
    lost = set(await workers.find_lost(link))
    found = {
        worker: RecoveredWorker(worker=worker, lost=True, past_deadline=False, released=[], quarantined=[])
        for worker in sorted(lost)
    }
    left = MOST
    for held in await workers.find_held(link):
        one = RecoveredWorker(
            worker=held.worker,
            lost=held.worker in lost,
            past_deadline=held.past_deadline,
            released=[],
            quarantined=[],
        )
        found[held.worker] = one
        while left > 0 and (
            rows := await workers.release_lost(link, held.worker, min(BATCH, left), max_losses, held.past_deadline)
        ):
            left -= len(rows)
            one.released.extend(row.id for row in rows if not row.quarantined)
            one.quarantined.extend(row.id for row in rows if row.quarantined)
    return list(found.values())


ROUTES: Final[Sequence[AnyRoute]] = (
    get("/api/system/status", show_status, Status, "The whole in short", access=Access(LOOK.role, confined=True)),
    post(
        "/api/system/safety-check",
        check_safety,
        Safety,
        "May this be done now?",
        access=Access(LOOK.role, confined=True),
        body=Work,
    ),
    post("/api/system/jobs/recover-expired-locks", recover, Recovery, "Free what dead workers hold", access=RECOVER),
)
