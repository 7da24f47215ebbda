"""Setting limits: what is refused, what is audited, which jobs it gates, and what a change keeps of what is counted."""

from __future__ import annotations

import json
from typing import Any

import asyncpg
import pytest

from tests.store.limiting import add, audited, claim_all, drop_limit, one_row, set_limit, states, usage
from tests.store.sql_session import add_worker, connected

GATES = (
    "SELECT gated_tenants, gated_kinds, gated_services, gated_queues, gated_tenanted, gated_all FROM supervisor.control"
)
SELECT = ({"tenant": "t"}, {"kind": "k"}, {"service": "s"}, {"queue": "q"})

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"form": "bucket"}, "form"),
    ({"place": "end"}, "place"),
    ({"amount": None}, "amount"),
    ({"amount": "many"}, 'amount = "many": must be a number'),
    ({"amount": -1}, "amount"),
    ({"amount": 1.5}, "whole number"),
    ({"period_s": None}, "period_s"),
    ({"period_s": 1e12}, "period_s"),
    ({"form": "concurrency"}, "period_s"),
    ({"burst": 2}, "burst"),
    ({"unit": "day"}, "unit"),
    ({"zone": "UTC"}, "zone"),
    ({"form": "quota", "period_s": None, "unit": "year"}, "unit"),
    ({"form": "quota", "period_s": None, "unit": "day", "zone": "Mars/Olympus"}, "zone"),
    ({"form": "budget", "period_s": None, "unit": "day", "place": "start"}, "place"),
    ({"form": "concurrency", "period_s": None, "place": "call"}, "place"),
    ({"by": ["owner"]}, "owner"),
    ({"by": ["args."]}, "args."),
    ({"by": "tenant"}, 'by = "tenant": must be an array'),
    ({"by": [["tenant"]]}, "by"),
    ({"burst": 1.5}, "burst"),
    ({"on_spent": "pause"}, "on_spent"),
    ({"form": "quota", "period_s": None, "unit": "day", "on_spent": "pause"}, "one thing to pause"),
    ({"form": "quota", "period_s": None, "unit": "day", "on_spent": "pause", "by": ["tenant", "kind"]}, "one thing"),
    ({"fallback": "open"}, "fallback"),
    ({"colour": "red"}, "colour"),
]


@pytest.mark.parametrize(("change", "words"), WRONG, ids=[str(change) for change, _ in WRONG])
async def test_a_limit_that_cannot_be_is_refused(change: dict[str, Any], words: str) -> None:
    """The error names the field, and nothing is changed."""
    definition = {"form": "window", "amount": 1, "period_s": 60.0} | change
    async with connected() as opened:
        with pytest.raises(asyncpg.InvalidParameterValueError) as refused:
            await opened.fetch(
                "SELECT * FROM supervisor.set_limit('a', $1, 'because', 'ann')",
                json.dumps({field: value for field, value in definition.items() if value is not None}),
            )
        assert words in str(refused.value)
        assert str(refused.value.hint) == "nothing was changed"
        assert await audited(opened, "limit") == []


@pytest.mark.parametrize(("reason", "actor"), [("", "ann"), (" \n", "ann"), ("because", ""), ("x" * 1001, "ann")])
async def test_a_change_says_who_and_why(reason: str, actor: str) -> None:
    """Without a reason or an actor nothing is set, dropped or weighted."""
    async with connected() as opened:
        for call in (
            'supervisor.set_limit(\'a\', \'{"form": "concurrency", "amount": 1}\', $1, $2)',
            "supervisor.drop_limit('a', $1, $2)",
            "supervisor.set_weight('a', 2, $1, $2)",
        ):
            with pytest.raises(asyncpg.InvalidParameterValueError):
                await opened.fetch(f"SELECT * FROM {call}", reason, actor)  # noqa: S608 - the calls above


async def test_changes_are_audited_and_counted() -> None:
    """Each change moves the epoch and has an audit row with what was before; what is set already is no change."""
    async with connected() as opened:
        first = await set_limit(opened, "a", amount=1)
        same = await set_limit(opened, "a", amount=1)
        other = await set_limit(opened, "a", amount=2)
        gone = await drop_limit(opened, "a")
        none = await drop_limit(opened, "a")
        assert [row["changed"] for row in (first, same, other, gone, none)] == [True, False, True, True, False]
        assert [row["epoch"] - first["epoch"] for row in (same, other, gone, none)] == [0, 1, 2, 2]
        assert await audited(opened, "limit") == [("set_limit", "a", "ann")] * 2 + [("drop_limit", "a", "ann")]
        assert json.loads(other["before"])["amount"] == 1
        assert json.loads(other["after"])["amount"] == 2


async def test_a_dry_run_changes_nothing() -> None:
    """A dry run says what it would do."""
    async with connected() as opened:
        definition = json.dumps({"form": "concurrency", "amount": 1})
        row = await one_row(
            opened, "SELECT * FROM supervisor.set_limit('a', $1, 'because', 'ann', dry_run => true)", definition
        )
        assert row["changed"]
        assert await usage(opened, "a") == []
        assert await audited(opened, "limit") == []


@pytest.mark.parametrize(
    ("definition", "gates"),
    [
        ({}, ([], [], [], [], False, True)),
        ({"by": ["tenant"]}, ([], [], [], [], True, False)),
        ({"by": ["kind"]}, ([], [], [], [], False, True)),
        ({"queue": "q"}, ([], [], [], ["q"], False, False)),
        ({"queue": "q", "service": "s"}, ([], [], ["s"], [], False, False)),
        ({"queue": "q", "service": "s", "kind": "k", "by": ["tenant"]}, ([], ["k"], [], [], False, False)),
        ({"kind": "k", "tenant": "t"}, (["t"], [], [], [], False, False)),
        ({"place": "enqueue"}, ([], [], [], [], False, False)),
    ],
)
async def test_a_limit_gates_the_narrowest_thing_it_is_for(
    definition: dict[str, Any], gates: tuple[object, ...]
) -> None:
    """The claim is told as little as covers the limit, and nothing once it is gone."""
    async with connected() as opened:
        await set_limit(opened, "a", amount=1, **definition)
        assert tuple(await one_row(opened, GATES)) == gates
        await drop_limit(opened, "a")
        assert tuple(await one_row(opened, GATES)) == ([], [], [], [], False, False)


async def test_a_change_of_how_much_goes_on_with_the_count() -> None:
    """Another amount or period keeps what is counted, and another key begins anew."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await set_limit(opened, "a", amount=5, by=["tenant"])
        for _ in range(3):
            await add(opened, "x")
        await claim_all(opened, worker)
        await set_limit(opened, "a", amount=9, by=["tenant"], period_s=120.0)
        (row,) = await usage(opened, "a", "x")
        assert (row["used"], row["remaining"]) == (3, 6)
        await set_limit(opened, "a", amount=9, by=["kind"])
        assert await states(opened, "a") == {}


async def test_the_status_of_a_client_says_when_there_is_more() -> None:
    """One key can be asked for before it was used; without a key those come that were used."""
    async with connected() as opened:
        await set_limit(opened, "a", amount=2, place="enqueue", period_s=3600.0, by=["tenant"])
        (fresh,) = await usage(opened, "a", "x")
        assert (fresh["used"], fresh["remaining"], fresh["reset_at"]) == (0, 2, None)
        assert await usage(opened, "a") == []
        await add(opened, "x")
        (row,) = await usage(opened, "a")
        assert (row["key"], row["used"], row["amount"], row["remaining"]) == ("x", 1, 2, 1)
        left = await opened.fetchval("SELECT extract(epoch FROM $1 - clock_timestamp())::float8", row["reset_at"])
        assert left == pytest.approx(3600.0, abs=10.0)


async def test_what_counts_nothing_is_forgotten() -> None:
    """States of limits that are gone, and those whose period is long over, do not stay for ever."""
    async with connected() as opened:
        await set_limit(opened, "a", amount=2, place="enqueue", by=["tenant"])
        await add(opened, "x")
        assert await opened.fetchval("SELECT supervisor.prune_limits(10)") == 0
        await opened.execute("UPDATE supervisor.limit_states SET updated_at = updated_at - interval '2 days'")
        assert await opened.fetchval("SELECT supervisor.prune_limits(10)") == 1
        await add(opened, "x")
        await drop_limit(opened, "a")
        assert await opened.fetchval("SELECT supervisor.prune_limits(10)") == 1
