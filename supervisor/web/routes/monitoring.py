"""How well everything is: health, queues, failures, reliability."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from supervisor.store import figures, fleet
from supervisor.store.job_pages import PageFilter
from supervisor.web.health import Level, judged, worst
from supervisor.web.reports import (
    Health,
    QueueHealth,
    ReliabilityReport,
    Slow,
    Stats,
    found_of,
    health_of,
    queue_of,
    report_of,
    slow_of,
    stats_of,
)
from supervisor.web.route import LOOK, READ_JOBS, RECOVER, WRITE_JOBS, Reply, get, post
from supervisor.web.routes.jobs import JobPage, OneJob, Place, Retried, page_of, retry_job
from supervisor.web.routes.system import Recovery, recover
from supervisor.web.structs import Answer, Count, Moment, Name, Page, Params
from supervisor.web.switching import now

if TYPE_CHECKING:
    from collections.abc import Sequence

    from supervisor.web.call import Call
    from supervisor.web.route import AnyRoute
    from supervisor.web.structs import NoBody, NoParams

FACTS_AGE: Final = 1.0
"""Seconds for which what was read for health is shown again."""
_KEPT: Final = 14
_SHOWN: Final = 20


class FailedWanted(Params, frozen=True, kw_only=True):
    """Which failed jobs."""

    queue: Name | msgspec.UnsetType = msgspec.UNSET
    kind: Name | msgspec.UnsetType = msgspec.UNSET
    limit: Page = 50
    after: Place = msgspec.UNSET


class DaysWanted(Params, frozen=True, kw_only=True):
    """Over how many days, with today."""

    days: Annotated[int, msgspec.Meta(ge=1, le=90)] = 7


class Dashboard(Answer, frozen=True, kw_only=True):
    """Everything at a glance."""

    health: Health
    stats: Stats
    kill_switch: bool
    mode: str
    workers: Count
    versions: dict[str, int]
    slow_jobs: list[Slow]
    reliability: ReliabilityReport
    timestamp: Moment


# --- health ---------------------------------------------------------------------------------------------


async def show_health(call: Call[NoParams, NoBody]) -> Reply:
    """Say how well everything is; a critical state is also said by the status."""
    health = health_of(call.site.board, await judged(call.site, FACTS_AGE))
    return Reply(health, HTTPStatus.SERVICE_UNAVAILABLE if health.status is Level.CRITICAL else HTTPStatus.OK)


async def show_queue_health(call: Call[NoParams, NoBody]) -> QueueHealth:
    """Say how well the queues are."""
    found = await judged(call.site, FACTS_AGE)
    findings = [one for one in found.findings if one.component == "queue"]
    facts = found.facts or await call.site.facts.get()
    return QueueHealth(
        status=worst(findings),
        findings=found_of(findings),
        queues=[queue_of(row) for row in facts.queues],
        timestamp=now(),
    )


# --- queues ---------------------------------------------------------------------------------------------


async def show_stats(call: Call[NoParams, NoBody]) -> Stats:
    """Count jobs, from what was measured last."""
    async with call.site.link() as link:
        queues = await figures.queues(link)
        days = await figures.reliability(link, _KEPT)
    return stats_of(queues, days)


async def list_failed(call: Call[FailedWanted, NoBody]) -> JobPage:
    """List jobs that failed, the latest first."""
    wanted, who = call.params, call.identity
    only = PageFilter(
        queue=None if isinstance(wanted.queue, msgspec.UnsetType) else wanted.queue,
        kind=None if isinstance(wanted.kind, msgspec.UnsetType) else wanted.kind,
        queues=who.queues,
        tenants=who.tenants,
    )
    after = None if isinstance(wanted.after, msgspec.UnsetType) else wanted.after
    return await page_of(call, "failed", only, wanted.limit, after)


# --- reliability ----------------------------------------------------------------------------------------


async def show_reliability(call: Call[DaysWanted, NoBody]) -> ReliabilityReport:
    """Say how well the last days went."""
    async with call.site.link() as link:
        found = await figures.reliability(link, call.params.days)
    return report_of(found, call.params.days)


# --- at a glance ----------------------------------------------------------------------------------------


async def show_dashboard(call: Call[NoParams, NoBody]) -> Dashboard:
    """Show everything at a glance."""
    found = await judged(call.site, FACTS_AGE)
    facts = found.facts or await call.site.facts.get()
    async with call.site.link() as link:
        past = await figures.reliability(link, _KEPT)
        slow = await figures.slow_jobs(link, _SHOWN)
        versions = await fleet.versions(link)
    return Dashboard(
        health=health_of(call.site.board, found),
        stats=stats_of(facts.queues, past),
        kill_switch=facts.switches.killed,
        mode=facts.switches.mode.value,
        workers=len(facts.workers),
        versions=versions,
        slow_jobs=slow_of(slow),
        reliability=report_of(past, _KEPT),
        timestamp=now(),
    )


_AT: Final = "/api/monitoring"
ROUTES: Final[Sequence[AnyRoute]] = (
    get(
        f"{_AT}/health",
        show_health,
        Health,
        "How well is everything?",
        access=LOOK,
        others={HTTPStatus.SERVICE_UNAVAILABLE: Health},
    ),
    get(f"{_AT}/queue/health", show_queue_health, QueueHealth, "How well are the queues?", access=LOOK),
    get(f"{_AT}/queue/stats", show_stats, Stats, "How many jobs are there?", access=LOOK),
    get(f"{_AT}/queue/failed", list_failed, JobPage, "Jobs that failed", access=READ_JOBS, params=FailedWanted),
    get(
        f"{_AT}/reliability",
        show_reliability,
        ReliabilityReport,
        "How well did the last days go?",
        access=LOOK,
        params=DaysWanted,
    ),
    get(f"{_AT}/dashboard", show_dashboard, Dashboard, "Everything at a glance", access=LOOK),
    post(f"{_AT}/queue/retry/{{id}}", retry_job, Retried, "Run a job again", access=WRITE_JOBS, params=OneJob),
    post(f"{_AT}/recover", recover, Recovery, "Free what dead workers hold", access=RECOVER),
)
