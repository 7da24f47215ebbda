"""A whole process with the rights of the runtime role: it does all its work, and could not hide what it did."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import asyncpg
import orjson
import pytest

from supervisor import Client
from tests.process import job_apps
from tests.process.engine import QUICK, engine
from tests.store.postgres import LIMIT
from tests.store.test_roles import RUNTIME, as_role

if TYPE_CHECKING:
    from tests.process.conftest import Start

DENIED = "permission denied"


async def test_a_worker_needs_no_more_than_the_runtime_role(start: Start) -> None:
    """Jobs come one by one and in bulk, run, fail, and outlive their process, and nothing is denied."""
    async with engine(start) as owner:
        theirs = as_role(owner.dsn, RUNTIME)
        jobs = owner.on(theirs)
        first, second = jobs.run(*QUICK), jobs.run(*QUICK)
        async with Client(theirs) as client, contextlib.AsyncExitStack() as stack:
            connection = await asyncpg.connect(theirs, timeout=LIMIT)
            stack.push_async_callback(connection.close, timeout=LIMIT)
            for job in (job_apps.note, job_apps.fail):
                ended = await owner.ended((await client.enqueue(job)).id)
                assert ended["status"] == ("completed" if job is job_apps.note else "failed")
            await client.enqueue_many(job_apps.note, [None] * 3000)
            limit = orjson.dumps({"form": "concurrency", "amount": 20, "place": "start", "kind": job_apps.note.kind})
            await connection.execute(
                "SELECT supervisor.set_limit('few', $1, 'why', 'ana')", limit.decode(), timeout=LIMIT
            )
            await client.enqueue_many(job_apps.note, [None] * 100)
            held = (await client.enqueue(job_apps.hold)).id
            (row,) = await owner.until(
                "SELECT worker.pid FROM supervisor.jobs AS job JOIN supervisor.workers AS worker "
                "ON worker.id = job.claimed_by WHERE job.id = $1",
                held,
            )
            dead, alive = (first, second) if row["pid"] == first.pid else (second, first)
            dead.process.kill()
            assert (await owner.ended(held))["losses"] == 1
            await owner.until("SELECT 1 WHERE NOT EXISTS (SELECT FROM supervisor.jobs)")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute("DELETE FROM supervisor.system_audit_log", timeout=LIMIT)
        assert alive.end() == 0
        for program in (first, second):
            assert [line for line in [*program.err.lines, *program.out.lines] if DENIED in line] == []
