"""All the ways in which a run can lose its job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from supervisor.store import jobs, steps, workers
from supervisor.store.job_rows import Ended, HandedBack
from supervisor.store.steps import NewStep
from tests.soak.stale_stage import MAX_LOSSES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.soak.stale_stage import Stage

Loss: TypeAlias = "Callable[[Stage, int, int], Awaitable[None]]"

_TOO_LATE: Final = "UPDATE supervisor.jobs SET deadline_at = clock_timestamp() - interval '1 min' WHERE id = $1"
_DUE: Final = "UPDATE supervisor.jobs_waiting SET due_at = clock_timestamp() WHERE id = $1 AND due_at < 'infinity'"


async def _lost(stage: Stage, job: int, version: int) -> None:
    await stage.lose()


async def _too_late(stage: Stage, job: int, version: int) -> None:
    await stage.link.execute(_TOO_LATE, job)
    await workers.release_lost(stage.link, stage.worker, 1000, MAX_LOSSES, True)  # noqa: FBT003


async def _interrupted(stage: Stage, job: int, version: int) -> None:
    await jobs.hand_back(stage.link, [HandedBack(job, version, "interrupted")])


async def _failed(stage: Stage, job: int, version: int) -> None:
    await jobs.hand_back(stage.link, [HandedBack(job, version, "retry", 60.0, "as told")])


async def _retried(stage: Stage, job: int, version: int) -> None:
    await _failed(stage, job, version)
    await stage.link.execute(_DUE, job)
    await jobs.promote(stage.link, 100)


async def _blocked(stage: Stage, job: int, version: int) -> None:
    await steps.record(stage.link, [NewStep(job, version, "ship", 0, None, done=False)])
    await jobs.hand_back(stage.link, [HandedBack(job, version, "blocked")])


async def _resolved(stage: Stage, job: int, version: int) -> None:
    await _blocked(stage, job, version)
    await steps.resolve(stage.link, job, "ship", again=True)


async def _completed(stage: Stage, job: int, version: int) -> None:
    await jobs.complete(stage.link, [job], [version])


async def _discarded(stage: Stage, job: int, version: int) -> None:
    await jobs.finish(stage.link, [Ended(job, version, "discarded")])


async def _cancelled(stage: Stage, job: int, version: int) -> None:
    await jobs.cancel(stage.link, [job], "as told")


async def _revived(stage: Stage, job: int, version: int) -> None:
    await _cancelled(stage, job, version)
    await jobs.retry(stage.link, [job])


LOSSES: Final[dict[str, Loss]] = {
    "lost": _lost,
    "too late": _too_late,
    "interrupted": _interrupted,
    "failed": _failed,
    "retried": _retried,
    "blocked": _blocked,
    "resolved": _resolved,
    "completed": _completed,
    "discarded": _discarded,
    "cancelled": _cancelled,
    "revived": _revived,
}

TAKEN: Final = frozenset({"cancelled"})
"""Those that end the job without the run that has it."""

QUICK: Final = frozenset({"too late", "interrupted", "failed", "completed", "discarded", "cancelled"})
"""Those that are one transaction, for whose end a write can wait."""
