"""The functions against a model: whatever is called, in whatever order, the tables are what the model says."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeVar

import asyncpg
import pytest
import uvloop
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.store.postgres import fresh_database
from tests.store.sql_model import LIVE, Job, Model, tables
from tests.store.sql_session import (
    add_kind,
    add_worker,
    cancel,
    claim,
    claim_suspects,
    complete,
    expire,
    finish,
    hand_back,
    pairs_of,
    prepare,
    record,
    release,
    retry,
    session,
)

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from tests.store.sql_session import Connection, Pair

    T = TypeVar("T")

KINDS = {"noop": 3, "once": 1}
EMPTY = "TRUNCATE supervisor.jobs, supervisor.jobs_waiting, supervisor.job_history, supervisor.job_keys, "
EMPTY += "supervisor.job_steps; "
EMPTY += "ALTER SEQUENCE supervisor.job_ids RESTART"  # the same ids each time, so that an example can be repeated
OVERDUE = """
UPDATE supervisor.jobs SET deadline_at = clock_timestamp() - interval '11 s' WHERE claimed_by = $1 AND id % 2 = 0"""
RESOLVE = "SELECT supervisor.resolve_step($1, $2, '1', $3)"

SESSION = st.sampled_from([0, 1])
MOST = st.integers(0, 5)


@dataclass(slots=True)
class Bench:
    """Two sessions, and the loop that drives them."""

    runner: asyncio.Runner
    sessions: list[Connection]

    def run(self, work: Coroutine[object, object, T]) -> T:
        """Do one thing."""
        return self.runner.run(work)


class Queue(RuleBasedStateMachine):
    bench: ClassVar[Bench]

    def __init__(self) -> None:
        super().__init__()
        self.first = self.bench.sessions[0]
        self.model = Model()
        self.workers: list[int] = []

    @initialize()
    def clear(self) -> None:
        self.bench.run(self.first.execute(EMPTY))
        self.workers = [self.bench.run(add_worker(self.first)) for _ in range(2)]

    @rule(
        where=SESSION, kind=st.sampled_from(sorted(KINDS)), key=st.sampled_from([None, "a", "b"]), later=st.booleans()
    )
    def enqueue(self, where: int, kind: str, key: str | None, *, later: bool) -> None:
        call = (
            "SELECT supervisor.enqueue($1, unique_key => $2, "
            "run_at => CASE WHEN $3 THEN clock_timestamp() + interval '1 h' END)"
        )
        job = self.bench.run(self.bench.sessions[where].fetchval(call, kind, key, later))
        if key is not None and key in self.model.keys:
            assert job == self.model.keys[key]
            return
        self.model.add(job, Job(KINDS[kind], key, "waiting" if later else "ready"))

    @rule(where=SESSION, most=MOST, suspects=st.booleans())
    def claim(self, where: int, most: int, *, suspects: bool) -> None:
        free = self.model.free(suspects=suspects)
        take = claim_suspects if suspects else claim
        rows = self.bench.run(take(self.bench.sessions[where], self.workers[where], most, kinds=[*KINDS]))
        taken = pairs_of(rows)
        assert len(taken) == min(most, len(free))
        assert {job for job, _ in taken} <= free
        self.model.claim(taken, self.workers[where])

    @rule(most=MOST, other=MOST, keep=st.booleans())
    def claim_at_once(self, most: int, other: int, *, keep: bool) -> None:
        """One session claims while the claim of the other is not committed, and may never be."""
        free = self.model.free(suspects=False)
        change = self.first.transaction()
        self.bench.run(change.start())
        one = pairs_of(self.bench.run(claim(self.first, self.workers[0], most, kinds=[*KINDS])))
        two = pairs_of(self.bench.run(claim(self.bench.sessions[1], self.workers[1], other, kinds=[*KINDS])))
        self.bench.run(change.commit() if keep else change.rollback())
        assert {*one} & {*two} == set()
        assert len(one) == min(most, len(free))
        assert len(two) == min(other, len(free) - len(one))
        self.model.claim(one if keep else [], self.workers[0])
        self.model.claim(two, self.workers[1])

    @rule(where=SESSION, data=st.data(), status=st.sampled_from(["completed", "failed", "cancelled"]))
    def end(self, where: int, data: st.DataObject, status: str) -> None:
        chosen = self._choose(data)
        opened = self.bench.sessions[where]
        call = complete(opened, chosen) if status == "completed" else finish(opened, chosen, status)
        live = self.model.live(chosen)
        assert self.bench.run(call) == live
        for job in live:
            self.model.jobs[job].attempts += status == "failed"
            self.model.end(job, status)

    @rule(
        where=SESSION,
        data=st.data(),
        reason=st.sampled_from(["retry", "snoozed", "interrupted", "blocked"]),
        delay=st.sampled_from([0.0, 60.0]),
    )
    def give_back(self, where: int, data: st.DataObject, reason: str, delay: float) -> None:
        chosen = self._choose(data)
        live = self.model.live(chosen)
        assert self.bench.run(hand_back(self.bench.sessions[where], chosen, reason, delay)) == live
        for job in live:
            self.model.hand_back(job, reason, later=delay > 0)

    @rule(where=SESSION, data=st.data(), reason=st.sampled_from([None, "no"]))
    def cancel(self, where: int, data: st.DataObject, reason: str | None) -> None:
        chosen = self._some(data)
        live = {job: self.model.jobs[job].state == "running" for job in chosen if self.model.jobs[job].state in LIVE}
        assert self.bench.run(cancel(self.bench.sessions[where], chosen, reason)) == live
        for job in live:
            self.model.jobs[job].version += 1
            self.model.end(job, "cancelled")

    @rule(where=SESSION, data=st.data())
    def retry(self, where: int, data: st.DataObject) -> None:
        chosen = self._some(data)
        found = self.bench.run(retry(self.bench.sessions[where], chosen))
        assert set(found) == set(chosen)
        for job in sorted(found):  # of two with the same key, the first comes back
            assert found[job] == self.model.retry(job)

    @rule(where=SESSION, data=st.data(), name=st.sampled_from(["a", "b"]), done=st.booleans())
    def record(self, where: int, data: st.DataObject, name: str, *, done: bool) -> None:
        chosen = self._choose(data)
        live = self.model.live(chosen)
        opened = self.bench.sessions[where]
        wrong = [job for job in live if not self.model.may_record(job, name, done=done)]
        if wrong:
            with pytest.raises(asyncpg.PostgresError) as refused:
                self.bench.run(record(opened, chosen, name, done=done))
            assert refused.value.sqlstate == "SV002"
            return
        assert self.bench.run(record(opened, chosen, name, done=done)) == live
        for job in live:
            self.model.jobs[job].steps[name] = (done, self.model.jobs[job].version)

    @rule(where=SESSION, data=st.data(), name=st.sampled_from(["a", "b"]), again=st.booleans())
    def resolve(self, where: int, data: st.DataObject, name: str, *, again: bool) -> None:
        for job in self._some(data)[:1]:
            call = self.bench.sessions[where].fetchval(RESOLVE, job, name, again)
            assert self.bench.run(call) == self.model.resolve(job, name, again=again)

    @rule(where=SESSION, most=MOST)
    def promote(self, where: int, most: int) -> None:
        self.bench.run(
            self.first.execute("UPDATE supervisor.jobs_waiting SET due_at = now() WHERE reason <> 'blocked'")
        )
        waiting = {job for job, known in self.model.jobs.items() if known.state == "waiting"}
        moved = self.bench.run(self.bench.sessions[where].fetchval("SELECT supervisor.promote($1)", most))
        assert moved == min(most, len(waiting))
        left = self.bench.run(self.first.fetch("SELECT id FROM supervisor.jobs_waiting WHERE reason <> 'blocked'"))
        found = {row["id"] for row in left}
        assert found <= waiting
        for job in waiting - found:
            self.model.jobs[job].state = "ready"

    @rule(where=SESSION, which=SESSION, stopped=st.booleans())
    def lose(self, where: int, which: int, *, stopped: bool) -> None:
        worker = self.workers[which]
        if stopped:
            call = self.first.execute("UPDATE supervisor.workers SET status = 'STOPPED' WHERE id = $1", worker)
            self.bench.run(call)
        else:
            self.bench.run(expire(self.first, worker))
            assert [row[0] for row in self.bench.run(self.first.fetch("SELECT supervisor.find_lost()"))] == [worker]
        held = {job for job, known in self.model.jobs.items() if known.worker == worker}
        self.model.release(held, self.bench.run(release(self.bench.sessions[where], worker)), cost=0 if stopped else 1)
        self.workers[which] = self.bench.run(add_worker(self.first))

    @rule(where=SESSION, which=SESSION)
    def overrun(self, where: int, which: int) -> None:
        worker = self.workers[which]
        self.bench.run(self.first.execute(OVERDUE, worker))
        late = {job for job, known in self.model.jobs.items() if known.worker == worker and job % 2 == 0}
        opened = self.bench.sessions[where]
        self.model.release(late, self.bench.run(release(opened, worker, past_deadline=True)), cost=1)

    @invariant()
    def the_tables_are_the_model(self) -> None:
        assert self.bench.run(tables(self.first)) == self.model.tables()

    def _choose(self, data: st.DataObject) -> list[Pair]:
        """Choose among all pairs that ever were, most of which are stale after a while, in any order."""
        return (
            data.draw(st.lists(st.sampled_from(self.model.pairs), unique=True, max_size=6)) if self.model.pairs else []
        )

    def _some(self, data: st.DataObject) -> list[int]:
        return (
            data.draw(st.lists(st.sampled_from(sorted(self.model.jobs)), unique=True, max_size=6))
            if self.model.jobs
            else []
        )


def test_the_functions_agree_with_the_model() -> None:
    """After any sequence of calls from two sessions, with live and stale fences, the tables are those of the model."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        stack = contextlib.AsyncExitStack()
        try:
            dsn = runner.run(stack.enter_async_context(fresh_database(prepare)))
            opened = [runner.run(stack.enter_async_context(session(dsn))) for _ in range(2)]
            runner.run(add_kind(opened[0], "once", attempts=1))
            Queue.bench = Bench(runner, opened)
            run_state_machine_as_test(Queue)
        finally:
            runner.run(stack.aclose())
