"""The switches against a model: after any sequence of changes from two sessions, what starts is what the model says."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, TypeAlias, TypeVar

import uvloop
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.store.postgres import fresh_database
from tests.store.sql_session import add_worker, claim, complete, pairs_of, prepare, session
from tests.store.switching import USUAL, change, control, expire, make_due

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from tests.store.sql_session import Connection, Pair

    T = TypeVar("T")

Work: TypeAlias = tuple[str, str, str, str | None, bool, bool]
"""Queue, kind, service, tenant, whether it changes anything, whether it is essential."""

EMPTY = """
TRUNCATE supervisor.jobs, supervisor.switches, supervisor.revocations;
UPDATE supervisor.control SET killed = false, mode = 'normal', off_services = '{}', off_tenants = '{}',
    off_queues = '{}', off_kinds = '{}'"""
PUT = (
    "INSERT INTO supervisor.jobs (queue, kind, service, changes, essential, args) "
    "VALUES ($1, $2, $3, $4, $5, '{}') RETURNING id"
)
CHECK = "SELECT allowed, reason FROM supervisor.safety_check($3, $4, $5, $1, $2, $6)"

SESSION = st.sampled_from([0, 1])
NAME = st.sampled_from(["a", "b"])
WORK = st.tuples(st.just("default"), NAME, NAME, st.none() | NAME, st.booleans(), st.booleans())
CHANGE = st.one_of(
    st.tuples(st.just("kill_switch"), st.none(), st.booleans()),
    st.tuples(st.just("mode"), st.none(), st.sampled_from(["normal", "observe_only", "safe_mode"])),
    st.tuples(st.sampled_from(["service", "tenant", "kind"]), NAME, st.booleans()),
    st.tuples(st.just("queue"), st.just("default"), st.booleans()),
)


@dataclass(slots=True)
class Model:
    """What is set, with what it goes back to if it expires; and the jobs, with the pair of the claim if they run."""

    epoch: int = 0
    entries: int = 0
    values: dict[tuple[str, str | None], bool | str] = field(default_factory=dict)
    expiring: dict[tuple[str, str | None], bool | str] = field(default_factory=dict)
    jobs: dict[int, Work] = field(default_factory=dict)
    running: dict[int, int] = field(default_factory=dict)
    revoked: set[int] = field(default_factory=set)

    def value(self, scope: str, name: str | None) -> bool | str:
        """Return what a switch is set to."""
        return self.values.get((scope, name), USUAL.get(scope, False))

    def blocks(self, work: Work, only: tuple[str, str | None] | None = None) -> bool:
        """Whether such work may not start: because of anything, or of one switch."""
        queue, kind, service, tenant, changes, essential = work
        mode = self.value("mode", None)
        found = {
            ("kill_switch", None): self.value("kill_switch", None) is True,
            ("mode", None): (mode == "observe_only" and changes) or (mode == "safe_mode" and not essential),
            ("service", service): self.value("service", service) is True,
            ("tenant", tenant): tenant is not None and self.value("tenant", tenant) is True,
            ("queue", queue): self.value("queue", queue) is True,
            ("kind", kind): self.value("kind", kind) is True,
        }
        return any(found.values()) if only is None else any(on for key, on in found.items() if key == only)


@dataclass(slots=True)
class Bench:
    """Two sessions, and the loop that drives them."""

    runner: asyncio.Runner
    sessions: list[Connection]

    def run(self, work: Coroutine[object, object, T]) -> T:
        """Do one thing."""
        return self.runner.run(work)


class Board(RuleBasedStateMachine):
    bench: ClassVar[Bench]

    def __init__(self) -> None:
        super().__init__()
        self.first = self.bench.sessions[0]
        self.model = Model()
        self.worker = 0
        self.old: list[Pair] = []

    @initialize()
    def clear(self) -> None:
        self.bench.run(self.first.execute(EMPTY))
        self.worker = self.bench.run(add_worker(self.first))
        self.model.epoch = self.bench.run(control(self.first))["epoch"]
        self.model.entries = self.bench.run(self.first.fetchval("SELECT last FROM supervisor.audit_head"))

    @rule(where=SESSION, what=CHANGE, cancel=st.booleans(), expires=st.booleans(), dry_run=st.booleans())
    def change(
        self, where: int, what: tuple[str, str | None, bool | str], *, cancel: bool, expires: bool, dry_run: bool
    ) -> None:
        scope, name, value = what
        key = scope, name
        was, usual = self.model.value(scope, name), USUAL.get(scope, False)
        stops = value != usual
        expires = expires and stops
        row = self.bench.run(
            change(
                self.bench.sessions[where],
                scope,
                name,
                value,
                cancel=cancel,
                expires=60.0 if expires else None,
                dry_run=dry_run,
            )
        )
        changed = was != value or expires or key in self.model.expiring or (cancel and stops)
        assert row["changed"] == changed
        assert json.loads(row["before"])["value"] == was
        if dry_run or not changed:
            return
        self.model.epoch += 1
        self.model.entries += 1
        lasting = self.model.expiring.pop(key, was)
        self.model.values[key] = value
        if expires:
            self.model.expiring[key] = lasting if scope == "mode" else False
        if cancel and stops:
            self.model.revoked |= {job for job in self.model.running if self.model.blocks(self.model.jobs[job], key)}

    @rule(where=SESSION)
    def expire(self, where: int) -> None:
        self.bench.run(make_due(self.first))
        epochs = self.bench.run(expire(self.bench.sessions[where]))
        due = len(self.model.expiring)
        assert epochs == [self.model.epoch + 1 + number for number in range(due)]
        self.model.values.update(self.model.expiring)
        self.model.expiring.clear()
        self.model.epoch += due
        self.model.entries += due

    @rule(where=SESSION, work=WORK)
    def put(self, where: int, work: Work) -> None:
        queue, kind, service, _, changes, essential = work
        job = self.bench.run(self.bench.sessions[where].fetchval(PUT, queue, kind, service, changes, essential))
        self.model.jobs[job] = (queue, kind, service, None, changes, essential)

    @rule(where=SESSION, most=st.integers(0, 5))
    def claim(self, where: int, most: int) -> None:
        rows = self.bench.run(claim(self.bench.sessions[where], self.worker, most, kinds=["a", "b"]))
        taken = dict(pairs_of(rows))
        free = [
            job
            for job, work in self.model.jobs.items()
            if job not in self.model.running and not self.model.blocks(work)
        ]
        assert set(taken) <= set(free)
        assert len(taken) == min(most, len(free))
        self.model.running.update(taken)

    @rule(where=SESSION, data=st.data())
    def complete(self, where: int, data: st.DataObject) -> None:
        pairs = [*self.model.running.items(), *self.old]
        chosen = data.draw(st.lists(st.sampled_from(pairs), unique=True, max_size=4)) if pairs else []
        live = {job for job, fence in chosen if self.model.running.get(job) == fence}
        assert self.bench.run(complete(self.bench.sessions[where], chosen)) == live
        for job in live:
            del self.model.running[job], self.model.jobs[job]
        self.model.revoked -= live

    @rule(where=SESSION, by_worker=st.booleans())
    def revoke(self, where: int, *, by_worker: bool) -> None:
        opened = self.bench.sessions[where]
        if by_worker:
            call = opened.fetch("SELECT * FROM supervisor.revoke_held($1, $2)", self.worker, [*self.model.running])
            rows = self.bench.run(call)
            assert all(row["stopped"] for row in rows)
            found = {row["id"] for row in rows}
        else:
            found = set()
            while (row := self.bench.run(opened.fetchrow("SELECT * FROM supervisor.revoke(3)"))) is not None:
                found.update(row["ids"])
        assert found == self.model.revoked
        self.old += [(job, self.model.running.pop(job)) for job in found]
        self.model.revoked.clear()

    @rule(where=SESSION, work=WORK)
    def check(self, where: int, work: Work) -> None:
        row = self.bench.run(self.bench.sessions[where].fetchrow(CHECK, *work))
        assert row is not None
        assert row["allowed"] == (row["reason"] is None) == (not self.model.blocks(work))

    @invariant()
    def the_tables_are_the_model(self) -> None:
        row = self.bench.run(control(self.first))
        names = {scope: sorted(row[f"off_{scope}s"]) for scope in ("service", "tenant", "queue", "kind")}
        off = {key for key, value in self.model.values.items() if value is True}
        assert (row["epoch"], row["killed"], row["mode"]) == (
            self.model.epoch,
            ("kill_switch", None) in off,
            self.model.value("mode", None),
        )
        assert names == {scope: sorted(name for kind, name in off if kind == scope and name) for scope in names}
        found = self.bench.run(self.first.fetch("SELECT scope, name, expires_at IS NOT NULL FROM supervisor.switches"))
        assert {((each[0], each[1] or None), each[2]) for each in found} == {
            (key, key in self.model.expiring)
            for key, value in self.model.values.items()
            if value != USUAL.get(key[0], False)
        }
        assert self.bench.run(self.first.fetchval("SELECT last FROM supervisor.audit_head")) == self.model.entries

    def teardown(self) -> None:
        found = self.bench.run(self.first.fetchrow("SELECT * FROM supervisor.audit_verify(1, 1000000)"))
        assert found is not None
        assert (found["problem"], found["checked"]) == (None, self.model.entries)


def test_the_switches_agree_with_the_model() -> None:
    """After any sequence of changes, expiries, claims and revocations the tables and the claims are as in the model."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        stack = contextlib.AsyncExitStack()
        try:
            dsn = runner.run(stack.enter_async_context(fresh_database(prepare)))
            opened = [runner.run(stack.enter_async_context(session(dsn))) for _ in range(2)]
            Board.bench = Bench(runner, opened)
            run_state_machine_as_test(Board)
        finally:
            runner.run(stack.aclose())
