"""Jobs: listed page by page, shown with what is known of them, run again, cancelled, and why they wait."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import fields
from datetime import date, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec

from supervisor.store import job_lives, job_pages, jobs, limits, steps
from supervisor.store.job_pages import LIVE, Ended, InDay, PageFilter
from supervisor.store.job_rows import JobStatus
from supervisor.store.tokens import Role
from supervisor.web.refusal import Refusal, not_found
from supervisor.web.route import READ_JOBS, WRITE_JOBS, get, post
from supervisor.web.structs import Answer, Body, JobId, Moment, Name, Page, Params, Person, Reason
from supervisor.web.switching import now

if TYPE_CHECKING:
    from collections.abc import Sequence

    from supervisor.store.job_listing import ListedJob
    from supervisor.store.job_rows import JobView
    from supervisor.store.link import Link
    from supervisor.web.call import Call
    from supervisor.web.route import AnyRoute
    from supervisor.web.structs import NoBody

Status = Literal[
    "live",
    "pending",
    "running",
    "retry",
    "blocked",
    "completed",
    "failed",
    "cancelled",
    "quarantined",
    "discarded",
]
Place = Annotated[
    str | msgspec.UnsetType,
    msgspec.Meta(description="Where to go on: `next` of the page before.", extra_json_schema={"type": "string"}),
]


class JobsWanted(Params, frozen=True, kw_only=True):
    """Which jobs. Without a status those that are not over."""

    status: Status = "live"
    queue: Name | msgspec.UnsetType = msgspec.UNSET
    kind: Name | msgspec.UnsetType = msgspec.UNSET
    tenant: Name | msgspec.UnsetType = msgspec.UNSET
    limit: Page = 50
    after: Place = msgspec.UNSET


class OneJob(Params, frozen=True, kw_only=True):
    """A job."""

    id: JobId


class JobLine(Answer, frozen=True, kw_only=True):
    """One job in short. `since`: when it was created, or started if it runs, or ended; `reason`: why it waits."""

    id: int
    kind: str
    queue: str
    service: str
    tenant: str | None
    status: JobStatus
    reason: str | None
    priority: int
    attempts: int
    max_attempts: int
    losses: int
    created_at: Moment
    since: Moment
    due_at: Moment | None
    claimed_by: int | None
    last_error: str | None


class JobPage(Answer, frozen=True, kw_only=True):
    """Some jobs. A page may be short, or empty, and have a `next` all the same: that much was looked at."""

    jobs: list[JobLine]
    next: str | None
    timestamp: Moment


class Step(Answer, frozen=True, kw_only=True):
    """A part of the job whose result is on record."""

    name: str
    place: int
    done: bool
    recorded_at: Moment


class Progress(Answer, frozen=True, kw_only=True):
    """How far it said it was."""

    done: int
    total: int | None
    updated_at: Moment


class Job(JobLine, frozen=True, kw_only=True):
    """Everything about one job. Arguments and tracebacks are only for operators: they may have secrets in them."""

    run_at: Moment
    finished_at: Moment | None
    claimed_at: Moment | None
    deadline_at: Moment | None
    interruptions: int
    lock_version: int
    timeout: float
    unique_key: str | None
    trace_parent: str | None
    args: Annotated[Any, msgspec.Meta(description="JSON; null for viewers.")]
    traceback: str | None
    steps: list[Step]
    progress: Progress | None
    timestamp: Moment


class Obstacle(Answer, frozen=True, kw_only=True):
    """One reason why it does not run: `what` is a word, `key` whose it is, `until` when it ends if that is known."""

    what: str
    key: str | None
    until: Moment | None
    detail: str


class Why(Answer, frozen=True, kw_only=True):
    """Every reason why a job does not run now."""

    id: int
    obstacles: list[Obstacle]
    timestamp: Moment


class Retried(Answer, frozen=True, kw_only=True):
    """A job that runs again."""

    id: int
    retried: bool
    timestamp: Moment


class Cancel(Body, frozen=True, kw_only=True):
    """Why a job is cancelled, and by whom; kept with the job."""

    reason: Reason
    triggered_by: Person


class Cancelled(Answer, frozen=True, kw_only=True):
    """A job that was cancelled; one that was running is being stopped."""

    id: int
    cancelled: bool
    was_running: bool
    timestamp: Moment


_PROBLEMS: Final = {
    "unknown": "nobody knows it; its history may be gone",
    "live": "it is not over",
    "completed": "it completed; enqueue a new one to do it again",
    "key taken": "another live job has its unique key",
}


# --- lists ----------------------------------------------------------------------------------------------


async def list_jobs(call: Call[JobsWanted, NoBody]) -> JobPage:
    """List jobs, the newest first; those that run, the oldest first."""
    wanted = call.params
    return await page_of(call, wanted.status, _filter(call), wanted.limit, _text(wanted.after))


async def page_of(call: Call[Any, NoBody], status: Status, wanted: PageFilter, most: int, after: str | None) -> JobPage:
    """Make one page of a list."""
    async with call.site.link() as link:
        if status == "completed":
            place = None if after is None else InDay(*_place(after, date, int, datetime, int))
            done = await job_pages.completed(link, wanted, most, place=place)
            return _page(done.jobs, done.go_on)
        if status == "live" or status in LIVE:
            statuses = LIVE if status == "live" else [status]
            number = None if after is None else int(_place(after, int)[0])
            some = await job_pages.live(link, wanted, statuses, most, place=number, oldest_first=status == "running")
            return _page(some.jobs, None if some.go_on is None else (some.go_on,))
        at = None if after is None else Ended(*_place(after, datetime, int))
        over = await job_pages.ended(link, wanted, status, most, place=at)
        return _page(over.jobs, over.go_on)


def _filter(call: Call[JobsWanted, NoBody]) -> PageFilter:
    wanted, who = call.params, call.identity
    return PageFilter(
        queue=_text(wanted.queue),
        kind=_text(wanted.kind),
        tenant=_text(wanted.tenant),
        queues=who.queues,
        tenants=who.tenants,
    )


def _text(given: str | msgspec.UnsetType) -> str | None:
    return None if isinstance(given, msgspec.UnsetType) else given


def _page(found: Sequence[ListedJob], go_on: Sequence[object] | None) -> JobPage:
    return JobPage(jobs=[line(job) for job in found], next=None if go_on is None else _token(go_on), timestamp=now())


def line(job: ListedJob) -> JobLine:
    """Describe a job in short."""
    return msgspec.convert(job, JobLine, from_attributes=True)


def _token(place: Sequence[object]) -> str:
    text = json.dumps([each.isoformat() if isinstance(each, date) else each for each in place])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _place(token: str, *kinds: type) -> list[Any]:
    """Read where to go on. Raises Refusal."""
    try:
        found = json.loads(base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True))
        return list(msgspec.convert(found, tuple[kinds], strict=True))  # type: ignore[valid-type]  # made just now
    except (ValueError, RecursionError, binascii.Error, msgspec.ValidationError):
        raise Refusal(
            HTTPStatus.NOT_FOUND,
            "no_such_page",
            "this is not the `next` of a page of this list",
            field="after",
            remedy="begin without it",
        ) from None


# --- one job --------------------------------------------------------------------------------------------


async def show_job(call: Call[OneJob, NoBody]) -> Job:
    """Show everything about a job."""
    async with call.site.link() as link:
        view = await _seen(call, link)
        recorded = await steps.of(link, view.id)
        progress = await job_lives.progress(link, view.id)
    usual = {field.name: getattr(view, field.name) for field in fields(view)}
    may_see = call.identity.is_at_least(Role.OPERATOR)
    return Job(
        **{
            **usual,
            "args": json.loads(view.args) if may_see else None,
            "traceback": view.traceback if may_see else None,
            "since": view.finished_at or view.claimed_at or view.created_at,
        },
        steps=[msgspec.convert(step, Step, from_attributes=True) for step in recorded],
        progress=None if progress is None else msgspec.convert(progress, Progress, from_attributes=True),
        timestamp=now(),
    )


async def explain_job(call: Call[OneJob, NoBody]) -> Why:
    """Say why a job does not run."""
    async with call.site.link() as link:
        view = await _seen(call, link)
        found = await limits.why(link, view.id)
    obstacles = [msgspec.convert(one, Obstacle, from_attributes=True) for one in found]
    return Why(id=view.id, obstacles=obstacles, timestamp=now())


async def retry_job(call: Call[OneJob, NoBody]) -> Retried:
    """Run a job again that is over, or at once if it waits."""
    async with call.site.link() as link:
        view = await _seen(call, link)
        (found,) = await jobs.retry(link, [view.id])
    if found.problem is not None:
        raise _conflict(f"job {view.id} cannot be run again: {_PROBLEMS[found.problem]}")
    return Retried(id=view.id, retried=True, timestamp=now())


async def cancel_job(call: Call[OneJob, Cancel]) -> Cancelled:
    """Cancel a job that is not over."""
    by = f"cancelled by {call.actor(call.body.triggered_by)}: {call.body.reason}"
    async with call.site.link() as link:
        view = await _seen(call, link)
        found = await jobs.cancel(link, [view.id], by)
    if not found:
        raise _conflict(f"job {view.id} is over already")
    return Cancelled(id=view.id, cancelled=True, was_running=found[0].was_running, timestamp=now())


async def _seen(call: Call[OneJob, Any], link: Link) -> JobView:
    """Read a job that the token covers. Raises Refusal for one that is not there, or none of its business."""
    what = f"job {call.params.id}"
    view = await jobs.show(link, call.params.id)
    if view is None:
        raise not_found(f"there is no {what}, neither live nor in the history")
    call.must_see(f"{what}, neither live nor in the history", tenant=view.tenant, queue=view.queue)
    return view


def _conflict(message: str) -> Refusal:
    return Refusal(HTTPStatus.CONFLICT, "conflict", message)


_ONE: Final = "/api/jobs/{id}"
ROUTES: Final[Sequence[AnyRoute]] = (
    get("/api/jobs", list_jobs, JobPage, "List jobs", access=READ_JOBS, params=JobsWanted),
    get(_ONE, show_job, Job, "Show one job", access=READ_JOBS, params=OneJob),
    get(f"{_ONE}/why", explain_job, Why, "Why does it not run?", access=READ_JOBS, params=OneJob),
    post(f"{_ONE}/retry", retry_job, Retried, "Run it again", access=WRITE_JOBS, params=OneJob),
    post(f"{_ONE}/cancel", cancel_job, Cancelled, "Cancel it", access=WRITE_JOBS, params=OneJob, body=Cancel),
)
