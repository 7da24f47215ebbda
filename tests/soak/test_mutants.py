"""The checkers find the bugs that they are there for."""

from __future__ import annotations

import asyncio
import random
import signal
from typing import TYPE_CHECKING

import pytest

from supervisor.store import kinds
from supervisor.store.link import connect
from tests.soak.campaign import campaign, prepared
from tests.soak.claim_campaign import claimed_once
from tests.soak.enqueue_checker import check_enqueues
from tests.soak.judgement import Judgement
from tests.soak.mutants import CLAIM, KEYS, RUNS, STALE, Mutant, mutate
from tests.soak.pause import pause
from tests.soak.stale_writes import stale_writes
from tests.store.postgres import fresh_database

if TYPE_CHECKING:
    from pathlib import Path

NOTE = kinds.Kind("note", "default", "soak", 3, 300.0, changes=True, essential=False)


def _name(mutant: Mutant) -> str:
    return mutant.name


@pytest.mark.parametrize("mutant", STALE, ids=_name)
async def test_stale_writes_find_a_broken_fence(mutant: Mutant) -> None:
    """A database whose fence has this hole does not pass the campaign of stale writes."""
    async with fresh_database(prepared) as dsn:
        await mutate(dsn, mutant)
        _, wrong = await stale_writes(dsn, random.Random(1), 1)  # noqa: S311 - repeatable, not secret
    assert wrong


@pytest.mark.parametrize("mutant", CLAIM, ids=_name)
@pytest.mark.timeout(120)
async def test_claimers_find_a_job_that_is_claimed_twice(mutant: Mutant, tmp_path: Path) -> None:
    """A claim that gives a job to two does not pass the campaign of claimers."""
    async with fresh_database(prepared) as dsn:
        await mutate(dsn, mutant)
        wrong = await claimed_once(dsn, tmp_path, 4_000, 1, 90.0)
    assert any("was claimed" in found for found in wrong), wrong[:5]


@pytest.mark.parametrize("mutant", KEYS, ids=_name)
async def test_the_journal_finds_a_key_with_two_jobs(mutant: Mutant, tmp_path: Path) -> None:
    """An enqueue that gives a key to a second job does not pass the check of the journal."""
    rng = random.Random(1)  # noqa: S311 - repeatable, not secret
    async with fresh_database(prepared) as dsn, campaign(dsn, tmp_path) as ours:
        await mutate(dsn, mutant)
        link = await connect(dsn)
        await kinds.offer(link, [NOTE], replace=True)
        await link.close()
        for _ in range(60):
            await ours.enqueue.any_way(rng)
        history, _ = await ours.judge(Judgement(is_settled=False))
    assert check_enqueues(history)


@pytest.mark.soak
@pytest.mark.parametrize("mutant", RUNS, ids=_name)
@pytest.mark.timeout(180)
async def test_runs_find_what_is_done_wrong_to_jobs(mutant: Mutant, tmp_path: Path) -> None:
    """Workers on a database with this bug do not pass the check of a whole campaign."""
    assert await _runs(mutant, tmp_path)


@pytest.mark.soak
@pytest.mark.timeout(180)
async def test_runs_find_nothing_where_nothing_is_wrong(tmp_path: Path) -> None:
    """The same campaign passes on the database as it is."""
    assert await _runs(None, tmp_path) == []


async def _runs(mutant: Mutant | None, folder: Path) -> list[str]:
    """Run two workers, of which one is stopped and one killed, and return what the checker finds."""
    async with fresh_database(prepared) as dsn, campaign(dsn, folder) as ours, asyncio.TaskGroup() as group:
        if mutant is not None:
            await mutate(dsn, mutant)
        keeper = group.create_task(ours.crew.keep())
        for name in ("one", "two"):
            ours.crew.hire(name, name)
        await ours.offered("note", "linger", "order")
        for number in signal.SIGTERM, signal.SIGKILL:
            for _ in range(20):
                await ours.enqueue.one("linger", seconds=4.0)
                await ours.enqueue.one("order", seconds=2.0)
                await ours.enqueue.one("note")
            await pause(1.0)
            ours.crew.workers[0].send(number)
            await pause(1.5)
        await ours.settle(30.0)
        keeper.cancel()
        _, found = await ours.judge(Judgement())
    return found
