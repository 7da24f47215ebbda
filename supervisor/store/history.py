"""Statements on what is over: the days of the history, and one job of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from supervisor.store.job_rows import USUAL

if TYPE_CHECKING:
    from supervisor.store.link import Link


async def make(link: Link, days: int, *, within: float = USUAL) -> int:
    """Make the partitions of today and the next `days` days; returns how many were missing."""
    return cast("int", await link.fetchval("SELECT supervisor.make_history($1)", days, within=within))


async def drop(link: Link, keep_days: int, *, within: float = USUAL) -> int:
    """Drop the days that ended more than `keep_days` ago; returns how many partitions and rows went."""
    return cast("int", await link.fetchval("SELECT supervisor.drop_history($1)", keep_days, within=within))


async def prune_steps(link: Link, keep_days: int, most: int, *, within: float = USUAL) -> int:
    """Delete up to `most` steps and progress of jobs that are over, older than `keep_days`; returns how many."""
    return cast("int", await link.fetchval("SELECT supervisor.prune_steps($1, $2)", keep_days, most, within=within))
