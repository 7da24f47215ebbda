"""The pruner: history ahead of time, and nothing kept for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING, Never

from actors import pruner
from actors.pruner import Pruner
from supervisor.errors import StatementRefused
from supervisor.store import history
from supervisor.testing import FakeClock, running
from supervisor.tree.child import Child
from tests.actors.parts import Parts, parts, until

if TYPE_CHECKING:
    import pytest

_DAYS = "SELECT count(*) AS days FROM pg_inherits WHERE inhparent = 'supervisor.job_history'::regclass"


def child(parts: Parts) -> Child[Never]:
    """Make a pruner."""
    return Child("pruner", lambda: Pruner(parts.database, history_days=14))


async def test_history_is_made_ahead() -> None:
    """At the start there are days for what will end within the week."""
    async with parts() as shared:
        await shared.execute("DROP TABLE " + await _newest_day(shared))
        (before,) = await shared.rows(_DAYS)
        async with running(child(shared)):
            await shared.until(f"{_DAYS} HAVING count(*) > {before['days']}")


async def test_old_days_and_old_workers_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Days of history and rows of workers go when they are old enough, in as many batches as it takes."""
    monkeypatch.setattr(pruner, "BATCH", 2)
    async with parts() as shared:
        kept = await shared.worker()
        for _ in range(5):
            await shared.worker(status="STOPPED")
        await shared.execute(
            "UPDATE supervisor.workers SET stopped_at = clock_timestamp() - interval '8 days' WHERE status = 'STOPPED'"
        )
        await shared.execute(
            "CREATE TABLE supervisor.job_history_20200101 PARTITION OF supervisor.job_history "
            "FOR VALUES FROM ('2020-01-01') TO ('2020-01-02')"
        )
        async with running(child(shared)):
            await shared.until("SELECT count(*) FROM supervisor.workers HAVING count(*) = 1")
        assert await shared.rows("SELECT id FROM supervisor.workers") == [{"id": kept}]
        assert await shared.rows("SELECT to_regclass('supervisor.job_history_20200101') AS found") == [{"found": None}]


async def test_it_comes_back_each_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be pruned is tried again an hour later, and is no reason to crash."""
    clock, calls = FakeClock(), list[int]()

    async def refuse(_link: object, days: int, *, within: float) -> int:
        calls.append(days)
        raise StatementRefused("42501", "not allowed")

    monkeypatch.setattr(history, "make", refuse)
    async with parts() as shared, running(child(shared), clock=clock):
        await until(lambda: calls)
        await clock.advance(3600.0 * 1.1)
        await until(lambda: len(calls) == 2)


async def _newest_day(shared: Parts) -> str:
    (row,) = await shared.rows(
        "SELECT max(inhrelid::regclass::text) AS name FROM pg_inherits "
        "WHERE inhparent = 'supervisor.job_history'::regclass AND inhrelid::regclass::text ~ '[0-9]{8}$'"
    )
    return str(row["name"])
