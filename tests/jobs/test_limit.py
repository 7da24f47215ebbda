"""Limits that a program declares: what they become, and what is refused with its remedy."""

from __future__ import annotations

from typing import Any

import pytest

from supervisor import App, Limit, job
from supervisor.errors import ConfigError
from supervisor.store.limit_rows import LimitRow
from supervisor.store.limits import limit_status, listed, offer, set_limit
from supervisor.store.link import connect
from tests.store.sql_session import schema


@job(queue="scans", service="scan")
async def scan() -> None:
    """A handler."""


@pytest.mark.parametrize(
    ("limit", "row"),
    [
        (
            Limit.window("a", 10, 60.0, kind=scan, by=["tenant", "args.site.host"], place="enqueue"),
            LimitRow(
                name="a",
                form="window",
                amount=10,
                period_s=60.0,
                kind="scan",
                by=("tenant", "args.site.host"),
                place="enqueue",
            ),
        ),
        (Limit.rate("a", 5, burst=3), LimitRow(name="a", form="rate", amount=5, period_s=1.0, burst=3)),
        (Limit.concurrency("a", 2, queue="q"), LimitRow(name="a", form="concurrency", amount=2, queue="q")),
        (
            Limit.quota("a", 100, "day", zone="Europe/Berlin", on_spent="pause", tenant="x"),
            LimitRow(
                name="a", form="quota", amount=100, unit="day", zone="Europe/Berlin", on_spent="pause", tenant="x"
            ),
        ),
        (
            Limit.budget("a", 9.5, "month", by="tenant", fallback="open", shadow=True),
            LimitRow(
                name="a",
                form="budget",
                amount=9.5,
                unit="month",
                zone="UTC",
                by=("tenant",),
                fallback="open",
                shadow=True,
                place="call",
            ),
        ),
        (
            Limit.per_client("scan"),
            LimitRow(
                name="scan_per_client",
                form="window",
                amount=10,
                period_s=3600.0,
                service="scan",
                by=("tenant",),
                place="enqueue",
            ),
        ),
    ],
    ids=lambda value: value.form if isinstance(value, LimitRow) else "",
)
async def test_the_database_takes_a_limit_as_it_was_declared(limit: Limit, row: LimitRow) -> None:
    """Each form has its row, and what the database says of it later is the same."""
    assert limit.row == row
    async with schema() as dsn:
        link = await connect(dsn)
        change = await set_limit(link, limit.row, reason="because", actor="ann")
        assert (change.changed, change.before, change.after) == (True, None, row)
        assert await listed(link) == [row]
        again = await set_limit(link, limit.row, reason="because", actor="ann")
        assert (again.changed, again.before, again.after) == (False, row, row)
        assert again.epoch == change.epoch
        (used,) = await limit_status(link, "a" if row.name == "a" else row.name, "x" if row.by else None)
        assert (used.used, used.form) == (0.0, row.form)
        await link.close()


async def test_what_people_set_is_not_declared_away() -> None:
    """A program's limit is made once, and after that its declaration changes nothing."""
    async with schema() as dsn:
        link = await connect(dsn)
        assert await offer(link, [Limit.window("a", 1, 60.0).row, Limit.concurrency("b", 1).row]) == 2
        await set_limit(link, Limit.window("a", 5, 60.0).row, reason="because", actor="ann")
        assert await offer(link, [Limit.window("a", 1, 60.0).row]) == 0
        assert {row.name: row.amount for row in await listed(link)} == {"a": 5, "b": 1}
        await link.close()


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"name": "a b"}, "name='a b'"),
    ({"amount": -1}, "amount=-1"),
    ({"amount": 1.5}, "whole number"),
    ({"amount": float("nan")}, "amount=nan"),
    ({"amount": True}, "amount=True"),
    ({"period": 0.0}, "period=0.0"),
    ({"place": "later"}, "place='later'"),
    ({"by": ["args"]}, "by has 'args'"),
    ({"by": "owner"}, "by has 'owner'"),
    ({"by": ["kind"] * 9}, "9 entries"),
    ({"tenant": ""}, "tenant=''"),
    ({"service": 3}, "service=3"),
    ({"shadow": 1}, "shadow=1"),
]


@pytest.mark.parametrize(("change", "words"), WRONG, ids=[words for _, words in WRONG])
def test_a_limit_that_cannot_be_says_why(change: dict[str, Any], words: str) -> None:
    """The error names the limit, the field and the value."""
    given: dict[str, Any] = {"name": "a", "amount": 1, "period": 60.0} | change
    with pytest.raises(ConfigError, match="Limit") as refused:
        Limit.window(**given)
    assert words in str(refused.value)


def test_other_forms_check_their_own_fields() -> None:
    """A burst and the fields of the calendar are checked too."""
    with pytest.raises(ConfigError, match="burst=0"):
        Limit.rate("a", 1, burst=0)
    with pytest.raises(ConfigError, match="unit='year': must be one of hour, day, week, month"):
        Limit.quota("a", 1, "year")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="on_spent='stop'"):
        Limit.budget("a", 1, "day", on_spent="stop")  # type: ignore[arg-type]


def test_an_app_takes_limits_by_name() -> None:
    """Limits of an app are a list of limits, each with a name of its own."""
    limit = Limit.concurrency("a", 1)
    assert App(jobs=[scan], limits=[limit]).limits == (limit,)
    with pytest.raises(ConfigError, match=r"limits=.* is one Limit: write limits=\[…\] around it"):
        App(jobs=[scan], limits=limit)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"limits\[1\] is the second of name 'a'"):
        App(jobs=[scan], limits=[limit, Limit.concurrency("a", 2)])
    with pytest.raises(ConfigError, match=r"limits\[0\] is 3, which is no Limit"):
        App(jobs=[scan], limits=[3])  # type: ignore[list-item]
