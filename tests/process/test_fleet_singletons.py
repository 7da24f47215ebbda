"""A singleton actor in whole processes: who runs it after a stop, a kill, and a pause longer than its lease."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Final

from tests.process.engine import QUICK, engine
from tests.process.test_fleet_workers import QUIET, another_host

if TYPE_CHECKING:
    import pytest

    from tests.process.conftest import Start
    from tests.process.engine import Engine
    from tests.process.program import Program

EFFECTS: Final = (
    "CREATE TABLE effects ("
    "id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, fence bigint NOT NULL, pid integer NOT NULL)"
)
HOLDER: Final = "SELECT * FROM supervisor.singletons WHERE name = 'rank-tracker' AND worker IS NOT NULL"


async def fleet(
    jobs: Engine, factory: pytest.TempPathFactory, *options: str, app: str = "tracked"
) -> tuple[Program, Program]:
    """Start two processes that stand for two hosts; return the one that runs the singleton, and the other."""
    await jobs.rows(EFFECTS)
    first, second = (launch(jobs, factory, app, *options) for _ in range(2))
    (row,) = await jobs.until(HOLDER)
    (worker,) = await jobs.rows("SELECT pid FROM supervisor.workers WHERE id = $1", row["worker"])
    return (first, second) if worker["pid"] == first.pid else (second, first)


def launch(jobs: Engine, factory: pytest.TempPathFactory, app: str, *options: str) -> Program:
    """Start a process on a host of its own, and wait until it is ready."""
    environ = {"DATABASE_URL": jobs.dsn, "EFFECTS_DSN": jobs.dsn, **QUIET}
    folder = another_host(factory)
    where = ("--runtime-dir", str(folder), "--poll", "200ms")
    program = jobs.start(f"tests.process.fleet_apps:{app}", *where, *options, environ=environ, limit=60.0)
    program.folder = folder
    return program.ready()


async def fences(jobs: Engine) -> list[int]:
    """Return the fences of all effects, in the order of their transactions."""
    return [row["fence"] for row in await jobs.rows("SELECT fence FROM effects ORDER BY id")]


async def effect(jobs: Engine, program: Program) -> None:
    """Wait until the singleton of this process has had an effect."""
    await jobs.until("SELECT FROM effects WHERE pid = $1", program.pid)


async def test_a_stop_hands_a_singleton_over_at_once(start: Start, tmp_path_factory: pytest.TempPathFactory) -> None:
    """At SIGTERM the singleton ends first, and another host goes on with it while the old one finishes its jobs."""
    async with engine(start) as jobs:
        holder, other = await fleet(jobs, tmp_path_factory)
        await effect(jobs, holder)
        assert other.nodes()["root/app/tracker"]["state"] == "standby"
        assert holder.nodes()["root/app/tracker"]["state"] == "running"
        await jobs.enqueue("hold")
        while not [line for line in holder.out.lines + other.out.lines if "holding" in line]:
            await jobs.rows("SELECT pg_sleep(0.02)")
        holder.send(signal.SIGTERM)
        holder.out.expect("down 1")
        other.out.expect("up 2 held True")
        await effect(jobs, other)
        seen = await fences(jobs)
        assert seen == sorted(seen)
        if any("holding" in line for line in holder.out.lines):
            assert (await jobs.worker(holder))["status"] == "STOPPING"


async def test_a_kill_hands_a_singleton_over_after_the_lease(
    start: Start, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """After a kill -9 the stand-by takes over, and not before the lease is over."""
    async with engine(start) as jobs:
        holder, other = await fleet(jobs, tmp_path_factory, *QUICK)
        await effect(jobs, holder)
        holder.send(signal.SIGKILL)
        await effect(jobs, other)
        (single,) = await jobs.rows(HOLDER)
        row = await jobs.worker(holder)
        assert single["fence"] == 2
        assert single["taken_at"] >= row["lease_expires_at"]
        assert other.event("singleton_taken")["fence"] == 2


async def test_a_paused_holder_does_nothing_after_its_successor(
    start: Start, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """What a process had in mind when it was stopped for longer than its lease is refused, and it stands by."""
    async with engine(start) as jobs:
        holder, other = await fleet(jobs, tmp_path_factory, *QUICK)
        await effect(jobs, holder)
        holder.send(signal.SIGSTOP)
        await effect(jobs, other)
        holder.send(signal.SIGCONT)
        holder.event("singleton_revoked", singleton="rank-tracker", fence=1)
        holder.out.expect("down 1")
        holder.event("singleton_stands_by")
        assert not [line for line in holder.out.lines if line.startswith("refused") and line.endswith("True")]
        seen = await fences(jobs)
        assert seen == sorted(seen)
        assert set(seen) == {1, 2}
        other.send(signal.SIGKILL)
        holder.out.expect("up 3 held True")
        assert not [line for line in other.out.lines if "up 3" in line]


async def test_a_holder_that_is_paused_in_a_transaction_does_not_keep_the_name(
    start: Start, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Suspended between its effect and its commit, a process loses the one and the name; the next one has both."""
    async with engine(start) as jobs:
        holder, other = await fleet(jobs, tmp_path_factory, *QUICK, app="dawdling")
        holder.out.expect("inside 1")
        holder.send(signal.SIGSTOP)
        other.out.expect("inside 2")
        holder.send(signal.SIGCONT)
        holder.event("singleton_revoked", fence=1)
        holder.event("singleton_stands_by")
        assert 1 not in await fences(jobs)


async def test_a_holder_without_a_database_gives_up_before_its_lease_is_over(
    start: Start, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A process that is cut off from the database ends its singleton by its own clock, and takes it again after."""
    async with engine(start) as jobs:
        holder, other = await fleet(jobs, tmp_path_factory, *QUICK)
        other.send(signal.SIGKILL)
        await effect(jobs, holder)
        worker = (await jobs.worker(holder))["id"]
        async with jobs.connection.transaction():
            # Its heartbeats wait behind this.
            await jobs.rows("SELECT FROM supervisor.workers WHERE id = $1 FOR UPDATE", worker)
            holder.event("singleton_revoked", fence=1)
            holder.out.expect("down 1")
            (row,) = await jobs.rows(
                "SELECT lease_expires_at > clock_timestamp() AS early FROM supervisor.workers WHERE id = $1", worker
            )
            assert row["early"]
        holder.out.expect("up 2 held True")
        assert holder.end() == 0
