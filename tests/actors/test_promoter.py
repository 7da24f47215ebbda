"""The promoter: jobs whose time has come can be claimed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Never

from actors import promoter
from actors.promoter import Promoter
from supervisor.testing import running
from supervisor.tree.child import Child
from tests.actors.parts import Parts, parts

if TYPE_CHECKING:
    import pytest

_PARK = (
    "WITH gone AS (DELETE FROM supervisor.jobs RETURNING *) "
    "INSERT INTO supervisor.jobs_waiting (id, kind, queue, service, args, reason, due_at) "
    "SELECT id, kind, queue, service, args, 'retry', clock_timestamp() + make_interval(secs => $1) FROM gone"
)


def child(parts: Parts) -> Child[Never]:
    """Make a promoter."""
    return Child("promoter", lambda: Promoter(parts.database, parts.wakes, parts.suspects))


async def test_everything_that_is_due_is_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    """More jobs than one statement moves can all be claimed, and the claimer hears of it."""
    monkeypatch.setattr(promoter, "BATCH", 2)
    async with parts() as shared:
        await shared.enqueue(7)
        await shared.execute(_PARK.replace("$1", "-1.0"))
        async with running(child(shared)):
            await shared.until("SELECT count(*) FROM supervisor.jobs HAVING count(*) = 7")
            assert shared.wakes.signal
            assert shared.suspects
        assert await shared.rows("SELECT * FROM supervisor.jobs_waiting") == []


async def test_it_wakes_for_the_next_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job is moved when it is due, not when the promoter next looks by itself."""
    monkeypatch.setattr(promoter, "PERIOD", 3600.0)
    async with parts() as shared:
        await shared.enqueue()
        await shared.execute(_PARK.replace("$1", "0.3"))
        async with running(child(shared)):
            await shared.until("SELECT FROM supervisor.jobs")


async def test_a_blocked_job_stays() -> None:
    """A job that waits for something other than a time is not moved, and nobody waits for its time."""
    async with parts() as shared:
        await shared.enqueue(2)
        await shared.execute(_PARK.replace("$1", "-1.0"))
        await shared.execute("UPDATE supervisor.jobs_waiting SET due_at = 'infinity', reason = 'blocked' WHERE id = 1")
        async with running(child(shared)):
            await shared.until("SELECT FROM supervisor.jobs")
        assert await shared.rows("SELECT id FROM supervisor.jobs_waiting") == [{"id": 1}]
