"""Jobs behind gates: which start, which permits that takes, and that nobody waits for others' permits."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import asyncpg
import pytest

from tests.store.limiting import add, claim_all, claim_gated, drop_limit, move_on, one_row, set_limit, states
from tests.store.sql_session import (
    add_kind,
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
)


async def test_a_gated_job_starts_through_the_gate_alone() -> None:
    """A job that needs a permit waits behind its gate, where the ordinary claim does not see it."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await set_limit(opened, "few", amount=10)
        ids = await enqueue(opened, 3)
        assert await count(opened, "jobs") == 0
        assert await claim(opened, worker) == []
        found = await claim_gated(opened, worker)
        assert sorted(row["id"] for row in found.jobs) == ids
        assert {row["line"] for row in found.jobs} == {'["noop", "default", null]'}
        assert found.go_on is None
        assert await complete(opened, found.pairs) == set(ids)


async def test_a_started_job_is_claimed_as_any_other() -> None:
    """What comes through a gate has a claim, a deadline after its time-out, and the next fence."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await set_limit(opened, "few", amount=1)
        (job,) = await enqueue(opened, 1)
        (row,) = (await claim_gated(opened, worker)).jobs
        kept = await one_row(opened, "SELECT * FROM supervisor.jobs WHERE id = $1", job)
        assert (kept["claimed_by"], kept["lock_version"]) == (worker, 1)
        assert row["deadline_at"] == kept["deadline_at"] == kept["claimed_at"] + timedelta(seconds=300)
        assert {
            key: row[key] for key in ("lock_version", "kind", "queue", "service", "args", "losses", "timeout_s")
        } == {key: kept[key] for key in ("lock_version", "kind", "queue", "service", "args", "losses", "timeout_s")}


async def test_a_window_lets_no_more_through_until_the_oldest_start_leaves_it() -> None:
    """Of a window of two, the third start waits for the end of the first, which the claim foretells."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await set_limit(opened, "two", amount=2, period_s=60.0)
        await enqueue(opened, 5)
        assert len((await claim_gated(opened, worker, 1)).jobs) == 1
        await move_on(opened, 20.0)
        found = await claim_gated(opened, worker)
        assert len(found.jobs) == 1
        assert found.wait == pytest.approx(40.0, abs=5.0)
        again = await claim_gated(opened, worker)
        assert again.jobs == []
        assert again.wait == pytest.approx(40.0, abs=5.0)
        await move_on(opened, 41.0)
        assert len((await claim_gated(opened, worker)).jobs) == 1


async def test_starts_that_are_counted_together_count_as_long_as_the_last() -> None:
    """In a window of many, starts share an entry, and none of them is forgotten before its time."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await set_limit(opened, "many", amount=40, period_s=60.0)
        await enqueue(opened, 500)
        for _ in range(6):
            assert len(await claim_all(opened, worker, 20)) == 20
            await move_on(opened, 0.5)
            assert len(await claim_all(opened, worker, 40)) == 20
            await move_on(opened, 59.6)
            assert len(await claim_all(opened, worker, 40)) <= 20
            await move_on(opened, 100.0)
        assert len((await states(opened, "many"))[""]["starts"]) <= 33


async def test_a_rate_lets_a_burst_through_and_then_one_by_one() -> None:
    """A rate of 60 a minute with a burst of 3 starts three at once, and one for each second that passes."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await set_limit(opened, "smooth", form="rate", amount=60, burst=3)
        await enqueue(opened, 10)
        found = await claim_gated(opened, worker)
        assert len(found.jobs) == 3
        assert found.wait == pytest.approx(1.0, abs=0.2)
        await move_on(opened, 2.0)
        assert len((await claim_gated(opened, worker)).jobs) == 2


async def test_a_quota_turns_with_the_calendar() -> None:
    """A spent quota gives nothing until its day is over, and all of it then."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await set_limit(opened, "daily", form="quota", amount=2, unit="day", zone="Europe/Berlin")
        await enqueue(opened, 5)
        found = await claim_gated(opened, worker)
        assert len(found.jobs) == 2
        assert found.wait is not None
        assert 0 < found.wait <= 300
        await move_on(opened, 86400.0)
        assert len((await claim_gated(opened, worker)).jobs) == 2


async def test_concurrency_is_counted_from_live_leases() -> None:
    """A permit comes back when its job ends, however it ends, and not while a lost worker still has it."""
    async with connected() as opened:
        first, second = await add_worker(opened), await add_worker(opened)
        await set_limit(opened, "three", form="concurrency", amount=3)
        await enqueue(opened, 12)
        pairs = (await claim_gated(opened, first)).pairs
        assert len(pairs) == 3
        assert (await claim_gated(opened, second)).jobs == []
        await complete(opened, pairs[:1])
        assert len((await claim_gated(opened, second)).jobs) == 1
        await hand_back(opened, pairs[1:2], "retry", 60.0)
        assert len((await claim_gated(opened, second)).jobs) == 1
        await lose(opened, first)
        assert (await claim_gated(opened, second)).jobs == []
        await release(opened, first)
        assert len((await claim_gated(opened, second)).jobs) == 1
        assert await count(opened, "limit_leases") == 3


async def test_a_new_concurrency_limit_counts_what_runs_already() -> None:
    """Jobs that were claimed before the limit was made take its permits too."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await enqueue(opened, 3)
        running = pairs_of(await claim(opened, worker))
        await set_limit(opened, "four", form="concurrency", amount=4)
        await enqueue(opened, 5)
        assert len(await claim_all(opened, worker)) == 1
        await complete(opened, running)
        assert len(await claim_all(opened, worker)) == 3


async def test_a_quota_counts_a_job_once() -> None:
    """A retried job is not charged again, and runs though the quota is spent."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await set_limit(opened, "daily", form="quota", amount=2)
        await enqueue(opened, 4)
        pairs = (await claim_gated(opened, worker)).pairs
        await hand_back(opened, pairs[:1], "retry", 60.0)
        await opened.execute("UPDATE supervisor.jobs_waiting SET due_at = clock_timestamp() WHERE reason = 'retry'")
        await opened.execute("SELECT supervisor.promote(10)")
        await opened.execute("SELECT supervisor.park(0, 100)")
        again = await claim_all(opened, worker)
        assert [row["id"] for row in again] == [pairs[0][0]]
        assert (await states(opened, "daily"))[""]["used"] == 2


async def test_each_key_has_a_count_of_its_own() -> None:
    """A limit by tenant and a field of the arguments counts each pair for itself, and a missing field as one more."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await set_limit(opened, "each", amount=1, by=["tenant", "args.site.host"])
        for tenant in ("a", "b"):
            for args in ({"site": {"host": "x"}}, {"site": {"host": "y"}}, {}, {"site": 1}):
                for _ in range(2):
                    await add(opened, tenant, args=args)
        assert len(await claim_all(opened, worker)) == 6
        assert set(await states(opened, "each")) == {
            f'["{tenant}","{host}"]' for tenant in "ab" for host in ("x", "y", "")
        }


async def test_a_job_needs_the_permits_of_all_its_limits() -> None:
    """Where one of two limits has nothing left, none of the other is taken."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await set_limit(opened, "all", amount=5)
        await set_limit(opened, "each", amount=2, by=["tenant"])
        for tenant in ("a", "a", "a", "a", "b", "b", "b"):
            await add(opened, tenant)
        found = await claim_all(opened, worker)
        assert Counter(row["tenant"] for row in found) == {"a": 2, "b": 2}
        assert (await states(opened, "all"))[""]["granted"] == 4


async def test_no_line_waits_for_another() -> None:
    """With one free slot at a time, ten tenants behind one with a thousand jobs get their turns, each its own."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await set_limit(opened, "each", amount=500, by=["tenant"])
        await opened.execute(
            "SELECT supervisor.enqueue_many(array_fill('noop'::text, ARRAY[1000]), "
            "array_fill('{}'::jsonb, ARRAY[1000]), tenants => array_fill('a'::text, ARRAY[1000]))"
        )
        for tenant in "bcdefghijk":
            await add(opened, tenant)
        seen: list[str] = []
        after = None
        while len(set(seen)) < 11:
            found = await claim_gated(opened, worker, 1, after)
            seen += [row["tenant"] for row in found.jobs]
            after = found.go_on
            assert len(seen) <= 12


async def test_a_shut_line_hides_no_open_one() -> None:
    """Hundreds of tenants without a permit do not keep one call after another from the tenant that has some."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await set_limit(opened, "each", amount=1, by=["tenant"])
        tenants = [f"t{number:03}" for number in range(400)]
        await opened.execute(
            "SELECT supervisor.enqueue_many(array_fill('noop'::text, ARRAY[800]), array_fill('{}'::jsonb, ARRAY[800]), "
            "tenants => $1)",
            tenants * 2,
        )
        assert len(await claim_all(opened, worker, 1000)) == 400
        assert await claim_all(opened, worker, 1000) == []
        job = await add(opened, "zz")
        assert [row["id"] for row in await claim_all(opened, worker, 1000)] == [job]


async def test_weight_gives_more_turns() -> None:
    """Of two tenants that wait, one with three times the weight starts three times as many."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await set_limit(opened, "each", amount=100, by=["tenant"])
        await opened.execute("SELECT supervisor.set_weight('b', 3, 'because', 'ann')")
        for tenant in ["a"] * 20 + ["b"] * 20:
            await add(opened, tenant)
        found = await claim_gated(opened, worker, 8)
        assert Counter(row["tenant"] for row in found.jobs) == {"a": 2, "b": 6}


async def test_a_change_is_obeyed_by_jobs_that_wait() -> None:
    """More permits start more of what waits, fewer stop it, and without the limit all of it starts."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await set_limit(opened, "some", amount=2)
        await enqueue(opened, 20)
        assert len(await claim_all(opened, worker)) == 2
        await set_limit(opened, "some", amount=5)
        assert len(await claim_all(opened, worker)) == 3
        await set_limit(opened, "some", amount=1)
        assert await claim_all(opened, worker) == []
        await move_on(opened, 61.0)
        assert len(await claim_all(opened, worker)) == 1
        await drop_limit(opened, "some")
        assert len(await claim_all(opened, worker)) == 14


async def test_lines_are_made_anew_when_a_limit_counts_by_something_else() -> None:
    """A limit by a field that is made while jobs wait sorts them into lines, so that none hides another's."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await set_limit(opened, "none", amount=0)
        for host in ["x"] * 200 + ["y"]:
            await add(opened, args={"host": host})
        await set_limit(opened, "each", amount=1, by=["args.host"])
        await drop_limit(opened, "none")
        looked = 0
        while more := await opened.fetchval("SELECT supervisor.reline(50)"):
            looked += more
        assert looked == 201
        assert len(await claim_all(opened, worker, 10)) == 2


async def test_a_shadow_counts_what_it_would_hold_back() -> None:
    """A shadow limit lets everything through, and says how much it would not have."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await set_limit(opened, "maybe", amount=2, shadow=True)
        await enqueue(opened, 5)
        assert len(await claim_all(opened, worker)) == 5
        row = (await states(opened, "maybe"))[""]
        assert (row["granted"], row["shadowed"], row["held_back"]) == (2, 3, 0)


@pytest.mark.parametrize(
    "switch", [("kill_switch", ""), ("queue", "default"), ("kind", "noop"), ("tenant", "a"), ("service", "default")]
)
async def test_a_switch_stops_what_waits_behind_a_gate(switch: tuple[str, str]) -> None:
    """Nothing that is off starts through a gate, and no permit is taken for it."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await set_limit(opened, "some", amount=2)
        await add(opened, "a")
        change = "SELECT * FROM supervisor.change_switch($1, $2, $3, 'because', 'ann')"
        await opened.fetch(change, *switch, "true")
        assert await claim_all(opened, worker) == []
        await opened.fetch(change, *switch, "false")
        assert len(await claim_all(opened, worker)) == 1


async def test_a_mode_stops_what_waits_behind_a_gate() -> None:
    """In safe mode only essential kinds start through a gate."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await add_kind(opened, "vital", essential=True)
        await set_limit(opened, "some", amount=5)
        await add(opened)
        job = await add(opened, kind="vital")
        await opened.fetch("SELECT * FROM supervisor.change_switch('mode', '', '\"safe_mode\"', 'because', 'ann')")
        assert [row["id"] for row in await claim_all(opened, worker, kinds=["noop", "vital"])] == [job]


async def test_suspects_start_through_gates_in_their_own_lane() -> None:
    """A job that was lost is left to claims that ask for losses, and those get no other."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await set_limit(opened, "some", amount=10)
        lost, other = await enqueue(opened, 2)
        await opened.execute("UPDATE supervisor.jobs_waiting SET losses = 2 WHERE id = $1", lost)
        assert [row["id"] for row in await claim_all(opened, worker)] == [other]
        assert await claim_all(opened, worker, losses=(1, 1)) == []
        assert [row["id"] for row in await claim_all(opened, worker, losses=(1, 2))] == [lost]


async def test_only_kinds_that_the_worker_knows_start() -> None:
    """A line of another kind is passed over, however long it is."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await add_kind(opened, "other")
        await set_limit(opened, "some", amount=10)
        await add(opened, kind="other")
        job = await add(opened)
        assert [row["id"] for row in await claim_all(opened, worker)] == [job]


async def test_who_has_no_lease_gets_no_permit() -> None:
    """A worker that is lost starts nothing through a gate."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await set_limit(opened, "some", amount=10)
        await enqueue(opened, 1)
        await lose(opened, worker)
        with pytest.raises(asyncpg.PostgresError) as refused:
            await claim_gated(opened, worker)
        assert refused.value.sqlstate == "SV001"


async def test_a_claim_that_is_undone_takes_no_permit() -> None:
    """Permits are taken in the transaction of the claim: what is rolled back took none."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await set_limit(opened, "some", amount=1)
        await enqueue(opened, 1)
        undo = opened.transaction()
        await undo.start()
        assert len((await claim_gated(opened, worker)).jobs) == 1
        await undo.rollback()
        assert len(await claim_all(opened, worker)) == 1
