"""Steps are recorded in groups: what cannot be written waits, and one bad step costs the others nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from supervisor.errors import DatabaseUnavailable, StatementRefused
from supervisor.jobs.step_log import StepLog
from supervisor.store import steps
from supervisor.store.steps import NewStep
from tests.actors.engine import Engine, job_database, opened
from tests.store.sql_session import add_kind, claim, enqueue, session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from supervisor.store.link import Link


async def claimed_jobs(one: Engine, dsn: str, count: int) -> list[tuple[int, int]]:
    """Enqueue and claim jobs as the engine's worker."""
    async with session(dsn) as raw:
        await add_kind(raw, "noop")
        await enqueue(raw, count)
        return [(row["id"], row["lock_version"]) for row in await claim(raw, one.lease.worker, count)]


async def write_all(one: Engine, log: StepLog, *wanted: NewStep) -> list[bool | BaseException]:
    """Record steps together, with as many flushes as it takes."""
    async with one.database.connection() as link:
        waiting = asyncio.gather(*map(log.record, wanted), return_exceptions=True)
        await asyncio.sleep(0)
        while log:
            await log.flush(link)
        return await waiting


@pytest.fixture
async def one() -> AsyncIterator[tuple[Engine, str]]:
    """Give an engine whose actors do not run."""
    async with job_database() as dsn, opened(dsn, []) as made:
        yield made, dsn


async def test_what_is_fenced_is_told_apart(one: tuple[Engine, str]) -> None:
    """In one group each step learns for itself whether it was recorded."""
    (a, fence), (b, _) = await claimed_jobs(*one, 2)
    answers = await write_all(
        one[0], StepLog(), NewStep(a, fence, "x", 0, "1"), NewStep(b, 99, "x", 0, "2"), NewStep(a, fence, "y", 1, "3")
    )
    assert answers == [True, False, True]


async def test_a_bad_step_costs_the_others_nothing(one: tuple[Engine, str]) -> None:
    """A step that the database refuses fails alone, and the rest of its group is recorded."""
    ((a, fence),) = await claimed_jobs(*one, 1)
    good, bad = NewStep(a, fence, "good", 0, "1"), NewStep(a, fence, "bad", 1, "no JSON")
    answers = await write_all(one[0], StepLog(), good, bad)
    assert answers[0] is True
    assert isinstance(answers[1], StatementRefused)


@pytest.mark.parametrize("written", [True, False])
@pytest.mark.parametrize("done", [True, False])
async def test_after_a_doubt_it_is_sent_again(
    one: tuple[Engine, str], written: bool, done: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A group whose answer was lost is sent again, and accepted also if the first attempt has recorded it."""
    ((a, fence),) = await claimed_jobs(*one, 1)
    log, calls, original = StepLog(), list[int](), steps.record

    async def record(link: Link, rows: Sequence[NewStep]) -> set[tuple[int, str]]:
        calls.append(len(rows))
        if len(calls) > 1:
            return await original(link, rows)
        if written:
            await original(link, rows)
        raise DatabaseUnavailable("no answer", unknown=True)

    monkeypatch.setattr(steps, "record", record)
    waiting = asyncio.gather(log.record(NewStep(a, fence, "x", 0, "1" if done else None, done)))
    await asyncio.sleep(0)
    async with one[0].database.connection() as link:
        with pytest.raises(DatabaseUnavailable):
            await log.flush(link)
        assert len(log) == 1
        await log.flush(link)
        assert list(await waiting) == [True]
        (row,) = await steps.of(link, a)
    assert (row.name, row.done) == ("x", done)
    assert calls == [1, 1]


async def test_what_nobody_waits_for_is_left_out(one: tuple[Engine, str]) -> None:
    """A step whose handler was cancelled before its turn came is not recorded."""
    ((a, fence),) = await claimed_jobs(*one, 1)
    log = StepLog()
    waiting = asyncio.gather(log.record(NewStep(a, fence, "x", 0, "1")))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    async with one[0].database.connection() as link:
        await log.flush(link)
        assert await steps.of(link, a) == []
    assert not log
