"""Limits against a model: whatever is enqueued, claimed, ended, lost and changed, every window holds what it may."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, TypeVar

import pytest
import uvloop
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.store.limiting import claim_all, claim_gated, move_on, set_limit
from tests.store.postgres import fresh_database
from tests.store.sql_session import add_worker, complete, hand_back, lose, prepare, release, session

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from datetime import datetime

    from asyncpg import Record

    from tests.store.sql_session import Connection

    T = TypeVar("T")

PERIOD = 60.0
EMPTY = (
    "TRUNCATE supervisor.jobs, supervisor.jobs_waiting, supervisor.job_history, supervisor.limits, "
    "supervisor.limit_states, supervisor.limit_leases, supervisor.reservations, supervisor.gate_lines; "
    "ALTER SEQUENCE supervisor.job_ids RESTART"
)
ENQUEUE = (
    "SELECT supervisor.enqueue_many(array_fill('noop'::text, ARRAY[$1::int]), "
    "array_fill('{}'::jsonb, ARRAY[$1::int]), tenants => array_fill($2::text, ARRAY[$1::int]))"
)
CLAIMED = "SELECT id, claimed_at FROM supervisor.jobs WHERE id = ANY ($1)"
RUNNING = "SELECT tenant, count(*) FROM supervisor.jobs WHERE claimed_by IS NOT NULL GROUP BY tenant"
TO_GATES = (
    "UPDATE supervisor.jobs_waiting SET due_at = clock_timestamp() WHERE line IS NULL",
    "SELECT supervisor.promote(1000)",
    "SELECT supervisor.park(0, 1000)",
)
AMOUNTS = {True: {"all": 6, "each": 3, "running": 2}, False: {"all": 40, "each": 33, "running": 30}}
SESSION = st.sampled_from([0, 1, 2])
TENANT = st.sampled_from(["a", "b", "c"])


@dataclass(slots=True)
class Bench:
    """Three sessions, and the loop that drives them."""

    runner: asyncio.Runner
    sessions: list[Connection]

    def run(self, work: Coroutine[object, object, T]) -> T:
        """Do one thing."""
        return self.runner.run(work)


class Limits(RuleBasedStateMachine):
    """A window for all, a window and a concurrency for each tenant; each start is on record with its time."""

    bench: ClassVar[Bench]
    exact: ClassVar[bool]

    def __init__(self) -> None:
        super().__init__()
        self.first = self.bench.sessions[0]
        self.starts: list[tuple[datetime, str, int, int]] = []  # when, whose, and what the windows allowed then
        self.amounts = {"all": 6, "each": 3, "running": 2}
        self.workers: list[int] = []
        self.pairs: dict[int, tuple[int, int]] = {}

    @initialize()
    def clear(self) -> None:
        self.bench.run(self.first.execute(EMPTY))
        self.amounts = dict(AMOUNTS[self.exact])
        self.workers = [self.bench.run(add_worker(self.first)) for _ in self.bench.sessions]
        for name in self.amounts:
            self._set(name)
        for tenant in "abc":
            self.enqueue(tenant, 30)

    @rule(tenant=TENANT, count=st.integers(1, 30))
    def more(self, tenant: str, count: int) -> None:
        self.enqueue(tenant, count)

    def enqueue(self, tenant: str, count: int) -> None:
        """Put jobs behind the gate."""
        self.bench.run(self.first.execute(ENQUEUE, count, tenant))

    @rule(where=SESSION, most=st.sampled_from([100, 100, 7, 1, 0]))
    def claim(self, where: int, most: int) -> None:
        """One session alone gets all that the limits permit, as far as each start has an entry of its own."""
        free = self._free()
        taken = self.bench.run(claim_all(self.bench.sessions[where], self.workers[where], most))
        if free is not None:
            assert len(taken) == min(most, free)
        self._record(taken)

    @rule(one=SESSION, other=SESSION, keep=st.booleans(), most=st.integers(0, 20))
    def claim_at_once(self, one: int, other: int, most: int, *, keep: bool) -> None:
        """One session claims while the claim of another is not committed, and may never be."""
        if one == other:
            return
        change = self.bench.sessions[one].transaction()
        self.bench.run(change.start())
        first = self.bench.run(claim_gated(self.bench.sessions[one], self.workers[one], most)).jobs
        second = self.bench.run(claim_gated(self.bench.sessions[other], self.workers[other], 20)).jobs
        self.bench.run(change.commit() if keep else change.rollback())
        assert not {row["id"] for row in first} & {row["id"] for row in second}
        self._record(first if keep else [])
        self._record(second)

    @rule(seconds=st.sampled_from([0.5, 31.0, 45.0, 59.0, 61.0]))
    def time_passes(self, seconds: float) -> None:
        self.bench.run(move_on(self.first, seconds))
        past = timedelta(seconds=seconds)
        self.starts = [(start - past, whose, every, each) for start, whose, every, each in self.starts]

    @rule(each=st.sampled_from([1, 1, 2, 3]), how=st.sampled_from(["complete", "complete", "retry", "interrupted"]))
    def end(self, each: int, how: str) -> None:
        """Some of the jobs that run end: all of them, every second, or every third."""
        pairs = [self.pairs.pop(job) for job in sorted(self.pairs)[::each]]
        if how == "complete":
            self.bench.run(complete(self.first, pairs))
        else:
            self.bench.run(hand_back(self.first, pairs, how, 60.0 if how == "retry" else 0.0))
            self._to_gates()

    @rule(which=SESSION, released=st.booleans())
    def lose_worker(self, which: int, *, released: bool) -> None:
        """What a dead worker has counts until it is taken from it."""
        worker = self.workers[which]
        self.bench.run(lose(self.first, worker))
        if released:
            for job in self.bench.run(release(self.first, worker, max_losses=1000)):
                del self.pairs[job]
            self.bench.run(self.first.execute("UPDATE supervisor.jobs SET losses = 0 WHERE claimed_by IS NULL"))
            self._to_gates()
        self.workers[which] = self.bench.run(add_worker(self.first))

    @rule(name=st.sampled_from(["all", "each", "running"]), amount=st.integers(0, 8))
    def change(self, name: str, amount: int) -> None:
        self.amounts[name] = amount if self.exact else amount + 33
        self._set(name)

    @invariant()
    def no_window_has_more_than_it_may(self) -> None:
        """Each window that ends with a start has, with it, at most what was allowed then."""
        for place, (end, tenant, every, each) in enumerate(self.starts):
            inside = [whose for start, whose, *_ in self.starts[: place + 1] if start > end - timedelta(seconds=PERIOD)]
            assert len(inside) <= every
            assert inside.count(tenant) <= each

    @invariant()
    def no_tenant_runs_more_than_it_may(self) -> None:
        """What runs grew only while it was below its limit; a limit that was lowered stops nothing that runs."""
        if self.workers:
            now = {row[0]: row[1] for row in self.bench.run(self.first.fetch(RUNNING))}
            assert now == Counter(self._tenants())

    def _tenants(self) -> list[str]:
        rows = self.bench.run(self.first.fetch("SELECT tenant FROM supervisor.jobs WHERE claimed_by IS NOT NULL"))
        return [row[0] for row in rows]

    def _set(self, name: str) -> None:
        form = {"form": "concurrency"} if name == "running" else {"form": "window", "period_s": PERIOD}
        by = [] if name == "all" else ["tenant"]
        self.bench.run(set_limit(self.first, name, amount=self.amounts[name], by=by, **form))

    def _to_gates(self) -> None:
        for statement in TO_GATES:
            self.bench.run(self.first.execute(statement))

    def _record(self, taken: list[Record]) -> None:
        if not taken:
            return
        times = {
            row["id"]: row["claimed_at"]
            for row in self.bench.run(self.first.fetch(CLAIMED, [row["id"] for row in taken]))
        }
        for row in taken:
            self.pairs[row["id"]] = (row["id"], row["lock_version"])
            self.starts.append((times[row["id"]], row["tenant"], self.amounts["all"], self.amounts["each"]))
        self.starts.sort(key=lambda start: start[0])
        running = Counter(self._tenants())
        assert all(running[row["tenant"]] <= self.amounts["running"] for row in taken)

    def _free(self) -> int | None:
        """Return how many jobs may start now; None where buckets make the limits a little stricter."""
        if not self.exact:
            return None
        now = self.bench.run(self.first.fetchval("SELECT clock_timestamp()"))
        past = [whose for start, whose, *_ in self.starts if start > now - timedelta(seconds=PERIOD)]
        running = Counter(self._tenants())
        waiting = self.bench.run(
            self.first.fetch("SELECT tenant FROM supervisor.jobs_waiting WHERE reason = 'limited'")
        )
        each = sum(
            max(min(count, self.amounts["each"] - past.count(tenant), self.amounts["running"] - running[tenant]), 0)
            for tenant, count in Counter(row[0] for row in waiting).items()
        )
        return max(min(each, self.amounts["all"] - len(past)), 0)


@pytest.mark.parametrize("exact", [True, False], ids=["exact", "buckets"])
def test_limits_hold_in_every_window(*, exact: bool) -> None:
    """After any claims of three sessions, ends, losses and changes, no sliding window has too many starts."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        stack = contextlib.AsyncExitStack()
        try:
            dsn = runner.run(stack.enter_async_context(fresh_database(prepare)))
            opened = [runner.run(stack.enter_async_context(session(dsn))) for _ in range(3)]
            Limits.bench, Limits.exact = Bench(runner, opened), exact
            run_state_machine_as_test(Limits, settings=settings(max_examples=40, stateful_step_count=30))
        finally:
            runner.run(stack.aclose())
