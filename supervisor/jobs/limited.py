"""What a handler spends of limits: reserved before, settled after, and once for each job, however often it runs."""

from __future__ import annotations

import logging
import math
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from supervisor.errors import ConfigError, DatabaseUnavailable, LeaseLost, StatementRefused
from supervisor.jobs.limits import LONGEST
from supervisor.jobs.outcomes import Snooze
from supervisor.store import budgets

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from supervisor.jobs.run_context import Run
    from supervisor.store.database import Database
    from supervisor.store.limit_rows import Grant
    from supervisor.store.link import Link

MARGIN: Final = 30.0
"""Seconds beyond the job's deadline for which a reservation is kept that nobody settles."""

SPREAD: Final = 1.0
"""Seconds over which the jobs come back that a limit has sent away, so that not all of them ask at once."""

_MOST: Final = 1e12
_UNKNOWN: Final = "22023"
_step: Final[ContextVar[str]] = ContextVar("step", default="")
_open: Final[WeakKeyDictionary[Database, set[str]]] = WeakKeyDictionary()
_log = logging.getLogger(__name__)


class LimitReached(Snooze):
    """A limit has nothing left for a call. Let it pass: the job runs again when there may be more.

    limit, key: which, and whose share. after: seconds.
    """

    def __init__(self, limit: str, key: str, after: float) -> None:
        super().__init__(after)
        self.args = (limit, key, after)
        self.limit, self.key = limit, key

    def __str__(self) -> str:
        whose = f" for {self.key}" if self.key else ""
        return f"limit {self.limit} has nothing left{whose}; there may be more in {self.after:.3g} s"


class Spend:
    """What was reserved of a budget. amount: how much."""

    __slots__ = ("actual", "amount")

    def __init__(self, amount: float) -> None:
        self.amount = amount
        self.actual: float | None = None

    def settle(self, actual: float) -> None:
        """Say what it has cost, which may be more than was reserved; written at the end of the block."""
        self.actual = checked_amount("settle", "actual", actual)


class Charges:
    """Names what one run spends, so that the next run of the job finds it by the same name.

    It is the limit, and the how manieth time within the step that asks, since a step that is done is not run again.
    """

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def name(self, limit: str) -> str:
        """Give the next name."""
        place = f"{limit} {_step.get()}"
        count = self._counts[place] = self._counts.get(place, 0) + 1
        return f"{place} {count}"


@contextmanager
def in_step(name: str) -> Iterator[None]:
    """Let what is spent in the block be that of a step."""
    token = _step.set(name)
    try:
        yield
    finally:
        _step.reset(token)


def checked_amount(owner: str, field: str, value: object) -> float:
    """Return `value` as an amount: finite, 0 or more. Raises ConfigError."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MOST:
        raise ConfigError(f"{owner}: {field}={value!r}: must be a number from 0 to 10^12")
    return float(value)


async def spend(run: Run, limit: str, amount: float, *, key: str | None, name: str) -> None:
    """See JobContext.spend; `name` is what the next run will call it."""
    await take(run, limit, checked_amount("ctx.spend", "amount", amount), key=key, name=name, at_once=True)


@asynccontextmanager
async def budget(run: Run, limit: str, estimate: float, *, key: str | None, name: str) -> AsyncIterator[Spend]:
    """See JobContext.budget."""
    found = Spend(checked_amount("ctx.budget", "estimate", estimate))
    reservation = await take(run, limit, found.amount, key=key, name=name, at_once=False)
    try:
        yield found
    except BaseException:
        if found.actual is None:
            await give_back(run, reservation)
        else:
            await settle(run, limit, reservation, found)
        raise
    await settle(run, limit, reservation, found)


async def take(  # noqa: PLR0913 - what a reservation consists of
    run: Run, limit: str, amount: float, *, key: str | None, name: str, at_once: bool
) -> Grant | None:
    """Take some of a limit; None where the database is out of reach and the limit says that calls go through then."""
    run.check_open()
    known = _open.setdefault(run.tasks.database, set())
    ttl = max(run.deadline - run.tasks.clock.now(), 0.0) + MARGIN
    try:
        async with run.tasks.connection(run) as link:
            grant = await budgets.reserve(
                link,
                limit,
                amount,
                key=key,
                job=run.id,
                lock_version=run.lock_version,
                ttl=ttl,
                name=name,
                at_once=at_once,
            )
            if grant.is_spent:
                await _pause(link, limit, grant.key)
    except LeaseLost:
        raise run.lost() from None
    except StatementRefused as error:
        if error.sqlstate == _UNKNOWN:
            raise ConfigError(f"job {run.id}: {error.message}" + (f"; {error.hint}" if error.hint else "")) from None
        raise
    except DatabaseUnavailable as error:
        if limit not in known:
            raise
        run.cut = None
        _log.warning("job %d goes on without limit %s: %s", run.id, limit, error)
        return None
    run.check()
    (known.add if grant.is_open else known.discard)(limit)
    if not grant.granted:
        raise _reached(run, limit, amount, grant)
    return grant


async def settle(run: Run, limit: str, grant: Grant | None, found: Spend) -> None:
    """Write what a block has spent; what it reserved, if it does not say."""
    if grant is None or grant.id is None:
        return
    async with run.tasks.connection(run) as link:
        _, is_spent = await budgets.settle(link, grant.id, found.amount if found.actual is None else found.actual)
        if is_spent:
            await _pause(link, limit, grant.key)


async def give_back(run: Run, grant: Grant | None) -> None:
    """Give back what a block has not spent; without the database it comes back by itself."""
    if grant is None or grant.id is None:
        return
    try:
        async with run.tasks.connection(run) as link:
            await budgets.refund(link, grant.id)
    except DatabaseUnavailable as error:
        _log.warning("job %d: what it has reserved comes back later: %s", run.id, error)


def _reached(run: Run, limit: str, amount: float, grant: Grant) -> Exception:
    if grant.retry_after is None:
        return ConfigError(
            f"job {run.id}: {amount:g} of limit {limit} can never be had; ask for less, or raise the limit"
        )
    spread = run.id % 64 / 64 * SPREAD
    return LimitReached(limit, grant.key, min(math.fabs(grant.retry_after) + spread, LONGEST))


async def _pause(link: Link, limit: str, key: str) -> None:
    """Pause what is spent; if it cannot be done now, the upkeep does it within seconds."""
    try:
        await budgets.pause_spent(link, limit, key)
    except (DatabaseUnavailable, StatementRefused) as error:
        _log.warning("limit %s is spent, and what it is for cannot be paused yet: %s", limit, error)
