"""Changes a switch on behalf of a request, and says what became of it and who has confirmed it."""

from __future__ import annotations

import difflib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from supervisor.store import control, job_listing, kinds
from supervisor.store.control import Scope
from supervisor.web.route import Reply
from supervisor.web.structs import Answer, Body, Count, Moment, Person, Reason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from supervisor.store.control import Change, Confirmation, RunningJob, Setting
    from supervisor.store.link import Link
    from supervisor.web.call import Call

PATIENCE: Final = 4.0
"""Seconds that a change may wait for the lock of the switches."""
LONGEST_WAIT: Final = 5.0
_LONGEST_ACTOR: Final = 256

Wait = Annotated[
    float, msgspec.Meta(ge=0, le=LONGEST_WAIT, description="Seconds to wait until all live workers have confirmed.")
]


class Resume(Body, frozen=True, kw_only=True):
    """Lets go on what was stopped."""

    reason: Reason
    triggered_by: Person
    dry_run: Annotated[bool, msgspec.Meta(description="Change nothing, and say what it would do.")] = False
    wait: Wait = 0.0


class Stop(Resume, frozen=True, kw_only=True):
    """Stops something."""

    cancel_running: Annotated[bool, msgspec.Meta(description="Also stop what runs; it costs no attempt.")] = False
    expires_in: Annotated[
        Annotated[float, msgspec.Meta(ge=1, le=31_622_400)] | None,
        msgspec.Meta(description="Seconds after which it turns back by itself."),
    ] = None


class SwitchState(Answer, frozen=True, kw_only=True):
    """What is set. The rest is null where it is as usual."""

    value: bool | str
    reason: str | None = None
    triggered_by: str | None = None
    since: Moment | None = None
    expires_at: Moment | None = None


class Silent(Answer, frozen=True, kw_only=True):
    """A live worker that has not confirmed: it starts nothing either, but what it runs may run on."""

    id: int
    name: str
    host: str
    confirmed_epoch: int


class Confirmed(Answer, frozen=True, kw_only=True):
    """How many live workers have confirmed the epoch, after how many seconds of waiting."""

    confirmed: Count
    of: Count
    seconds: float
    missing: list[Silent]


class Stopped(Answer, frozen=True, kw_only=True):
    """A running job that the change would stop."""

    id: int
    kind: str
    queue: str
    service: str
    tenant: str | None
    worker: int
    since: str


class Effect(Answer, frozen=True, kw_only=True):
    """What a dry run found: jobs that would be stopped; `exact` is false where it was told from a part."""

    waiting: Count
    running: Count
    exact: bool
    jobs: list[Stopped]


class Changed(Answer, frozen=True, kw_only=True):
    """What became of a change. It is in force once this is answered; what was so already is no change."""

    changed: bool
    dry_run: bool
    epoch: int
    before: SwitchState
    after: SwitchState
    cancelled: Annotated[
        int | None,
        msgspec.Meta(description="Running jobs that were stopped; null if not asked for, or still under way."),
    ] = None
    confirmation: Confirmed | None = None
    effect: Effect | None = None
    known: Annotated[bool, msgspec.Meta(description="Whether any job is known to have this name in it.")] = True
    did_you_mean: tuple[str, ...] = ()
    timestamp: Moment


async def change(
    call: Call[Any, Any],
    scope: Scope,
    name: str | None,
    terms: Resume,
    *,
    value: bool | str,
) -> Reply:
    """Set a switch as the request wants, and answer with what became of it."""
    stops = terms if isinstance(terms, Stop) else None
    seconds = None if stops is None else stops.expires_in
    async with call.site.link() as link:
        ends = None if seconds is None else await job_listing.now(link) + timedelta(seconds=seconds)
        made = await control.change_switch(
            link,
            scope,
            name,
            value,
            reason=terms.reason,
            actor=call.actor(terms.triggered_by)[:_LONGEST_ACTOR],
            source=call.source,
            request_id=call.request_id,
            cancel_running=stops is not None and stops.cancel_running,
            expires_at=ends,
            dry_run=terms.dry_run,
            if_epoch=call.if_match,
            within=PATIENCE,
        )
        cancelled, confirmation = None, None
        if not terms.dry_run:
            if stops is not None and stops.cancel_running:
                cancelled = await control.stopped(link, made.epoch, terms.wait)
            confirmation = confirmed(await control.confirmed(link, made.epoch, terms.wait))
        meant = await _meant(link, scope, name) if value is True else None
    answer = Changed(
        changed=made.changed,
        dry_run=terms.dry_run,
        epoch=made.epoch,
        before=_state(made.before),
        after=_state(made.after),
        cancelled=cancelled,
        confirmation=confirmation,
        effect=_effect(made) if terms.dry_run else None,
        known=meant is None,
        did_you_mean=tuple(meant or ()),
        timestamp=now(),
    )
    return Reply(answer, headers=etag(made.epoch))


def etag(epoch: int) -> Mapping[str, str]:
    """Return the header by which a change can say which epoch it was made for."""
    return {"ETag": f'"{epoch}"'}


def now() -> datetime:
    """Return the time that answers are stamped with."""
    return datetime.now(UTC)


def state_of(value: bool | str, setting: Setting | None) -> SwitchState:  # noqa: FBT001 - what it is about
    """Describe a switch as it stands."""
    if setting is None:
        return SwitchState(value=value)
    return SwitchState(
        value=value,
        reason=setting.reason,
        triggered_by=setting.actor,
        since=setting.since,
        expires_at=setting.expires_at,
    )


def confirmed(found: Confirmation) -> Confirmed:
    """Describe who has confirmed."""
    missing = [
        Silent(id=one.worker, name=one.name, host=one.host, confirmed_epoch=one.confirmed_epoch)
        for one in found.missing
    ]
    return Confirmed(confirmed=found.confirmed, of=found.of, seconds=round(found.seconds, 4), missing=missing)


def _state(found: Mapping[str, object]) -> SwitchState:
    return msgspec.convert(
        {
            "value": found["value"],
            "reason": found.get("reason"),
            "triggeredBy": found.get("actor"),
            "since": found.get("since"),
            "expiresAt": found.get("expires_at"),
        },
        SwitchState,
    )


def _effect(made: Change) -> Effect:
    return Effect(
        waiting=made.stopped_waiting or 0,
        running=made.stopped_running or 0,
        exact=bool(made.exact),
        jobs=[_running(job) for job in made.running],
    )


def _running(job: RunningJob) -> Stopped:
    return Stopped(
        id=job.id,
        kind=job.kind,
        queue=job.queue,
        service=job.service,
        tenant=job.tenant,
        worker=job.worker,
        since=job.claimed_at,
    )


async def _meant(link: Link, scope: Scope, name: str | None) -> list[str] | None:
    """Return the names that may have been meant, None if this one is known: a mistyped one stops nothing."""
    known = await names_known(link, scope)
    if known is None or name is None or name in known:
        return None
    return difflib.get_close_matches(name, known, n=3)


async def names_known(link: Link, scope: Scope) -> Sequence[str] | None:
    """Return the names in a scope that workers have offered; None where they do not."""
    match scope:
        case Scope.SERVICE:
            return sorted({kind.service for kind in await kinds.listed(link)})
        case Scope.QUEUE:
            return sorted({kind.queue for kind in await kinds.listed(link)})
        case Scope.KIND:
            return [kind.kind for kind in await kinds.listed(link)]
        case _:
            return None
