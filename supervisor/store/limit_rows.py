"""The rows that go between the runtime and the tables of limits, with types."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from supervisor.store.job_rows import ClaimedJob

LimitForm: TypeAlias = Literal["window", "rate", "concurrency", "quota", "budget"]
LimitPlace: TypeAlias = Literal["start", "enqueue", "call"]
LimitUnit: TypeAlias = Literal["hour", "day", "week", "month"]
OnSpent: TypeAlias = Literal["wait", "pause"]
Fallback: TypeAlias = Literal["closed", "open"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitRow:
    """A limit as the database keeps it; what it means stands at `supervisor.Limit`.

    period_s: seconds, of a window or rate. unit and zone: of a quota or budget. service, kind, queue, tenant: only jobs
    of that one; None is any. by: what has a count of its own: `tenant`, `kind`, `queue`, `service`, `args.<path>`.
    """

    name: str
    form: LimitForm
    amount: float
    place: LimitPlace = "start"
    period_s: float | None = None
    burst: int | None = None
    unit: LimitUnit | None = None
    zone: str | None = None
    service: str | None = None
    kind: str | None = None
    queue: str | None = None
    tenant: str | None = None
    by: tuple[str, ...] = ()
    shadow: bool = False
    on_spent: OnSpent = "wait"
    fallback: Fallback = "closed"

    @property
    def definition(self) -> Mapping[str, object]:
        """Everything but the name, without what is not said."""
        return {field: value for field, value in asdict(self).items() if field != "name" and value is not None}


@dataclass(frozen=True, slots=True)
class LimitChange:
    """What became of a change: with `changed` false nothing was written, since it was so already."""

    epoch: int
    changed: bool
    before: LimitRow | None
    after: LimitRow | None


@dataclass(frozen=True, slots=True)
class LimitUsage:
    """How much of a limit is used for one key; `key` is '' where there is one count for all.

    used: starts, running jobs, or what was spent, without what is `reserved`. remaining: what is left of `amount`.
    reset_at: when there is more: the turn of a period, or the end of the oldest start in a window; None where it is
    not known (a running job has to end) or nothing is used. granted, held_back, shadowed: since the limit was made;
    shadowed are those that a shadow limit would have held back.
    """

    name: str
    key: str
    form: LimitForm
    place: LimitPlace
    shadow: bool
    used: float
    reserved: float
    amount: float
    remaining: float
    reset_at: datetime | None
    granted: int
    held_back: int
    shadowed: int


@dataclass(frozen=True, slots=True)
class Obstacle:
    """One reason why a job does not run: `what` is a word, `key` whose it is, `until` when it ends if that is known.

    what: switch, limit, future, retry, snoozed, blocked, suspect, no_worker, busy, turn (nothing but the order stands
    against it), running, over, unknown.
    """

    what: str
    key: str | None
    until: datetime | None
    detail: str


class GatedClaim(NamedTuple):
    """What a claim behind the gates gave, and where the next is to look.

    go_on: give it as `after_line` to the next call; None: that was the last of the lines, begin again. wait: seconds
    after which the first of the lines may open that this call found shut; None if it found none, or none that time
    alone opens.
    """

    jobs: list[ClaimedJob]
    go_on: str | None
    wait: float | None


class Grant(NamedTuple):
    """The answer to a reservation.

    id: of the reservation, None where there is nothing to settle. granted: it may be spent. retry_at: when there may be
    enough, None if never or unknown. retry_after: the same in seconds. is_spent: nothing is left, and the limit pauses
    what it is for. key: whose share it is. is_open: without the database, calls are let through.
    """

    id: int | None
    granted: bool
    retry_at: datetime | None
    retry_after: float | None
    is_spent: bool
    key: str
    is_open: bool
