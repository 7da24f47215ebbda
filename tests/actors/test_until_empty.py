"""The end of a process that was told to end when nothing is left to do."""

from __future__ import annotations

from typing import Final, Never

import pytest

from actors.until_empty import UntilEmpty
from supervisor.store import upkeep
from supervisor.testing import running
from supervisor.tree.child import Child
from supervisor.tree.events import ExitRequested
from tests.actors.parts import Parts, parts

_WAITING: Final = (
    "WITH gone AS (DELETE FROM supervisor.jobs RETURNING *) "
    "INSERT INTO supervisor.jobs_waiting (id, kind, queue, service, args, losses, reason, due_at) "
    "SELECT id, kind, queue, service, args, losses, '{}', clock_timestamp() + interval '1 hour' FROM gone"
)


def child(parts: Parts) -> Child[Never]:
    """Make the actor."""
    return Child(
        "until_empty",
        lambda: UntilEmpty(
            parts.database, parts.slots, parts.outbox, queues=["default"], kinds=["noop"], suspects=True
        ),
    )


async def test_it_ends_the_process_when_the_last_job_is_over() -> None:
    """The process is asked to exit with 0, and not before the last job has ended, wherever that runs."""
    async with parts() as shared:
        worker = await shared.worker()
        await shared.enqueue()
        await shared.claim(worker)
        async with running(child(shared), log=shared.log):
            async with shared.database.connection() as link:
                assert await upkeep.anything_left(link, ["default"], ["noop"], suspects=True)
            assert shared.log.of(ExitRequested) == []
            await shared.execute("DELETE FROM supervisor.jobs")
            assert (await shared.log.expect(ExitRequested)).code == 0


@pytest.mark.parametrize(
    ("change", "suspects", "left"),
    [
        pytest.param("SELECT 1", False, True, id="ready"),
        pytest.param("UPDATE supervisor.jobs SET queue = 'other'", True, False, id="of another queue"),
        pytest.param("UPDATE supervisor.jobs SET kind = 'other'", True, False, id="of another kind"),
        pytest.param("UPDATE supervisor.jobs SET losses = 1", True, True, id="a suspect"),
        pytest.param("UPDATE supervisor.jobs SET losses = 1", False, False, id="a suspect without a lane"),
        pytest.param(_WAITING.format("retry"), True, True, id="to be tried again"),
        pytest.param(_WAITING.format("future"), True, False, id="planned"),
        pytest.param(_WAITING.format("snoozed"), True, False, id="snoozed"),
        pytest.param(_WAITING.format("blocked"), True, False, id="blocked"),
        pytest.param("UPDATE supervisor.control SET killed = true", True, False, id="switched off"),
        pytest.param("UPDATE supervisor.control SET off_queues = '{default}'", True, False, id="queue off"),
    ],
)
async def test_what_counts_as_left(change: str, suspects: bool, left: bool) -> None:
    """A job counts that runs, that may start now, or that waits for another attempt."""
    async with parts() as shared:
        await shared.enqueue()
        await shared.execute(change)
        async with shared.database.connection() as link:
            assert await upkeep.anything_left(link, ["default"], ["noop"], suspects=suspects) is left


async def test_work_of_its_own_comes_first() -> None:
    """While handlers of this process run, the database is not even asked."""
    async with parts() as shared:
        shared.slots.take(1)
        async with running(child(shared), log=shared.log):
            await shared.rows("SELECT pg_sleep(0.1)")
            assert shared.log.of(ExitRequested) == []
