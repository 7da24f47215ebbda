"""All that a run can write under its fence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from supervisor.store import fence, jobs, steps
from supervisor.store.job_rows import Ended, HandedBack
from supervisor.store.steps import NewStep, Progress

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from supervisor.store.link import Link

Write: TypeAlias = "Callable[[Link, int, int], Awaitable[bool]]"


async def _complete(link: Link, job: int, version: int) -> bool:
    return bool(await jobs.complete(link, [job], [version]))


async def _complete_with_steps(link: Link, job: int, version: int) -> bool:
    return bool(await jobs.complete(link, [job], [version], steps=True))


async def _extend(link: Link, job: int, version: int) -> bool:
    return await jobs.extend(link, job, version, 60.0) is not None


async def _progress(link: Link, job: int, version: int) -> bool:
    return bool(await steps.report_progress(link, [Progress(job, version, 7, 10)]))


async def _still_held(link: Link, job: int, version: int) -> bool:
    return bool(await jobs.still_held(link, [job], [version]))


async def _hold(link: Link, job: int, version: int) -> bool:
    return await fence.hold(link, job, version)


def _finish(status: str) -> Write:
    async def write(link: Link, job: int, version: int) -> bool:
        return bool(await jobs.finish(link, [Ended(job, version, status, "stale", "stale")]))  # type: ignore[arg-type]

    return write


def _hand_back(reason: str, delay: float) -> Write:
    async def write(link: Link, job: int, version: int) -> bool:
        row = HandedBack(job, version, reason, delay, "stale", "stale")  # type: ignore[arg-type]
        return bool(await jobs.hand_back(link, [row]))

    return write


def _record(*, done: bool) -> Write:
    async def write(link: Link, job: int, version: int) -> bool:
        return bool(await steps.record(link, [NewStep(job, version, "stale", 0, '"stale"', done)]))

    return write


WRITES: Final[dict[str, Write]] = {
    "complete": _complete,
    "complete with steps": _complete_with_steps,
    "extend": _extend,
    "progress": _progress,
    "still held": _still_held,
    "hold": _hold,
    "record": _record(done=True),
    "record an intent": _record(done=False),
    **{f"finish {status}": _finish(status) for status in ("completed", "failed", "discarded")},
    **{
        f"hand back {reason} {delay:g}": _hand_back(reason, delay)
        for reason in ("retry", "snoozed", "interrupted", "blocked")
        for delay in (0.0, 60.0)
    },
}

WAITING: Final = frozenset(WRITES) - {"still held", "progress"}
"""Those that wait for others which hold the job; the two only look, and may see what was before."""
