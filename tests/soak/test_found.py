"""What the campaigns have found, each as one short scene."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.soak.campaign import campaign, prepared
from tests.soak.judgement import Judgement
from tests.soak.late_answers import LATE
from tests.soak.ledger import read
from tests.soak.pause import until
from tests.store.postgres import fresh_database

if TYPE_CHECKING:
    from pathlib import Path

    from tests.soak.campaign import Campaign

LEAVING: Final = 10.0
"""Seconds that a process may take to end after it has given up a handler."""
_CLAIMED: Final = "SELECT EXISTS (SELECT FROM supervisor.jobs WHERE id = $1 AND claimed_by IS NOT NULL)"
_DECLARE: Final = "SELECT supervisor.declare_dead(array_agg(name)) FROM supervisor.workers WHERE pid = $1"
_CUT: Final = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND state = 'idle in transaction'
"""


async def has(ours: Campaign, what: str, count: int = 1) -> bool:
    """Whether the ledger has so many entries of a sort."""
    return sum(entry.what == what for entry in read(ours.ledger.folder)) >= count


@pytest.mark.soak
@pytest.mark.timeout(120)
async def test_a_claim_of_a_former_worker_starts_nothing(tmp_path: Path) -> None:
    """Jobs whose claim is answered after the worker was lost and registered anew are not started beside their heirs."""
    async with fresh_database(prepared) as dsn, campaign(dsn, tmp_path) as ours:
        slow = ours.crew.hire("slow", "a", {LATE: "claim:7"})
        await ours.running(1)
        job = await ours.enqueue.one("linger", seconds=6.0)
        await until(lambda: has(ours, "late"), "the claim", 30.0)
        async with ours.connected() as connection:
            assert await connection.fetchval(_CLAIMED, job)
            await connection.fetchval(_DECLARE, slow.pid)
        ours.crew.hire("heir", "b")
        await ours.settle(60.0)
        await ours.dismissed()
        _, found = await ours.judge(Judgement())
    assert found == []


@pytest.mark.timeout(120)
async def test_a_lost_connection_costs_a_job_no_attempt(tmp_path: Path) -> None:
    """A job whose transaction is ended by a failure of the database is run again, whatever attempts it may have."""
    async with fresh_database(prepared) as dsn, campaign(dsn, tmp_path) as ours:
        ours.crew.hire("worker", "a")
        await ours.running(1)
        await ours.enqueue.one("entry", seconds=1.0)
        await until(lambda: has(ours, "began"), "the handler", 30.0)

        async def cut() -> bool:
            async with ours.connected() as connection:
                return bool(await connection.fetchval(_CUT))

        await until(cut, "the transaction", 10.0, 0.02)
        await ours.settle(30.0)
        await ours.dismissed()
        history, _ = await ours.judge(Judgement())
        assert [(row["status"], row["attempts"]) for row in history.past] == [("completed", 0)]


@pytest.mark.soak
@pytest.mark.timeout(150)
async def test_a_process_that_gave_up_a_thread_ends(tmp_path: Path) -> None:
    """A handler that nothing can stop does not go on beside its heir: its process ends when it is given up."""
    async with fresh_database(prepared) as dsn, campaign(dsn, tmp_path) as ours:
        deaf = ours.crew.hire("deaf", "a")
        await ours.running(1)
        await ours.enqueue.one("stuck", seconds=100.0)
        await until(lambda: has(ours, "began"), "the handler", 30.0)
        deaf.is_wanted = False
        ours.crew.hire("heir", "b")
        await until(lambda: has(ours, "began", 2), "the handler of the heir", 60.0)

        async def over() -> bool:
            return deaf.is_over()

        await until(over, "the end of the process that gave the handler up", LEAVING)
        assert deaf.codes == [75]
