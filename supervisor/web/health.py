"""How well everything is: what was found, component by component, and what to do about it.

The judgement of queues is handed in by whoever makes the server, so that HTTP and the command line say the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeAlias

from supervisor.errors import DatabaseUnavailable
from supervisor.store import control, figures, fleet, queue_facts
from supervisor.tree.slot import State

if TYPE_CHECKING:
    from supervisor.store.control import Switches
    from supervisor.store.figures import QueueFigures
    from supervisor.store.fleet import Alert
    from supervisor.store.queue_facts import WorkerFacts
    from supervisor.web.live import LiveBoard
    from supervisor.web.site import Site


class Level(StrEnum):
    """How bad it is."""

    HEALTHY = "healthy"
    WARNING = "warning"
    CRITICAL = "critical"


_RANK: Final = {level: rank for rank, level in enumerate(Level)}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not well, in which component, and what to do."""

    component: str
    level: Level
    subject: str | None
    problem: str
    advice: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the database says. `figures_age`: seconds since the queues were measured, None if they never were."""

    queues: Sequence[QueueFigures]
    workers: Sequence[WorkerFacts]
    switches: Switches
    alerts: Sequence[Alert]
    figures_age: float | None


Judge: TypeAlias = Callable[[Facts], Sequence[Finding]]

COMPONENTS: Final = ("database", "queue", "workers", "process")


@dataclass(frozen=True, slots=True)
class Judgement:
    """Everything that is not well, the worst first. `facts` are None where the database cannot be asked."""

    findings: Sequence[Finding]
    facts: Facts | None

    @property
    def level(self) -> Level:
        """How bad the worst is."""
        return worst(self.findings)


def worst(findings: Sequence[Finding]) -> Level:
    """Return how bad the worst of these is."""
    return max((finding.level for finding in findings), default=Level.HEALTHY, key=_RANK.__getitem__)


async def read_facts(site: Site) -> Facts:
    """Ask the database what health depends on; none of it costs more with more jobs. Raises DatabaseUnavailable."""
    async with site.link() as link:
        ages = await figures.ages(link)
        return Facts(
            queues=await figures.queues(link),
            workers=await queue_facts.live_workers(link),
            switches=await control.read(link),
            alerts=await fleet.alerts(link),
            figures_age=ages.get("queues"),
        )


async def judged(site: Site, max_age: float) -> Judgement:
    """Judge everything, from facts that are at most so many seconds old."""
    findings = list(_process(site.board))
    facts: Facts | None = None
    try:
        facts = await site.facts.get(max_age)
    except DatabaseUnavailable:
        advice = "see that it runs and can be reached; jobs go on by themselves once it can"
        findings.append(Finding("database", Level.CRITICAL, None, "the database cannot be asked", advice))
    if facts is not None:
        findings += [*site.judge(facts), *_fleet(facts)]
    findings.sort(key=lambda finding: -_RANK[finding.level])
    return Judgement(findings, facts)


def _process(board: LiveBoard) -> Iterator[Finding]:
    """Judge the process that answers, by what its main loop said last."""
    shown = board.shown
    if board.is_blocked:
        advice = "the log has the stack of what blocks it; a plain function (def) runs in a thread"
        problem = f"the main loop has not turned for {board.still_for:.0f} s"
        yield Finding("process", Level.CRITICAL, board.name, problem, advice)
    if shown.draining:
        yield Finding("process", Level.WARNING, board.name, "it is stopping and starts no jobs", "wait for its end")
    elif not shown.worker:
        yield Finding("process", Level.WARNING, board.name, "it is not registered yet", "see its log")
    elif not board.holds_lease:
        problem = "it cannot prove its lease, and starts no jobs"
        yield Finding("process", Level.CRITICAL, board.name, problem, "see that it reaches the database")
    if shown.outage:
        problem = "its actors cannot reach the database"
        yield Finding("database", Level.CRITICAL, board.name, problem, "see its log for the reason")
    for node in shown.tree.walk() if shown.tree is not None else ():
        if node.state in {State.BACKOFF, State.FAILED, State.ABANDONED}:
            level = Level.WARNING if node.state is State.BACKOFF else Level.CRITICAL
            problem = f"is {node.state.value} after {node.restarts} restarts: {node.last_outcome or 'no outcome'}"
            yield Finding("process", level, node.path, problem[:300], "see its log: python -m supervisor tree")


def _fleet(facts: Facts) -> Iterator[Finding]:
    for alert in facts.alerts:
        level = Level.CRITICAL if alert.alert == "several_singletons" else Level.WARNING
        yield Finding("workers", level, alert.subject, alert.detail, _ADVICE.get(alert.alert, "see the workers"))
    if facts.figures_age is None or facts.figures_age > figures.STALE:
        age = "never" if facts.figures_age is None else f"not for {facts.figures_age:.0f} s"
        advice = "every worker measures; see that one runs"
        yield Finding("queue", Level.WARNING, None, f"the queues were {age} measured", advice)


_ADVICE: Final = {
    "several_singletons": "stop all but one, and restore the index workers_singleton",
    "stale_worker": "its jobs are released when its lease ends; see whether its host lives",
    "hung_stopping": "see what it waits for: python -m supervisor tree --stacks; or kill it",
    "version_drift": "finish the roll-out, or roll it back",
}
