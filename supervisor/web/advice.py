"""Draws conclusions from how the last days went: what to look at first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from supervisor.store.figures import Reliability

GOOD: Final = 0.9
"""The part of the jobs that should complete."""
_MOST_OF: Final = 0.5
_BAD_DAY: Final = 0.1
_ENOUGH: Final = 20
"""Below so many jobs a share says nothing."""


def advice_on(found: Reliability) -> Iterator[str]:
    """Yield what to do, the most urgent first."""
    failed = sum(day.failed for day in found.days)
    ended = failed + sum(day.completed + day.quarantined for day in found.days)
    if not ended:
        yield "nothing has ended in these days: see that workers run and jobs are enqueued"
        return
    rate = found.success_rate
    if rate is not None and rate < GOOD:
        yield f"only {rate:.1%} of the jobs were completed, {GOOD:.0%} is the least to expect: begin with the reasons"
    if found.reasons and failed:
        first = found.reasons[0]
        if first.count >= _MOST_OF * failed and failed >= _ENOUGH:
            yield (
                f"most failures have one reason, {first.reason} of {first.kind}, {first.count} times: "
                f"python -m supervisor jobs show {first.last_job}"
            )
    for reason in found.reasons:
        if "Timeout" in reason.reason:
            yield f"{reason.kind} runs out of time ({reason.count} times): raise its timeout, or do less in one job"
            break
    lost = sum(day.quarantined for day in found.days)
    if lost:
        yield f"{lost} jobs were put away as their process died: python -m supervisor jobs list --status quarantined"
    for day in found.days:
        share, size = day.success_rate, day.completed + day.failed + day.quarantined
        if share is not None and rate is not None and size >= _ENOUGH and share < rate - _BAD_DAY:
            yield f"{day.day:%Y-%m-%d} was worse than the rest, with {share:.1%} completed: see what was changed then"
