"""Singletons in SQL: of workers only one is active, and of actors only one has the name."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import asyncpg
import pytest

from tests.store.sql_session import (
    add_worker,
    claim,
    connected,
    enqueue,
    expire,
    lose,
    release,
    schema,
    session,
    together,
    waits_for_lock,
)

if TYPE_CHECKING:
    from asyncpg import Record

    from tests.store.sql_session import Connection

STATUS = "SELECT status FROM supervisor.workers WHERE id = $1"
SET_STATUS = "SELECT supervisor.set_worker_status($1, $2)"
TAKEN = "Cannot register: another worker already active"


async def register(opened: Connection, name: str, singleton: str | None = "shop") -> Record:
    """Register a worker that is a singleton."""
    call = "SELECT * FROM supervisor.register_worker($1, 'host', 7, 'worker', 'v1', 30, '{}', $2)"
    row = await opened.fetchrow(call, name, singleton)
    assert row is not None
    return row


async def take(opened: Connection, worker: int, *names: str) -> dict[str, tuple[bool, int | None, int | None]]:
    """Take names; return for each whether it was taken, its fence and its holder."""
    rows = await opened.fetch("SELECT * FROM supervisor.take_singletons($1, $2)", worker, list(names))
    return {row["name"]: (row["taken"], row["fence"], row["holder"]) for row in rows}


async def hold(opened: Connection, name: str, fence: int) -> None:
    """Hold a name for the rest of the transaction."""
    await opened.execute("SELECT supervisor.hold_singleton($1, $2)", name, fence)


async def test_the_second_of_a_singleton_is_refused() -> None:
    """A registration fails while another worker is active as the same singleton, and says who that is."""
    async with connected() as opened:
        first = await register(opened, "one")
        with pytest.raises(
            asyncpg.PostgresError, match=f"{TAKEN}: singleton 'shop' is held by worker {first['id']}"
        ) as no:
            await register(opened, "two")
        assert no.value.sqlstate == "SV004"
        await register(opened, "three", "other")
        await register(opened, "four", None)
        await register(opened, "five", None)
        names = await opened.fetch("SELECT name FROM supervisor.workers ORDER BY id")
        assert [row["name"] for row in names] == ["one", "three", "four", "five"]


@pytest.mark.parametrize("status", ["STOPPING", "STOPPED"])
async def test_a_stop_gives_the_place_away_at_once(status: str) -> None:
    """As soon as the holder says that it stops, another one may be active, and the first is never again."""
    async with connected() as opened:
        first = (await register(opened, "one"))["id"]
        assert await opened.fetchval(SET_STATUS, first, "RUNNING")
        assert await opened.fetchval(SET_STATUS, first, status)
        second = (await register(opened, "two"))["id"]
        assert await opened.fetchval(SET_STATUS, second, "RUNNING")
        assert not await opened.fetchval(SET_STATUS, first, "RUNNING")
        active = await opened.fetch("SELECT id FROM supervisor.workers WHERE active_singleton = 'shop'")
        assert [row["id"] for row in active] == [second]


async def test_a_registration_cleans_up() -> None:
    """One registration calls the silent lost and hung stops stopped, takes the place of one, and tells of all."""
    async with connected() as opened:
        silent = (await register(opened, "silent"))["id"]
        hung, stopping, alive = [(await register(opened, name, None))["id"] for name in ("hung", "stopping", "alive")]
        await enqueue(opened, 1)
        (row,) = await claim(opened, silent)
        for worker in (hung, stopping):
            await opened.fetchval(SET_STATUS, worker, "STOPPING")
        for worker in (silent, hung, stopping):
            await expire(opened, worker)
        old = "UPDATE supervisor.workers SET last_heartbeat_at = last_heartbeat_at - interval '61 s' WHERE id = $1"
        await opened.execute(old, hung)
        made = await register(opened, "next")
        assert made["cleaned"] == [silent, hung, stopping]
        found = {worker: await opened.fetchval(STATUS, worker) for worker in (silent, hung, stopping, alive)}
        assert found == {silent: "LOST", hung: "STOPPED", stopping: "STOPPING", alive: "STARTING"}
        assert await release(opened, silent) == {row["id"]: False}
        assert (await register(opened, "another", None))["cleaned"] == []


async def test_a_name_that_comes_again_takes_its_own_place() -> None:
    """A process that never heard of its registration, and repeats it, does not stand in its own way."""
    async with connected() as opened:
        first, second = await register(opened, "one"), await register(opened, "one")
        assert await opened.fetchval(STATUS, first["id"]) == "LOST"
        assert second["cleaned"] == [first["id"]]


async def test_a_stop_is_over_after_a_minute_of_silence() -> None:
    """A worker that falls silent in its stop holds nothing after its lease, and is STOPPED a minute after."""
    async with connected() as opened:
        worker = await add_worker(opened)
        await enqueue(opened, 1)
        (row,) = await claim(opened, worker)
        await opened.fetchval(SET_STATUS, worker, "STOPPING")
        assert await opened.fetch("SELECT supervisor.find_lost()") == []
        await lose(opened, worker)
        assert await opened.fetchval(STATUS, worker) == "STOPPING"
        (held,) = await opened.fetch("SELECT * FROM supervisor.find_held()")
        assert tuple(held) == (worker, False)
        assert await release(opened, worker) == {row["id"]: False}
        assert await opened.fetchval("SELECT losses FROM supervisor.jobs") == 1
        assert await opened.fetch("SELECT supervisor.find_lost()") == []
        assert await opened.fetchval(STATUS, worker) == "STOPPING"
        await opened.execute("UPDATE supervisor.workers SET last_heartbeat_at = clock_timestamp() - interval '60 s'")
        assert await opened.fetch("SELECT supervisor.find_lost()") == []
        assert await opened.fetchval(STATUS, worker) == "STOPPED"


async def test_of_many_at_once_one_is_active() -> None:
    """Five registrations at the same time leave exactly one, twenty times."""
    made: list[int] = []
    refused: list[str | None] = []

    async def work(opened: Connection) -> None:
        try:
            made.append((await register(opened, f"w-{opened.get_server_pid()}"))["id"])
        except asyncpg.PostgresError as error:
            refused.append(error.sqlstate)

    async with schema() as dsn, session(dsn) as opened:
        for _ in range(20):
            made.clear()
            refused.clear()
            await together(dsn, 5, work)
            (worker,) = made
            assert refused == ["SV004"] * 4
            assert (
                await opened.fetchval("SELECT count(*) FROM supervisor.workers WHERE active_singleton IS NOT NULL") == 1
            )
            await opened.fetchval(SET_STATUS, worker, "STOPPING")


async def test_a_registration_does_not_wait_for_ever() -> None:
    """Behind a registration that is never committed another one gives up after its limit."""
    async with schema() as dsn, session(dsn) as first, session(dsn) as second, session(dsn) as watcher:
        body = await first.fetchval("SELECT pg_get_functiondef('supervisor.register_worker'::regproc)")
        await first.execute(body.replace("SET lock_timeout TO '5s'", "SET lock_timeout TO '50ms'"))
        async with first.transaction():
            await register(first, "one")
            with pytest.raises(asyncpg.LockNotAvailableError):
                await register(second, "two")
        assert await watcher.fetchval("SELECT count(*) FROM supervisor.workers") == 1


# --- actors ---------------------------------------------------------------------------------------------


async def test_one_worker_has_a_name() -> None:
    """A name is taken by the first worker, refused to others, and its fence grows with each taking."""
    async with connected() as opened:
        one, two = await add_worker(opened), await add_worker(opened)
        assert await take(opened, one, "b", "a", "b") == {"a": (True, 1, one), "b": (True, 1, one)}
        assert await take(opened, two, "a", "c") == {"a": (False, None, one), "c": (True, 1, two)}
        assert await take(opened, one, "a") == {"a": (True, 2, one)}
        released = await opened.fetch("SELECT supervisor.release_singletons($1, '{a,c}')", one)
        assert [row[0] for row in released] == ["a"]
        assert await take(opened, two, "a") == {"a": (True, 3, two)}
        assert await take(opened, two) == {}


@pytest.mark.parametrize("status", ["LOST", "STOPPED"])
async def test_a_name_is_free_when_its_worker_is_over(status: str) -> None:
    """What a worker had that is over in whatever way can be taken, and by nobody before."""
    async with connected() as opened:
        one, two = await add_worker(opened), await add_worker(opened)
        await take(opened, one, "a")
        await opened.execute("UPDATE supervisor.workers SET status = 'STOPPING' WHERE id = $1", one)
        assert await take(opened, two, "a") == {"a": (False, None, one)}
        await opened.execute("UPDATE supervisor.workers SET status = $2 WHERE id = $1", one, status)
        assert await take(opened, two, "a") == {"a": (True, 2, two)}


async def test_a_silent_holder_is_over_with_its_lease() -> None:
    """A name is free when the lease of its worker has run out, and that worker cannot renew it any more."""
    async with connected() as opened:
        one, two = await add_worker(opened), await add_worker(opened)
        await take(opened, one, "a")
        await expire(opened, one)
        assert await take(opened, two, "a") == {"a": (True, 2, two)}
        assert await opened.fetch("SELECT * FROM supervisor.heartbeat($1, 30, NULL)", one) == []
        assert [row[0] for row in await opened.fetch("SELECT supervisor.find_lost()")] == [one]


async def test_a_holder_that_beats_at_this_moment_lives() -> None:
    """While a heartbeat of the holder is under way, even at the end of its lease, its name is not taken."""
    async with schema() as dsn, session(dsn) as holder, session(dsn) as other:
        one, two = await add_worker(other, lease=5), await add_worker(other)
        await take(other, one, "a")
        async with holder.transaction():
            assert len(await holder.fetch("SELECT * FROM supervisor.heartbeat($1, 30, NULL)", one)) == 1
            # As it is to those who do not see the heartbeat yet, once that time has passed.
            late = "SELECT supervisor.is_over($1, clock_timestamp() + interval '10 s')"
            assert await other.fetchval(late, one) is False
        assert await take(other, two, "a") == {"a": (False, None, one)}


async def test_a_heartbeat_behind_a_takeover_fails() -> None:
    """A heartbeat that was sent in time, but comes to its row after the takeover, finds the lease over."""
    async with schema() as dsn, session(dsn) as holder, session(dsn) as other, session(dsn) as watcher:
        one = await add_worker(other)
        async with asyncio.TaskGroup() as group, other.transaction():
            await other.execute("UPDATE supervisor.workers SET lease_expires_at = clock_timestamp() WHERE id = $1", one)
            beat = group.create_task(holder.fetch("SELECT * FROM supervisor.heartbeat($1, 30, NULL)", one))
            await waits_for_lock(watcher, holder)
            assert await other.fetchval("SELECT supervisor.is_over($1, clock_timestamp())", one) is True
        assert beat.result() == []


async def test_a_worker_without_a_lease_takes_nothing() -> None:
    """Only a worker that starts or runs, within its lease, takes names."""
    async with connected() as opened:
        late, stopping = await add_worker(opened), await add_worker(opened)
        await expire(opened, late)
        await opened.fetchval(SET_STATUS, stopping, "STOPPING")
        for worker in (late, stopping, 0):
            with pytest.raises(asyncpg.PostgresError, match="has no lease") as refused:
                await take(opened, worker, "a")
            assert refused.value.sqlstate == "SV001"
        assert await opened.fetch("SELECT FROM supervisor.singletons") == []


async def test_of_many_who_take_one_has_it() -> None:
    """Of five workers that take a name at the same time exactly one gets it, whatever became of the one before."""
    got: list[tuple[int, int]] = []

    async def work(opened: Connection) -> None:
        worker = await add_worker(opened)
        taken, fence, _ = (await take(opened, worker, "a"))["a"]
        if taken:
            assert fence is not None
            got.append((fence, worker))

    async with schema() as dsn, session(dsn) as opened:
        for round_ in range(10):
            got.clear()
            await together(dsn, 5, work)
            ((fence, worker),) = got
            assert fence == round_ + 1
            await expire(opened, worker)


async def test_a_fence_holds_a_name() -> None:
    """A transaction that holds its fence keeps others from taking the name; an old fence is refused."""
    async with schema() as dsn, session(dsn) as holder, session(dsn) as other:
        one, two = await add_worker(other), await add_worker(other)
        await take(other, one, "a")
        await expire(other, one)
        async with holder.transaction():
            await hold(holder, "a", 1)
            assert await take(other, two, "a") == {"a": (False, None, None)}
        assert await take(other, two, "a") == {"a": (True, 2, two)}
        for name, fence in (("a", 1), ("a", 3), ("b", 1)):
            with pytest.raises(asyncpg.PostgresError, match="is over") as refused:
                await hold(holder, name, fence)
            assert refused.value.sqlstate == "SV006"
        await other.execute("SELECT supervisor.release_singletons($1, '{a}')", two)
        with pytest.raises(asyncpg.PostgresError, match="fence 2 is over"):
            await hold(holder, "a", 2)


@pytest.mark.parametrize(("before", "within"), [("0", "10s"), ("1min", "10s"), ("2s", "2s")])
async def test_a_transaction_that_stands_still_gives_up(before: str, within: str) -> None:
    """While it holds a name a session may not be idle for long, so that a suspended process does not keep it."""
    setting = "SELECT current_setting('idle_in_transaction_session_timeout')"
    async with connected() as opened:
        await opened.execute(f"SET idle_in_transaction_session_timeout = '{before}'")
        await take(opened, await add_worker(opened), "a")
        async with opened.transaction():
            await hold(opened, "a", 1)
            assert await opened.fetchval(setting) == within
        assert await opened.fetchval(setting) == before
