"""The judgement on queues: how bad it is, why, and what to do."""

from __future__ import annotations

from typing import Any

import pytest

from supervisor.jobs.pressure import Reading
from supervisor.jobs.queue_health import Facts, Level, Limits, judge
from supervisor.store.queue_facts import Switches, WorkerFacts
from supervisor.store.queues import QueueStats

ON = Switches(killed=False, mode="normal", off_services=(), off_tenants=(), off_queues=(), off_kinds=())
QUIET = QueueStats("mail", 0, 0, 0, 0, 0, 0, None, 0, 0)


def worker(**facts: Any) -> WorkerFacts:  # noqa: ANN401 - any field
    """Describe a live worker that takes from every queue, but for these facts."""
    usual = {"id": 1, "name": "w1", "worker_type": "worker", "status": "RUNNING", "lease_left": 20.0, "queues": None}
    return WorkerFacts(**{**usual, **facts})


def switches(**facts: Any) -> Switches:  # noqa: ANN401 - the same
    """Describe what is switched off."""
    return Switches(**{**{name: getattr(ON, name) for name in Switches.__dataclass_fields__}, **facts})


def facts(*queues: QueueStats, **others: Any) -> Facts:  # noqa: ANN401 - the same
    """Put facts together, with one live worker unless others say otherwise."""
    return Facts(queues, **{"workers": (worker(),), "switches": ON, **others})


def test_a_working_system_is_healthy() -> None:
    """Jobs that wait a moment, run and complete are no finding."""
    judgement = judge(facts(QUIET._replace(ready=50, running=10, oldest_ready=3.0, completed_1h=1000, failed_1h=5)))
    assert (judgement.level, list(judgement.findings)) == (Level.HEALTHY, [])


@pytest.mark.parametrize(
    ("queue", "others", "level", "check", "advice"),
    [
        (QUIET._replace(ready=10_000), {}, Level.WARNING, "depth", "start more workers"),
        (QUIET._replace(ready=100_000), {}, Level.CRITICAL, "depth", "start more workers"),
        (QUIET._replace(ready=1, oldest_ready=60.0, running=1), {}, Level.WARNING, "age", "better priority"),
        (QUIET._replace(ready=1, oldest_ready=7200.0), {}, Level.CRITICAL, "age", "app has these jobs"),
        (QUIET._replace(failed_1h=2, completed_1h=18), {}, Level.WARNING, "failures", "--status failed --queue mail"),
        (QUIET._replace(failed_1h=10, completed_1h=10), {}, Level.CRITICAL, "failures", "--status failed"),
        (QUIET._replace(suspects=1), {}, Level.WARNING, "suspects", "jobs show"),
        (QUIET._replace(blocked=1), {}, Level.WARNING, "blocked", "jobs resolve"),
        (QUIET, {"full": {"mail": (12, 10)}}, Level.CRITICAL, "full", "queue set mail --max-depth"),
        (QUIET, {"slow": 2}, Level.WARNING, "slow", "queue slow"),
        (QUIET, {"database": Reading(oldest_snapshot=7200.0, dead_rows=1e5)}, Level.WARNING, "database", "xact_start"),
        (QUIET, {"database": Reading(dead_rows=3e6)}, Level.WARNING, "database", "autovacuum"),
        (QUIET, {"workers": ()}, Level.WARNING, "workers", "start one"),
        (QUIET._replace(ready=1), {"workers": ()}, Level.CRITICAL, "workers", "--app module:name"),
        (
            QUIET._replace(ready=1),
            {"workers": (worker(queues=("other",)),)},
            Level.CRITICAL,
            "workers",
            "--queues mail",
        ),
        (
            QUIET._replace(ready=1),
            {"workers": (worker(worker_type="quarantine"),)},
            Level.CRITICAL,
            "workers",
            "start one",
        ),
        (QUIET, {"workers": (worker(), worker(lease_left=-1.0))}, Level.WARNING, "leases", "recover-expired-locks"),
        (QUIET, {"holders": (3,)}, Level.WARNING, "leases", "recover-expired-locks"),
        (QUIET, {"switches": switches(killed=True)}, Level.WARNING, "switches", "kill-switch deactivate"),
        (QUIET, {"switches": switches(mode="safe_mode")}, Level.WARNING, "switches", "mode set normal"),
    ],
)
def test_what_is_not_well_is_said(
    queue: QueueStats, others: dict[str, Any], level: Level, check: str, advice: str
) -> None:
    """Each thing that is not well is named with its level and what to do, and alone decides the whole."""
    judgement = judge(facts(queue, **others))
    assert judgement.level is level
    (finding,) = judgement.findings
    assert (finding.level, finding.check) == (level, check)
    assert advice in finding.advice
    assert finding.problem


def test_a_queue_that_was_paused_may_grow_old() -> None:
    """Jobs that nobody may start are reported as such, and not as a lack of workers' speed."""
    judgement = judge(facts(QUIET._replace(ready=5, oldest_ready=9999.0), switches=switches(off_queues=("mail",))))
    assert [finding.check for finding in judgement.findings] == ["switches"]


def test_few_jobs_prove_nothing() -> None:
    """A share of failures counts only among enough jobs."""
    assert judge(facts(QUIET._replace(failed_1h=19))).level is Level.HEALTHY


def test_the_worst_comes_first() -> None:
    """The whole is as bad as its worst part, which is shown first."""
    judgement = judge(facts(QUIET._replace(ready=20_000, blocked=1, oldest_ready=9999.0)), Limits())
    assert judgement.level is Level.CRITICAL
    assert [finding.level for finding in judgement.findings] == [Level.CRITICAL, Level.WARNING, Level.WARNING]
