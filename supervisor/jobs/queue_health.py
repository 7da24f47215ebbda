"""Judges the health of queues from what was counted: how bad it is, why, and what to do about it."""

from __future__ import annotations

import enum
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from supervisor.jobs.pressure import Cause, Pressure, Reading

if TYPE_CHECKING:
    from supervisor.store.queue_facts import Switches, WorkerFacts
    from supervisor.store.queues import QueueStats

PROGRAM: Final = "python -m supervisor"
_MINUTE, _HOUR = 60.0, 3600.0


class Level(enum.IntEnum):
    """How bad it is; the number is also the exit code of `queue health`."""

    HEALTHY = 0
    WARNING = 1
    CRITICAL = 2

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Limits:
    """From where on something is a warning, and critical. Ages are in seconds, failures a share of what ended."""

    depth: tuple[float, float] = (10_000, 100_000)
    age: tuple[float, float] = (60.0, 600.0)
    failures: tuple[float, float] = (0.1, 0.5)
    least_ended: int = 20
    """Below so many jobs in an hour a share says nothing."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not well; `queue` is None for what concerns all."""

    level: Level
    check: str
    queue: str | None
    problem: str
    advice: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What was counted. `workers` are those not known to be over; `holders` those that hold what they cannot finish.

    age: seconds since the queues were measured, None if they were counted for this. full: the depth of each queue that
    takes no more, and the most that it takes. slow: how many runs take much longer than their kind usually does.
    database: what makes the database suffer, if anything.
    """

    queues: Sequence[QueueStats]
    workers: Sequence[WorkerFacts]
    switches: Switches
    holders: Sequence[int] = ()
    age: float | None = None
    full: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    slow: int = 0
    database: Reading = field(default_factory=Reading)


@dataclass(frozen=True, slots=True)
class Judgement:
    """The whole, and everything that is not well, the worst first."""

    level: Level
    findings: Sequence[Finding] = field(default_factory=tuple)


_Check: TypeAlias = Callable[[Facts, Limits], Iterator[Finding]]


def judge(facts: Facts, limits: Limits | None = None) -> Judgement:
    """Judge what was counted."""
    limits = limits or Limits()
    findings = [finding for check in _CHECKS for finding in check(facts, limits)]
    findings.sort(key=lambda finding: -finding.level)
    return Judgement(max((finding.level for finding in findings), default=Level.HEALTHY), findings)


def _switches(facts: Facts, _limits: Limits) -> Iterator[Finding]:
    switches = facts.switches
    if switches.killed:
        yield Finding(
            Level.WARNING,
            "switches",
            None,
            "the kill switch is on: no job starts anywhere",
            f"when it is safe: {PROGRAM} kill-switch deactivate --reason …",
        )
    if switches.mode != "normal":
        problem = f"the mode is {switches.mode}: not every job may start"
        advice = f"when it is safe: {PROGRAM} mode set normal --reason …"
        yield Finding(Level.WARNING, "switches", None, problem, advice)
    for row in facts.queues:
        if row.queue in switches.off_queues and row.ready:
            advice = f"{PROGRAM} queue resume {shlex.quote(row.queue)} --reason …"
            yield Finding(Level.WARNING, "switches", row.queue, f"is paused; jobs waiting in it: {row.ready}", advice)


def _depth(facts: Facts, limits: Limits) -> Iterator[Finding]:
    for row in facts.queues:
        level = _level(row.ready, limits.depth)
        if level is not Level.HEALTHY:
            yield Finding(
                level,
                "depth",
                row.queue,
                f"jobs ready to run: {row.ready}",
                "start more workers, raise their concurrency, or enqueue more slowly",
            )


def _age(facts: Facts, limits: Limits) -> Iterator[Finding]:
    for row in facts.queues:
        if not row.ready or row.oldest_ready is None or _stands_still(facts, row.queue):
            continue
        level = _level(row.oldest_ready, limits.age)
        if level is not Level.HEALTHY:
            yield Finding(
                level,
                "age",
                row.queue,
                f"a job has been ready for {_span(row.oldest_ready)}",
                _TAKE_MORE if row.running else _TAKE_ANY,
            )


def _workers(facts: Facts, _limits: Limits) -> Iterator[Finding]:
    alive = [worker for worker in facts.workers if worker.takes_jobs]
    for row in facts.queues:
        if not row.ready or any(worker.serves(row.queue) for worker in alive):
            continue
        if alive:
            advice = f"start one with --queues {row.queue}, or correct the queue of these jobs"
        else:
            advice = f"start one: {PROGRAM} --app module:name"
        yield Finding(
            Level.CRITICAL,
            "workers",
            row.queue,
            f"no live worker takes from it; jobs ready to run: {row.ready}",
            advice,
        )
    if not alive and not any(row.ready for row in facts.queues):
        yield Finding(Level.WARNING, "workers", None, "no worker is alive", f"start one: {PROGRAM} --app module:name")


def _leases(facts: Facts, _limits: Limits) -> Iterator[Finding]:
    late = [worker for worker in facts.workers if worker.lease_left <= 0]
    recover = f"{PROGRAM} jobs recover-expired-locks, and see that a worker runs: it does this by itself"
    if late:
        names = ", ".join(worker.name for worker in late[:3]) + (", …" if len(late) > 3 else "")  # noqa: PLR2004
        yield Finding(
            Level.WARNING, "leases", None, f"workers silent beyond their lease: {len(late)} ({names})", recover
        )
    if facts.holders:
        listed = ", ".join(map(str, facts.holders[:5]))
        yield Finding(
            Level.WARNING, "leases", None, f"jobs are held by workers that will not finish them: {listed}", recover
        )


def _suspects(facts: Facts, _limits: Limits) -> Iterator[Finding]:
    for row in facts.queues:
        if row.suspects:
            yield Finding(
                Level.WARNING,
                "suspects",
                row.queue,
                f"jobs that a worker died with, to run again in a process of their own: {row.suspects}",
                f"see what killed it: {PROGRAM} jobs show ID",
            )


def _failures(facts: Facts, limits: Limits) -> Iterator[Finding]:
    for row in facts.queues:
        ended = row.completed_1h + row.failed_1h
        if ended < limits.least_ended:
            continue
        level = _level(row.failed_1h / ended, limits.failures)
        if level is not Level.HEALTHY:
            share = f"{row.failed_1h / ended:.0%}"
            yield Finding(
                level,
                "failures",
                row.queue,
                f"{row.failed_1h} of {ended} jobs ({share}) failed within the last hour",
                f"see why: {PROGRAM} jobs list --status failed --queue {row.queue}",
            )


def _blocked(facts: Facts, _limits: Limits) -> Iterator[Finding]:
    for row in facts.queues:
        if row.blocked:
            yield Finding(
                Level.WARNING,
                "blocked",
                row.queue,
                f"jobs that wait until a person says what became of a step: {row.blocked}",
                f"{PROGRAM} jobs list --status blocked, then jobs resolve",
            )


def _full(facts: Facts, _limits: Limits) -> Iterator[Finding]:
    for queue, (depth, most) in facts.full.items():
        yield Finding(
            Level.CRITICAL,
            "full",
            queue,
            f"takes no more: jobs waiting {depth}, at most {most}",
            f"start more workers, or raise it: {PROGRAM} queue set {queue} --max-depth",
        )


def _slow(facts: Facts, _limits: Limits) -> Iterator[Finding]:
    if facts.slow:
        yield Finding(
            Level.WARNING,
            "slow",
            None,
            f"jobs that run for more than twice what their kind usually takes: {facts.slow}",
            f"look at them: {PROGRAM} queue slow",
        )


def _database(facts: Facts, _limits: Limits) -> Iterator[Finding]:
    reading, suffers = facts.database, Pressure()
    suffers.judge(reading)
    if Cause.OLD_SNAPSHOT in suffers.causes:
        yield Finding(
            Level.WARNING,
            "database",
            None,
            f"a transaction open for {_span(reading.oldest_snapshot)} keeps {reading.dead_rows:.0f} dead rows",
            "end it; pg_stat_activity shows it, ordered by xact_start",
        )
    if Cause.DEAD_ROWS in suffers.causes:
        yield Finding(
            Level.WARNING,
            "database",
            None,
            f"autovacuum does not keep up: dead rows in the table of jobs {reading.dead_rows:.0f}",
            "see that autovacuum is on and not held up: pg_stat_progress_vacuum",
        )


_CHECKS: Final[Sequence[_Check]] = (
    _switches,
    _workers,
    _leases,
    _full,
    _age,
    _depth,
    _failures,
    _blocked,
    _suspects,
    _slow,
    _database,
)


_TAKE_MORE: Final = "start more workers, or give urgent jobs a better priority or a queue of their own"
_TAKE_ANY: Final = (
    "none of this queue runs: see that a live worker's app has these jobs, and its --queues, if given, this queue"
)


def _stands_still(facts: Facts, queue: str) -> bool:
    """Whether somebody has switched the queue off, so that nobody wonders about its age."""
    return facts.switches.killed or queue in facts.switches.off_queues


def _level(value: float, limits: tuple[float, float]) -> Level:
    if value >= limits[1]:
        return Level.CRITICAL
    return Level.WARNING if value >= limits[0] else Level.HEALTHY


def _span(seconds: float) -> str:
    if seconds >= 2 * _HOUR:
        return f"{seconds / _HOUR:.0f} hours"
    return f"{seconds / _MINUTE:.0f} minutes" if seconds >= 2 * _MINUTE else f"{seconds:.0f} seconds"
