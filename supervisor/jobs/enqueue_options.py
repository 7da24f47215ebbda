"""Checks what an enqueue is told beside its arguments, before anything is written."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeVar

from supervisor.errors import ConfigError, EnqueueRefused
from supervisor.jobs import limits
from supervisor.store.enqueue import JobOptions

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

LONGEST_KEY: Final = 512
"""Characters of a unique key: in every alphabet they fit into an entry of PostgreSQL's index."""

FIRST: Final = -32768
LAST: Final = 32767
"""The priorities that a `smallint` holds; the smaller, the sooner."""

_BEGINNING: Final = datetime(1970, 1, 2, tzinfo=UTC)
_END: Final = datetime(3000, 1, 1, tzinfo=UTC)
_SHOWN: Final = 40
_UNUSABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def checked_kind(kind: object) -> str:
    """Return the name of a kind; EnqueueRefused if no kind can have it."""
    return _named("enqueue", "kind", kind)


def checked(  # noqa: PLR0913 - each is one option, all by keyword
    kind: str, *, queue: object, priority: object, run_at: object, tenant: object, max_attempts: object
) -> JobOptions:
    """Return the options of an enqueue; EnqueueRefused names the one that cannot be, its value and the remedy."""
    owner = f"job {kind!r}"
    at, delay = _time(owner, run_at)
    return JobOptions(
        queue=None if queue is None else _named(owner, "queue", queue),
        priority=_priority(owner, priority),
        run_at=at,
        delay=delay,
        tenant=None if tenant is None else _named(owner, "tenant", tenant),
        max_attempts=None
        if max_attempts is None
        else _or_refused(limits.attempts, owner, "max_attempts", max_attempts),
    )


def checked_key(kind: str, key: object) -> str:
    """Return a unique key; EnqueueRefused if PostgreSQL cannot hold it."""
    name = f"job {kind!r}: unique_key"
    if not isinstance(key, str):
        raise EnqueueRefused(f"{name}={_short(key)}: must be a text; pass str(value), or None for a job without a key")
    if not 1 <= len(key) <= LONGEST_KEY:
        raise EnqueueRefused(
            f"{name} has {len(key)} characters: it must have 1 to {LONGEST_KEY}; pass a hash of what is longer"
        )
    if found := _UNUSABLE.search(key):
        raise EnqueueRefused(
            f"{name}={_short(key)}: contains {found[0]!r}, a control character or half a surrogate pair; remove it"
        )
    return key


def _named(owner: str, name: str, value: object) -> str:
    # A printable text is also Unicode without NUL and half surrogate pairs.
    return _or_refused(limits.label, owner, name, value)


def _priority(owner: str, priority: object) -> int:
    if isinstance(priority, bool) or not isinstance(priority, int) or not FIRST <= priority <= LAST:
        raise EnqueueRefused(
            f"{owner}: priority={_short(priority)}: must be a whole number from {FIRST} (first) to {LAST} (last)"
        )
    return int(priority)


def _time(owner: str, run_at: object) -> tuple[datetime | None, float | None]:
    """Tell a moment from a delay. What is past is neither: then the job may run at once."""
    match run_at:
        case None:
            return None, None
        case datetime():
            return _moment(owner, run_at), None
        case bool():
            pass
        case int() | float() if run_at == run_at:  # noqa: PLR0124 - NaN is not
            if run_at > limits.LONGEST:
                raise EnqueueRefused(
                    f"{owner}: run_at={_short(run_at)}: must be at most {limits.LONGEST:.0f} seconds (ten years) "
                    "from now; a number is a delay: pass a datetime for a moment"
                )
            return None, float(run_at) if run_at > 0 else None
    raise EnqueueRefused(
        f"{owner}: run_at={_short(run_at)}: must be a datetime with a time zone, or a number of seconds from now"
    )


def _moment(owner: str, at: datetime) -> datetime | None:
    if at.utcoffset() is None:
        raise EnqueueRefused(
            f"{owner}: run_at={at.isoformat()}: has no time zone; write datetime.now(timezone.utc), "
            "or at.astimezone() for local time"
        )
    if at >= _END:
        raise EnqueueRefused(f"{owner}: run_at={at.isoformat()}: must be before the year 3000; pass an earlier time")
    return None if at < _BEGINNING else at.astimezone(UTC)


def _or_refused(check: Callable[[str, str, object], T], owner: str, name: str, value: object) -> T:
    try:
        return check(owner, name, value)
    except ConfigError as error:
        raise EnqueueRefused(str(error)) from None
    except ValueError:  # the same as in _short
        raise EnqueueRefused(f"{owner}: {name}: {_short(value)} cannot be; pass what can be written") from None


def _short(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # a number with more digits than Python writes
        text = type(value).__name__
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
