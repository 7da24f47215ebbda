"""The functions against a model: whatever is called, in whatever order, the tables are what the model says."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeVar

import uvloop
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.store.postgres import fresh_database
from tests.store.sql_session import (
    add_kind,
    add_worker,
    claim,
    claim_suspects,
    complete,
    expire,
    finish,
    hand_back,
    pairs_of,
    prepare,
    release,
    session,
)

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

    from tests.store.sql_session import Connection, Pair

    T = TypeVar("T")

KINDS = {"noop": 3, "once": 1}
MAX_LOSSES = 3
EMPTY = "TRUNCATE supervisor.jobs, supervisor.jobs_waiting, supervisor.job_history, supervisor.job_keys; "
EMPTY += "ALTER SEQUENCE supervisor.job_ids RESTART"  # the same ids each time, so that an example can be repeated
STATES = """
SELECT id, CASE WHEN claimed_by IS NULL THEN 'ready' ELSE 'running' END AS state, lock_version, attempts, interruptions,
       losses, coalesce(claimed_by, 0) AS worker FROM supervisor.jobs
UNION ALL
SELECT id, 'waiting', lock_version, attempts, interruptions, losses, 0 FROM supervisor.jobs_waiting
UNION ALL
SELECT job_id, status, lock_version, attempts, interruptions, losses, 0 FROM supervisor.job_history"""

SESSION = st.sampled_from([0, 1])
MOST = st.integers(0, 5)


@dataclass(slots=True)
class Job:
    """What the model knows of a job."""

    most: int
    key: str | None
    state: str
    version: int = 0
    attempts: int = 0
    interruptions: int = 0
    losses: int = 0
    worker: int = 0

    def row(self) -> tuple[str, int, int, int, int, int]:
        """Return what the database should say of it."""
        return (self.state, self.version, self.attempts, self.interruptions, self.losses, self.worker)


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
        self.jobs: dict[int, Job] = {}
        self.keys: dict[str, int] = {}
        self.pairs: list[Pair] = []
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
        if key is not None and key in self.keys:
            assert job == self.keys[key]
            return
        assert job not in self.jobs
        self.jobs[job] = Job(KINDS[kind], key, "waiting" if later else "ready")
        if key is not None:
            self.keys[key] = job

    @rule(where=SESSION, most=MOST, suspects=st.booleans())
    def claim(self, where: int, most: int, *, suspects: bool) -> None:
        free = self._free(suspects=suspects)
        take = claim_suspects if suspects else claim
        rows = self.bench.run(take(self.bench.sessions[where], self.workers[where], most, kinds=[*KINDS]))
        taken = pairs_of(rows)
        assert len(taken) == min(most, len(free))
        assert {job for job, _ in taken} <= free
        self._claimed(taken, where)

    @rule(most=MOST, other=MOST, keep=st.booleans())
    def claim_at_once(self, most: int, other: int, *, keep: bool) -> None:
        """One session claims while the claim of the other is not committed, and may never be."""
        free = self._free(suspects=False)
        change = self.first.transaction()
        self.bench.run(change.start())
        one = pairs_of(self.bench.run(claim(self.first, self.workers[0], most, kinds=[*KINDS])))
        two = pairs_of(self.bench.run(claim(self.bench.sessions[1], self.workers[1], other, kinds=[*KINDS])))
        self.bench.run(change.commit() if keep else change.rollback())
        assert {*one} & {*two} == set()
        assert len(one) == min(most, len(free))
        assert len(two) == min(other, len(free) - len(one))
        self._claimed(one if keep else [], 0)
        self._claimed(two, 1)

    @rule(where=SESSION, data=st.data(), status=st.sampled_from(["completed", "failed", "cancelled"]))
    def end(self, where: int, data: st.DataObject, status: str) -> None:
        chosen = self._choose(data)
        opened = self.bench.sessions[where]
        call = complete(opened, chosen) if status == "completed" else finish(opened, chosen, status)
        live = self._live(chosen)
        assert self.bench.run(call) == live
        for job in live:
            self.jobs[job].attempts += status == "failed"
            self._ended(job, status)

    @rule(
        where=SESSION,
        data=st.data(),
        reason=st.sampled_from(["retry", "snoozed", "interrupted"]),
        delay=st.sampled_from([0.0, 60.0]),
    )
    def give_back(self, where: int, data: st.DataObject, reason: str, delay: float) -> None:
        chosen = self._choose(data)
        live = self._live(chosen)
        assert self.bench.run(hand_back(self.bench.sessions[where], chosen, reason, delay)) == live
        for job in live:
            known = self.jobs[job]
            known.attempts += reason == "retry"
            known.interruptions += reason == "interrupted"
            if known.attempts == known.most:
                self._ended(job, "failed")
            else:
                known.state, known.worker = "waiting" if delay else "ready", 0
                known.version += 1

    @rule(where=SESSION, most=MOST)
    def promote(self, where: int, most: int) -> None:
        self.bench.run(self.first.execute("UPDATE supervisor.jobs_waiting SET due_at = now()"))
        waiting = {job for job, known in self.jobs.items() if known.state == "waiting"}
        moved = self.bench.run(self.bench.sessions[where].fetchval("SELECT supervisor.promote($1)", most))
        assert moved == min(most, len(waiting))
        found = {row["id"] for row in self.bench.run(self.first.fetch("SELECT id FROM supervisor.jobs_waiting"))}
        assert found <= waiting
        for job in waiting - found:
            self.jobs[job].state = "ready"

    @rule(where=SESSION, which=SESSION, stopped=st.booleans())
    def lose(self, where: int, which: int, *, stopped: bool) -> None:
        worker = self.workers[which]
        if stopped:
            call = self.first.execute("UPDATE supervisor.workers SET status = 'STOPPED' WHERE id = $1", worker)
            self.bench.run(call)
        else:
            self.bench.run(expire(self.first, worker))
            assert [row[0] for row in self.bench.run(self.first.fetch("SELECT supervisor.find_lost()"))] == [worker]
        held = {job for job, known in self.jobs.items() if known.worker == worker}
        self._released(held, self.bench.run(release(self.bench.sessions[where], worker)), cost=0 if stopped else 1)
        self.workers[which] = self.bench.run(add_worker(self.first))

    @rule(where=SESSION, which=SESSION)
    def overrun(self, where: int, which: int) -> None:
        worker = self.workers[which]
        past = "UPDATE supervisor.jobs SET deadline_at = clock_timestamp() - interval '11 s' WHERE claimed_by = $1 AND id % 2 = 0"
        self.bench.run(self.first.execute(past, worker))
        late = {job for job, known in self.jobs.items() if known.worker == worker and job % 2 == 0}
        opened = self.bench.sessions[where]
        self._released(late, self.bench.run(release(opened, worker, past_deadline=True)), cost=1)

    @invariant()
    def the_tables_are_the_model(self) -> None:
        rows = self.bench.run(self.first.fetch(STATES))
        assert len(rows) == len(self.jobs)
        assert {row[0]: tuple(row)[1:] for row in rows} == {job: known.row() for job, known in self.jobs.items()}
        keys = self.bench.run(self.first.fetch("SELECT unique_key, job_id FROM supervisor.job_keys"))
        assert {row[0]: row[1] for row in keys} == self.keys

    def _free(self, *, suspects: bool) -> set[int]:
        return {job for job, known in self.jobs.items() if known.state == "ready" and (known.losses > 0) == suspects}

    def _claimed(self, taken: Iterable[Pair], where: int) -> None:
        for job, version in sorted(taken):
            known = self.jobs[job]
            known.state, known.worker = "running", self.workers[where]
            known.version += 1
            assert known.version == version
            self.pairs.append((job, version))

    def _choose(self, data: st.DataObject) -> list[Pair]:
        """Choose among all pairs that ever were, most of which are stale after a while, in any order."""
        return data.draw(st.lists(st.sampled_from(self.pairs), unique=True, max_size=6)) if self.pairs else []

    def _live(self, pairs: Iterable[Pair]) -> set[int]:
        return {job for job, version in pairs if (self.jobs[job].state, self.jobs[job].version) == ("running", version)}

    def _ended(self, job: int, status: str) -> None:
        known = self.jobs[job]
        known.state, known.worker = status, 0
        if known.key is not None:
            del self.keys[known.key]

    def _released(self, held: set[int], released: dict[int, bool], *, cost: int) -> None:
        assert set(released) == held
        for job, quarantined in released.items():
            known = self.jobs[job]
            known.version += 1
            known.losses += cost
            known.interruptions += 1 - cost
            assert quarantined == (cost == 1 and known.losses == MAX_LOSSES)
            if quarantined:
                self._ended(job, "quarantined")
            else:
                known.state, known.worker = "ready", 0


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
