"""Claimed jobs for tests that need no database."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, cast

from supervisor.store.job_rows import CLAIMED_COLUMNS

if TYPE_CHECKING:
    from supervisor.store.job_rows import ClaimedJob

START = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)


class PaperRow(tuple[Any, ...]):
    """A row by position and by name, as a claim gives it."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the column holds
        try:
            return self[CLAIMED_COLUMNS.replace("timeout_s", "timeout").split(", ").index(name)]
        except ValueError:
            raise AttributeError(name) from None


def claimed(id_: int, *, lock_version: int = 1, priority: int = 0, seconds: float = 0.0) -> ClaimedJob:
    """Make the row of a claimed job."""
    at = START + dt.timedelta(seconds=seconds)
    columns = (id_, lock_version, "noop", "{}", 0, 3, 0, 0, None, at, 300.0, None, priority, at, "default", "default")
    return cast("ClaimedJob", PaperRow(columns))
