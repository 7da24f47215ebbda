"""The keeper of singletons: which run here, until when, and what becomes of their names."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Never

from actors.singleton import PROCESS, SingletonKeeper
from supervisor.jobs import lease as leases
from supervisor.jobs.events import WorkerLost
from supervisor.jobs.fleet_events import SingletonEnded, SingletonRevoked, SingletonStandsBy, SingletonTaken
from supervisor.testing import Shielded, running
from supervisor.tree.actor import Actor
from supervisor.tree.child import Child
from supervisor.tree.events import ChildExited, ChildStarted, StopStage
from supervisor.tree.outcome import Stage
from supervisor.tree.supervisor import Supervisor
from tests.actors.parts import Parts, parts
from tests.store.postgres import LIMIT

if TYPE_CHECKING:
    import pytest

    from supervisor.tree.child import Node
    from supervisor.tree.singletons import Term

HELD = "SELECT * FROM supervisor.singletons WHERE name = 'single' AND worker = $1"


class Single(Actor[object]):
    """Keeps its term where the test can see it."""

    def __init__(self, terms: list[Term]) -> None:
        self._terms = terms

    async def setup(self) -> None:
        self._terms.append(self.term)


def tree(
    shared: Parts, *others: Node, takes: bool = True, terms: list[Term] | None = None, lease: float = 3600.0
) -> Supervisor:
    """Make a tree with a keeper, the singleton `single`, and others."""
    keeper = Child(
        "keeper", lambda: SingletonKeeper(shared.database, shared.lease, lease_length=lease, poll=0.05, takes=takes)
    )
    single = Child("single", partial(Single, [] if terms is None else terms), singleton="single")
    return Supervisor("root", [keeper, single, *others])


async def test_a_singleton_runs_under_the_lease() -> None:
    """It runs once its name is taken for the worker, knows its fence, and the name is given back at the end."""
    async with parts() as shared:
        worker = await shared.become()
        terms: list[Term] = []
        async with running(tree(shared, terms=terms), log=shared.log):
            await shared.log.expect(ChildStarted, name="single")
            (row,) = await shared.rows(HELD, worker)
            assert row["fence"] == 1
            (term,) = terms
            assert (term.name, term.fence, term.is_held) == ("single", 1, True)
            assert shared.log.of(SingletonTaken, singleton="single", fence=1)
        assert not term.is_held
        assert await shared.rows(HELD, worker) == []
        assert shared.log.of(SingletonEnded, singleton="single", fence=1)


async def test_another_holder_is_waited_for() -> None:
    """While another worker has the name it stands by, says so once, and takes over when that one has ended."""
    async with parts() as shared:
        worker, other = await shared.become(), await shared.worker()
        await shared.rows("SELECT * FROM supervisor.take_singletons($1, '{single}')", other)
        async with running(tree(shared), log=shared.log):
            assert (await shared.log.expect(SingletonStandsBy)).worker == other
            await shared.execute("UPDATE supervisor.workers SET status = 'STOPPED' WHERE id = $1", other)
            assert (await shared.log.expect(SingletonTaken)).fence == 2
            assert len(shared.log.of(SingletonStandsBy)) == 1
            assert len(await shared.rows(HELD, worker)) == 1


async def test_without_a_worker_nothing_is_taken() -> None:
    """Before the process is a worker it takes no name, and as soon as it is one it does."""
    async with parts() as shared, running(tree(shared), log=shared.log) as opened:
        assert opened.snapshot().children[1].state.value == "standby"
        worker = await shared.become()
        await shared.log.expect(ChildStarted, name="single")
        assert len(await shared.rows(HELD, worker)) == 1


async def test_a_process_that_only_helps_takes_nothing() -> None:
    """In a process for suspects a singleton stands by for good."""
    async with parts() as shared:
        await shared.become()
        async with running(tree(shared, takes=False), log=shared.log) as opened:
            await shared.rows("SELECT pg_sleep(0.2)")
            assert opened.snapshot().children[1].state.value == "standby"
        assert await shared.rows("SELECT FROM supervisor.singletons") == []


async def test_a_lease_in_doubt_ends_it() -> None:
    """It is stopped when the lease cannot be proved, before the name is anybody else's, and runs again after."""
    async with parts() as shared:
        worker = await shared.become()
        terms: list[Term] = []
        async with running(tree(shared, terms=terms), log=shared.log):
            await shared.log.expect(ChildStarted, name="single")
            shared.lease.lose()
            assert not terms[0].is_held
            assert (await shared.log.expect(SingletonRevoked)).fence == 1
            await shared.log.expect(ChildExited, name="single")
            assert len(await shared.rows(HELD, worker)) == 1
            shared.lease.renew(leases.now(), 3600.0)
            assert (await shared.log.expect(SingletonTaken, count=2)).fence == 2
            await shared.log.expect(ChildStarted, name="single", count=2)
            assert [term.is_held for term in terms] == [False, True]


async def test_a_lost_worker_ends_it_at_once() -> None:
    """When the worker is lost it is stopped without waiting for the next look, and taken for the new worker."""
    async with parts() as shared:
        lost = await shared.become()
        async with running(tree(shared), log=shared.log) as opened:
            await shared.log.expect(ChildStarted, name="single")
            await shared.execute("UPDATE supervisor.workers SET status = 'LOST' WHERE id = $1", lost)
            shared.lease.lose()
            shared.lease.worker = 0
            opened.runtime.emit(WorkerLost("root", lost))
            assert shared.log.of(SingletonRevoked, singleton="single")
            await shared.log.expect(ChildExited, name="single")
            worker = await shared.become()
            assert (await shared.log.expect(SingletonTaken, count=2)).fence == 2
            assert len(await shared.rows(HELD, worker)) == 1


async def test_what_goes_on_at_the_end_of_the_lease_is_killed() -> None:
    """A singleton that does not heed its cancel is killed before its lease is over, whatever its own limits."""
    async with parts() as shared:
        await shared.become(lease=5.0)
        shielded = Child("shielded", Shielded, singleton="shielded", cancel_grace=30.0)
        async with running(tree(shared, shielded, lease=5.0), log=shared.log):
            await shared.log.expect(ChildStarted, name="shielded")
            shared.lease.lose()
            await shared.log.expect(StopStage, name="shielded", stage=Stage.CANCELLING)
            await shared.log.expect(StopStage, name="shielded", stage=Stage.KILLING)
            await shared.log.expect(ChildExited, name="shielded")
            assert not shared.log.of(StopStage, name="single", stage=Stage.KILLING)


class Lingering(Actor[Never]):
    """Stops before the others, and only once nobody has the singleton any more."""

    def __init__(self, shared: Parts, worker: int) -> None:
        self._shared = shared
        self._worker = worker

    async def teardown(self) -> None:
        async with asyncio.timeout(LIMIT):
            while await self._shared.rows(HELD, self._worker):
                await self._shared.rows("SELECT pg_sleep(0.01)")
        self._shared.log(StopStage("lingering", Stage.DRAINING))


async def test_a_stop_gives_the_name_back_first() -> None:
    """When the process begins to stop the singleton ends at once, and its name is free while others still stop."""
    async with parts() as shared:
        worker = await shared.become()
        lingering = Child("lingering", lambda: Lingering(shared, worker), teardown_timeout=LIMIT)
        async with running(tree(shared, lingering), log=shared.log):
            await shared.log.expect(ChildStarted, name="single")
        assert shared.log.of(StopStage, name="lingering", stage=Stage.DRAINING)


async def test_a_name_that_is_not_wanted_any_more_is_given_back() -> None:
    """A singleton that is stopped by command leaves its name to others, and takes it again when it is started."""
    async with parts() as shared:
        worker = await shared.become()
        async with running(tree(shared), log=shared.log) as opened:
            await shared.log.expect(ChildStarted, name="single")
            await opened.root.stop_child("single")
            await shared.until("SELECT FROM supervisor.singletons WHERE worker IS NULL")
            await opened.root.restart_child("single")
            assert (await shared.log.expect(SingletonTaken, count=2)).fence == 2
            assert len(await shared.rows(HELD, worker)) == 1


async def test_a_process_that_is_the_singleton() -> None:
    """What runs only while the whole process is active needs no name in the table, and goes with the lease."""
    async with parts() as shared:
        await shared.become()
        app = Supervisor("app", [Child("own", partial(Single, []), singleton="own")])
        app.singleton = PROCESS + "shop"
        async with running(tree(shared, app), log=shared.log):
            await shared.log.expect(ChildStarted, name="own")
            shared.lease.lose()
            await shared.log.expect(ChildExited, name="app")
            shared.lease.renew(leases.now(), 3600.0)
            await shared.log.expect(ChildStarted, name="own", count=2)
        names = await shared.rows("SELECT name FROM supervisor.singletons ORDER BY name")
        assert [row["name"] for row in names] == ["own", "single"]


async def test_a_restart_of_the_keeper_starts_them_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """A keeper that crashes ends its singletons, and its next incarnation takes them again."""
    async with parts() as shared:
        await shared.become()
        async with running(tree(shared), log=shared.log) as opened:
            await shared.log.expect(ChildStarted, name="single")
            with monkeypatch.context() as broken:
                broken.setattr(SingletonKeeper, "_turn", None)
                singletons = opened.runtime.singletons
                assert singletons is not None
                singletons.changed.set()
                await shared.log.expect(ChildExited, name="keeper")
            await shared.log.expect(ChildExited, name="single")
            assert (await shared.log.expect(SingletonTaken, count=2)).fence == 2
            await shared.log.expect(ChildStarted, name="single", count=2)
