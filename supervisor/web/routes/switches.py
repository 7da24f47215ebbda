"""The switches: the kill switch, the mode, and what is off by its name."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from supervisor.store import control, limits
from supervisor.store.control import Mode, Scope
from supervisor.web.refusal import Refusal
from supervisor.web.route import CONTROL_QUEUES, LOOK, SWITCH, SWITCH_CONFINED, Access, Method, Reply, get, post
from supervisor.web.structs import Answer, Body, Moment, Name, Params, Person, Reason
from supervisor.web.switching import (
    Changed,
    Confirmed,
    Resume,
    Stop,
    SwitchState,
    change,
    confirmed,
    etag,
    names_known,
    now,
    state_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from supervisor.web.call import Call
    from supervisor.web.route import AnyRoute
    from supervisor.web.structs import NoBody, NoParams


class Named(Params, frozen=True, kw_only=True):
    """A service, a queue or a kind."""

    name: Name


class Website(Params, frozen=True, kw_only=True):
    """A tenant."""

    id: Name


class KillSwitch(Answer, frozen=True, kw_only=True):
    """The kill switch. `enabled` says that it works where it is active: it always does, for the claim itself asks."""

    active: bool
    enabled: bool
    reason: str | None
    triggered_by: str | None
    since: Moment | None
    expires_at: Moment | None
    epoch: int
    confirmation: Confirmed
    timestamp: Moment


class ModeNow(Answer, frozen=True, kw_only=True):
    """What may start: everything, only jobs that change nothing, or only essential ones."""

    mode: Mode
    reason: str | None
    triggered_by: str | None
    since: Moment | None
    expires_at: Moment | None
    epoch: int
    timestamp: Moment


class ModeChange(Stop, frozen=True, kw_only=True):
    """Another mode."""

    mode: Mode


class NamedStatus(Answer, frozen=True, kw_only=True):
    """Whether jobs of this name may start; of a tenant, nobody knows whether it exists."""

    scope: Scope
    name: str
    enabled: bool
    known: bool | None
    reason: str | None
    triggered_by: str | None
    since: Moment | None
    expires_at: Moment | None
    epoch: int
    timestamp: Moment


class OffSwitch(SwitchState, frozen=True, kw_only=True):
    """One switch that is not as usual."""

    scope: Scope
    name: str | None


class Switches(Answer, frozen=True, kw_only=True):
    """Everything that is not as usual, up to 1000 of it."""

    epoch: int
    any_off: bool
    has_limits: bool
    switches: list[OffSwitch]
    timestamp: Moment


class WeightChange(Body, frozen=True, kw_only=True):
    """How many turns a tenant gets, beside others with work: one with 2 gets twice those of one with 1."""

    weight: Annotated[float, msgspec.Meta(ge=0.01, le=100)]
    reason: Reason
    triggered_by: Person


class WeightChanged(Answer, frozen=True, kw_only=True):
    """Whether it had another weight."""

    changed: bool
    weight: float
    timestamp: Moment


async def show_kill_switch(call: Call[NoParams, NoBody]) -> Reply:
    """Say whether it is on, since when and why, and who has confirmed."""
    async with call.site.link() as link:
        switches = await control.read(link)
        found = await control.settings(link, Scope.KILL_SWITCH, most=1)
        confirmation = confirmed(await control.confirmed(link, switches.epoch, 0.0))
    state = state_of(switches.killed, found[0] if found else None)
    answer = KillSwitch(
        active=switches.killed,
        enabled=True,
        reason=state.reason,
        triggered_by=state.triggered_by,
        since=state.since,
        expires_at=state.expires_at,
        epoch=switches.epoch,
        confirmation=confirmation,
        timestamp=now(),
    )
    return Reply(answer, headers=etag(switches.epoch))


async def activate(call: Call[NoParams, Stop]) -> Reply:
    """Let nothing start anywhere."""
    return await change(call, Scope.KILL_SWITCH, None, call.body, value=True)


async def deactivate(call: Call[NoParams, Resume]) -> Reply:
    """Let go on what the other switches let."""
    return await change(call, Scope.KILL_SWITCH, None, call.body, value=False)


async def show_mode(call: Call[NoParams, NoBody]) -> Reply:
    """Say which mode it is."""
    async with call.site.link() as link:
        switches = await control.read(link)
        found = await control.settings(link, Scope.MODE, most=1)
    state = state_of(switches.mode, found[0] if found else None)
    answer = ModeNow(
        mode=switches.mode,
        reason=state.reason,
        triggered_by=state.triggered_by,
        since=state.since,
        expires_at=state.expires_at,
        epoch=switches.epoch,
        timestamp=now(),
    )
    return Reply(answer, headers=etag(switches.epoch))


async def set_mode(call: Call[NoParams, ModeChange]) -> Reply:
    """Set the mode."""
    if call.body.mode is Mode.NORMAL and call.body.expires_in is not None:
        raise Refusal(
            HTTPStatus.CONFLICT,
            "conflict",
            "the mode normal is what others expire to",
            field="expiresIn",
            remedy="leave it out",
        )
    return await change(call, Scope.MODE, None, call.body, value=call.body.mode.value)


async def show_switches(call: Call[NoParams, NoBody]) -> Reply:
    """List everything that is not as usual."""
    async with call.site.link() as link:
        switches = await control.read(link)
        found = await control.settings(link)
    off = [
        OffSwitch(
            scope=one.scope,
            name=one.name,
            value=one.value,
            reason=one.reason,
            triggered_by=one.actor,
            since=one.since,
            expires_at=one.expires_at,
        )
        for one in found
    ]
    answer = Switches(
        epoch=switches.epoch,
        any_off=switches.any_off,
        has_limits=switches.has_gates,
        switches=off,
        timestamp=now(),
    )
    return Reply(answer, headers=etag(switches.epoch))


async def set_weight(call: Call[Website, WeightChange]) -> WeightChanged:
    """Give a tenant a weight."""
    call.must_cover(tenant=call.params.id)
    async with call.site.link() as link:
        changed = await limits.set_weight(
            link,
            call.params.id,
            call.body.weight,
            reason=call.body.reason,
            actor=call.actor(call.body.triggered_by),
            source=call.source,
            request_id=call.request_id,
        )
    return WeightChanged(changed=changed, weight=call.body.weight, timestamp=now())


async def _status(call: Call[Any, NoBody], scope: Scope, name: str) -> Reply:
    async with call.site.link() as link:
        switches = await control.read(link)
        found = await control.settings(link, scope, name, most=1)
        known = await names_known(link, scope)
    off = {
        Scope.SERVICE: switches.off_services,
        Scope.TENANT: switches.off_tenants,
        Scope.QUEUE: switches.off_queues,
        Scope.KIND: switches.off_kinds,
    }[scope]
    state = state_of(name in off, found[0] if found else None)
    answer = NamedStatus(
        scope=scope,
        name=name,
        enabled=name not in off,
        known=None if known is None else name in known,
        reason=state.reason,
        triggered_by=state.triggered_by,
        since=state.since,
        expires_at=state.expires_at,
        epoch=switches.epoch,
        timestamp=now(),
    )
    return Reply(answer, headers=etag(switches.epoch))


def _by_name(scope: Scope, path: str, off: str, on: str, access: Access) -> Sequence[AnyRoute]:
    """Make the three routes of a scope that has names."""

    def covered(call: Call[Any, Any]) -> str:
        name = str(call.params.id if scope is Scope.TENANT else call.params.name)
        tenant = name if scope is Scope.TENANT else None
        call.must_cover(tenant=tenant, queue=name if scope is Scope.QUEUE else None)
        return name

    async def show(call: Call[Any, NoBody]) -> Reply:
        return await _status(call, scope, covered(call))

    async def stop(call: Call[Any, Stop]) -> Reply:
        return await change(call, scope, covered(call), call.body, value=True)

    async def resume(call: Call[Any, Resume]) -> Reply:
        return await change(call, scope, covered(call), call.body, value=False)

    params = Website if scope is Scope.TENANT else Named
    hole = "{id}" if scope is Scope.TENANT else "{name}"
    where = f"/api/system/{path}/{hole}"
    look = Access(LOOK.role, confined=access.confined)
    what = "tenant" if scope is Scope.TENANT else scope.value
    return (
        get(f"{where}/status", show, NamedStatus, f"May jobs of this {what} start?", access=look, params=params),
        post(
            f"{where}/{off}",
            stop,
            Changed,
            f"Let no job of this {what} start",
            access=access,
            params=params,
            body=Stop,
        ),
        post(
            f"{where}/{on}",
            resume,
            Changed,
            f"Let jobs of this {what} start again",
            access=access,
            params=params,
            body=Resume,
        ),
    )


_KILL: Final = "/api/system/kill-switch"
ROUTES: Final[Sequence[AnyRoute]] = (
    get(_KILL, show_kill_switch, KillSwitch, "Is the kill switch on?", access=LOOK),
    post(f"{_KILL}/activate", activate, Changed, "Let nothing start anywhere", access=SWITCH, body=Stop),
    post(f"{_KILL}/deactivate", deactivate, Changed, "Let jobs start again", access=SWITCH, body=Resume),
    get("/api/system/mode", show_mode, ModeNow, "Which mode is it?", access=LOOK),
    post("/api/system/mode", set_mode, Changed, "Set the mode", access=SWITCH, body=ModeChange),
    get("/api/system/switches", show_switches, Switches, "Everything that is not as usual", access=LOOK),
    *_by_name(Scope.SERVICE, "services", "disable", "enable", SWITCH),
    *_by_name(Scope.TENANT, "websites", "pause", "resume", SWITCH_CONFINED),
    *_by_name(Scope.QUEUE, "queues", "pause", "resume", CONTROL_QUEUES),
    *_by_name(Scope.KIND, "kinds", "pause", "resume", SWITCH),
    post(
        "/api/system/websites/{id}/weight",
        set_weight,
        WeightChanged,
        "Give a tenant more or fewer turns",
        access=SWITCH_CONFINED,
        params=Website,
        body=WeightChange,
        method=Method.PUT,
    ),
)
