"""The listener: it passes on what the database announces, and comes back when its connection is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Never

from actors.listener import Listener
from supervisor.testing import running
from supervisor.tree.child import Child
from tests.actors.parts import Parts, parts, until

if TYPE_CHECKING:
    import pytest

_MINE = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE '%listener'"


def child(parts: Parts) -> Child[Never]:
    """Make a listener."""
    return Child("listener", lambda: Listener(parts.database, parts.wakes, parts.handlers, parts.switches))


async def test_it_hears_of_work() -> None:
    """A notification about a queue is noted for the claimer."""
    async with parts() as shared, running(child(shared)):
        await until(lambda: shared.wakes.signal)
        await shared.rows("SELECT pg_notify('supervisor', 'mails')")
        await until(lambda: "mails" in shared.wakes.take())


async def test_it_hears_of_cancelled_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A notification about a job goes to those that run jobs."""
    async with parts() as shared:
        heard: list[int] = []
        monkeypatch.setattr(type(shared.handlers), "cancel_job", lambda _, job: heard.append(job))
        async with running(child(shared)):
            await until(lambda: shared.wakes.signal)
            await shared.rows("SELECT pg_notify('supervisor_cancel', '42')")
            await until(lambda: heard == [42])


async def test_a_lost_connection_is_made_again() -> None:
    """A connection that was ended is replaced, and the claimer looks for what was announced meanwhile."""
    async with parts() as shared, running(child(shared)):
        await until(lambda: shared.wakes.signal)
        shared.wakes.signal.clear()
        (first,) = await shared.rows(_MINE)
        await shared.rows("SELECT pg_terminate_backend($1)", first["pid"])
        await until(lambda: shared.wakes.signal)
        (second,) = await shared.rows(_MINE)
        assert second != first
