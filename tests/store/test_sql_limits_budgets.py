"""Quotas and budgets that handlers spend: never too much, once for each job, and back again after a crash."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING

import asyncpg
import pytest

from tests.store.limiting import audited, move_on, one_row, set_limit, states, usage
from tests.store.sql_session import (
    add_worker,
    claim,
    complete,
    connected,
    count,
    enqueue,
    hand_back,
    lose,
    pairs_of,
    release,
    schema,
    session,
)

if TYPE_CHECKING:
    from asyncpg import Record

    from tests.store.sql_session import Connection, Pair

RESERVE = "SELECT * FROM supervisor.reserve($1, $2, $3, $4, $5, $6, $7, $8)"
ALL = """
SELECT (SELECT coalesce(sum(used), 0) FROM supervisor.limit_states)
     + (SELECT coalesce(sum(amount), 0) FROM supervisor.reservations WHERE held)"""


async def reserve(  # noqa: PLR0913 - keywords, each with a default
    opened: Connection,
    amount: float,
    job: Pair | None = None,
    *,
    limit: str = "money",
    key: str | None = None,
    ttl: float = 300.0,
    name: str | None = None,
    at_once: bool = False,
) -> Record:
    """Reserve, or spend."""
    return await one_row(opened, RESERVE, limit, key, amount, *(job or (None, None)), ttl, name, at_once)


async def settle(opened: Connection, reservation: int, actual: float) -> tuple[bool, bool]:
    """Settle; return whether it was reserved, and whether all is spent."""
    row = await one_row(opened, "SELECT * FROM supervisor.settle($1, $2)", reservation, actual)
    return row[0], row[1]


async def refund(opened: Connection, reservation: int) -> bool:
    """Refund; return whether it was reserved."""
    return bool(await opened.fetchval("SELECT supervisor.refund($1)", reservation))


async def running(opened: Connection, most: int = 1) -> list[Pair]:
    """Enqueue and claim so many jobs."""
    await enqueue(opened, most)
    return pairs_of(await claim(opened, await add_worker(opened), most))


async def test_what_is_reserved_is_kept_from_others() -> None:
    """A reservation counts until it is settled for less or refunded, and only what is left is granted."""
    async with connected() as opened:
        await set_limit(opened, "money", form="budget", amount=10)
        first, second = await reserve(opened, 6), await reserve(opened, 6)
        assert (first["granted"], second["granted"]) == (True, False)
        assert await settle(opened, first["id"], 2.5) == (True, False)
        third = await reserve(opened, 6)
        assert third["granted"]
        assert await refund(opened, third["id"])
        assert (await reserve(opened, 7.5))["granted"]
        (row,) = await usage(opened, "money")
        assert (row["used"], row["reserved"], row["remaining"]) == (2.5, 7.5, 0)


async def test_a_reservation_is_settled_once() -> None:
    """A second settlement, or one after a refund, changes nothing."""
    async with connected() as opened:
        await set_limit(opened, "money", form="budget", amount=10)
        first, second = await reserve(opened, 1), await reserve(opened, 1)
        assert await settle(opened, first["id"], 1) == (True, False)
        assert await settle(opened, first["id"], 1) == (False, False)
        assert not await refund(opened, first["id"])
        assert await refund(opened, second["id"])
        assert await settle(opened, second["id"], 1) == (False, False)
        assert (await usage(opened, "money"))[0]["used"] == 1


async def test_a_refused_call_is_told_when_to_come_back() -> None:
    """Of a spent budget the answer is the turn of its period, and of one that is only reserved it is sooner."""
    async with connected() as opened:
        await set_limit(opened, "money", form="budget", amount=10, unit="month", zone="Asia/Tokyo")
        await reserve(opened, 8, ttl=60.0)
        early = await reserve(opened, 5)
        assert early["retry_after"] == pytest.approx(60.0, abs=5.0)
        assert (await reserve(opened, 11))["retry_at"] is None
        await reserve(opened, 2, at_once=True)
        await move_on(opened, 61.0)
        await reserve(opened, 8, at_once=True)
        late = await reserve(opened, 5)
        assert late["retry_at"] == (await usage(opened, "money"))[0]["reset_at"]
        assert late["retry_at"].astimezone(tz=None).tzinfo is not None
        assert (late["retry_at"] + timedelta(hours=9)).day == 1


async def test_a_retried_job_is_charged_once_for_each_name() -> None:
    """What a job spent under a name is not spent again by its next run, and another name is."""
    async with connected() as opened:
        await set_limit(opened, "money", form="budget", amount=10)
        (first,) = await running(opened)
        assert (await reserve(opened, 4, first, name="a", at_once=True))["granted"]
        held = await reserve(opened, 4, first, name="b")
        await hand_back(opened, [first], "retry")
        (second,) = pairs_of(await claim(opened, await add_worker(opened), 1))
        assert (await reserve(opened, 4, second, name="a", at_once=True))["granted"]
        again = await reserve(opened, 5, second, name="b")
        assert again["granted"]
        assert again["id"] != held["id"]
        assert await settle(opened, again["id"], 5) == (True, False)
        assert (await reserve(opened, 5, second, name="b"))["granted"]
        assert (await usage(opened, "money"))[0]["used"] == 9
        assert not (await reserve(opened, 2, second, name="c"))["granted"]


async def test_a_run_that_is_over_reserves_nothing() -> None:
    """Who has lost the job takes no part of the budget."""
    async with connected() as opened:
        await set_limit(opened, "money", form="budget", amount=10)
        (pair,) = await running(opened)
        await complete(opened, [pair])
        with pytest.raises(asyncpg.PostgresError) as refused:
            await reserve(opened, 1, pair)
        assert refused.value.sqlstate == "SV001"
        assert await count(opened, "reservations") == 0


async def test_a_crash_gives_back_what_it_had_reserved() -> None:
    """A reservation counts while its run lives, however long that takes, and not after its end and its time."""
    async with connected() as opened:
        await set_limit(opened, "money", form="budget", amount=10)
        await enqueue(opened, 1)
        worker = await add_worker(opened)
        (pair,) = pairs_of(await claim(opened, worker, 1))
        await reserve(opened, 10, pair, ttl=30.0)
        await move_on(opened, 31.0)
        assert not (await reserve(opened, 1))["granted"]
        await lose(opened, worker)
        await release(opened, worker)
        assert (await reserve(opened, 10, at_once=True))["granted"]
        await opened.execute("SELECT supervisor.tidy_limits(100)")
        assert await count(opened, "reservations") == 0


async def test_a_window_and_a_rate_can_be_called_too() -> None:
    """A limit at call without a calendar counts each call, also those of a retried job."""
    async with connected() as opened:
        await set_limit(opened, "calls", amount=2, place="call")
        (pair,) = await running(opened)
        found = [await reserve(opened, 1, pair, limit="calls", at_once=True) for _ in range(3)]
        assert [row["granted"] for row in found] == [True, True, False]
        assert found[2]["retry_after"] == pytest.approx(60.0, abs=5.0)


async def test_a_limit_by_tenant_finds_the_key_of_the_job() -> None:
    """The share that is used is that of the job's tenant, and a job without a tenant is not limited."""
    async with connected() as opened:
        await set_limit(opened, "money", form="budget", amount=1, by=["tenant"])
        await opened.execute("SELECT supervisor.enqueue('noop', tenant => t) FROM unnest('{a,b}'::text[]) AS t")
        call = "SELECT * FROM supervisor.claim_tenants($1, 'default', '{noop}', '{a,b}', '{1,1}', '{}', '{}', '{}')"
        pairs = pairs_of(await opened.fetch(call, await add_worker(opened)))
        pairs += await running(opened)
        found = [await reserve(opened, 1, pair) for pair in pairs]
        assert [row["granted"] for row in found] == [True, True, True]
        assert sorted(row["charged_key"] for row in found) == ["", "a", "b"]
        assert set(await states(opened, "money")) == {"a", "b"}


async def test_a_shadow_refuses_no_call() -> None:
    """A shadow budget grants what is beyond it, and counts how often."""
    async with connected() as opened:
        await set_limit(opened, "money", form="budget", amount=1, shadow=True)
        assert all([(await reserve(opened, 1, at_once=True))["granted"] for _ in range(3)])
        row = (await states(opened, "money"))[""]
        assert (row["used"], row["shadowed"]) == (1, 2)


@pytest.mark.parametrize(
    ("limit", "amount", "words"),
    [("none", 1.0, "no limit of place call"), ("money", float("nan"), "amount"), ("money", -1.0, "amount")],
)
async def test_what_cannot_be_reserved_is_refused(limit: str, amount: float, words: str) -> None:
    """A limit that is not there, and an amount that is none, are errors that say so."""
    async with connected() as opened:
        await set_limit(opened, "money", form="budget", amount=1)
        with pytest.raises(asyncpg.InvalidParameterValueError, match=words):
            await reserve(opened, amount, limit=limit)


async def test_a_spent_budget_pauses_its_service_until_it_turns() -> None:
    """The service is off until the end of the period, by the limit's name, and on again by itself; both are audited."""
    async with connected() as opened:
        await set_limit(opened, "money", form="budget", amount=1, on_spent="pause", service="default")
        spent = await reserve(opened, 1)
        assert await settle(opened, spent["id"], 1) == (True, True)
        limit = await opened.fetchval("SELECT id FROM supervisor.limits")
        assert await opened.fetchval("SELECT supervisor.pause_spent($1, '')", limit)
        held = await one_row(opened, "SELECT * FROM supervisor.switches")
        assert (held["scope"], held["name"], held["actor"]) == ("service", "default", "limit:money")
        assert held["expires_at"] == (await usage(opened, "money"))[0]["reset_at"]
        assert not await opened.fetchval("SELECT supervisor.pause_spent($1, '')", limit)
        await opened.execute("UPDATE supervisor.switches SET expires_at = clock_timestamp()")
        await opened.execute("SELECT supervisor.expire_switches()")
        assert [row[0] for row in await audited(opened, "service")] == ["disable_service", "enable_service"]
        assert await opened.fetchval("SELECT off_services FROM supervisor.control") == []


async def test_what_is_spent_is_paused_though_nobody_says_so() -> None:
    """Where the one who spent the last of it dies before it pauses the tenant, the next look does it."""
    async with connected() as opened:
        await set_limit(opened, "money", form="budget", amount=1, on_spent="pause", by=["tenant"])
        await reserve(opened, 1, key="a", at_once=True)
        assert (await reserve(opened, 1, key="a"))["spent"]
        assert await opened.fetchval("SELECT supervisor.tidy_limits(100)") == 1
        assert await opened.fetchval("SELECT off_tenants FROM supervisor.control") == ["a"]


async def test_who_turns_it_on_again_is_obeyed_for_the_period() -> None:
    """A tenant that a person resumed while its budget is spent is not paused a second time in that period."""
    async with connected() as opened:
        await set_limit(opened, "money", form="budget", amount=1, on_spent="pause", by=["tenant"])
        await reserve(opened, 1, key="a", at_once=True)
        await reserve(opened, 1, key="a")
        await opened.execute("SELECT supervisor.tidy_limits(100)")
        await opened.fetch("SELECT * FROM supervisor.change_switch('tenant', 'a', 'false', 'it must', 'ann')")
        assert not (await reserve(opened, 1, key="a"))["spent"]
        await opened.execute("SELECT supervisor.tidy_limits(100)")
        assert await opened.fetchval("SELECT off_tenants FROM supervisor.control") == []


async def test_a_pause_of_a_person_stays_as_it_is() -> None:
    """What is off without an end is not turned on by the turn of a period."""
    async with connected() as opened:
        await set_limit(opened, "money", form="budget", amount=1, on_spent="pause", by=["tenant"])
        await opened.fetch("SELECT * FROM supervisor.change_switch('tenant', 'a', 'true', 'no', 'ann')")
        await reserve(opened, 1, key="a", at_once=True)
        await reserve(opened, 1, key="a")
        await opened.execute("SELECT supervisor.tidy_limits(100)")
        held = await one_row(opened, "SELECT actor, expires_at FROM supervisor.switches")
        assert tuple(held) == ("ann", None)


async def test_a_raised_limit_resumes_what_it_had_paused() -> None:
    """A person who raises a spent limit need not also turn on what it had switched off."""
    async with connected() as opened:
        await set_limit(opened, "money", form="budget", amount=1, on_spent="pause", by=["tenant"])
        await reserve(opened, 1, key="a", at_once=True)
        await reserve(opened, 1, key="a")
        await opened.execute("SELECT supervisor.tidy_limits(100)")
        await set_limit(opened, "money", form="budget", amount=2, on_spent="pause", by=["tenant"])
        assert await opened.fetchval("SELECT off_tenants FROM supervisor.control") == []
        assert (await reserve(opened, 1, key="a"))["granted"]


async def test_a_budget_is_never_exceeded() -> None:
    """Six sessions reserve, settle, refund and break off in the middle; never is too much used and reserved."""
    async with schema() as dsn, session(dsn) as watcher:
        await set_limit(watcher, "money", form="budget", amount=20)

        async def spend(seed: int) -> None:
            random = Random(seed)  # noqa: S311 - no secret
            async with session(dsn) as opened:
                for _ in range(25):
                    change = opened.transaction()
                    await change.start()
                    found = await reserve(opened, random.choice([0.5, 1, 3]))
                    if random.random() < 0.2:
                        await change.rollback()
                        continue
                    await change.commit()
                    if found["granted"]:
                        await _end(opened, found["id"], random)
                    assert await watched() <= 20

        lock = asyncio.Lock()

        async def watched() -> float:
            async with lock:
                return float(await watcher.fetchval(ALL))

        async with asyncio.TaskGroup() as group:
            for seed in range(6):
                group.create_task(spend(seed))
        assert 0 < await watched() <= 20


async def _end(opened: Connection, reservation: int, random: Random) -> None:
    chance = random.random()
    if chance < 0.5:
        await settle(opened, reservation, 0.25)
    elif chance < 0.9:
        assert await refund(opened, reservation)
