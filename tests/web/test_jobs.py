"""Jobs over HTTP: page by page without a gap, one by one, run again and cancelled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from supervisor.store import job_pages
from supervisor.store import jobs as job_statements
from supervisor.store.job_rows import Ended
from supervisor.store.tokens import Role
from tests.web.site import WHO, site

if TYPE_CHECKING:
    from tests.web.site import Site


async def finish(web: Site, status: str, count: int) -> list[int]:
    """Enqueue jobs and end them in a state; return their ids."""
    ids = await web.enqueue(count)
    worker = await web.worker()
    async with web.database.connection() as link:
        rows = [row for row in await job_statements.claim(link, worker, "default", ["noop"], 500) if row.id in ids]
        done = [Ended(row.id, row.lock_version, status, "it went wrong", "Traceback …") for row in rows]  # type: ignore[arg-type]
        await job_statements.finish(link, done)
    return ids


async def pages(web: Site, query: str, limit: int) -> list[int]:
    """Follow a list to its end; return the ids in order."""
    found: list[int] = []
    after = ""
    while True:
        page = (await web.get(f"/api/jobs?{query}&limit={limit}{after}")).body
        assert len(page["jobs"]) <= limit
        found += [job["id"] for job in page["jobs"]]
        if page["next"] is None:
            return found
        after = f"&after={page['next']}"


@pytest.mark.parametrize("limit", [1, 3, 7, 50])
async def test_live_jobs_page_by_page(web: Site, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every live job is listed once, the newest first, whatever the sizes of pages and pieces."""
    monkeypatch.setattr(job_pages, "PIECE", 5)
    ids = await web.enqueue(23)
    await web.rows("SELECT supervisor.cancel_jobs($1, 'x')", ids[:3])
    await web.rows(
        """WITH gone AS (DELETE FROM supervisor.jobs WHERE id % 3 = 0 RETURNING *)
           INSERT INTO supervisor.jobs_waiting SELECT gone.*, 'future', clock_timestamp() + interval '1 h' FROM gone"""
    )
    assert await pages(web, "status=live", limit) == sorted(ids[3:], reverse=True)
    assert await pages(web, "status=running", limit) == []
    assert await pages(web, "status=pending&kind=nope", limit) == []


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
@pytest.mark.parametrize("limit", [2, 50])
async def test_ended_jobs_page_by_page(web: Site, status: str, limit: int) -> None:
    """Every job that ended so is listed once."""
    ids = await finish(web, status, 9)
    assert sorted(await pages(web, f"status={status}", limit)) == ids
    assert await pages(web, "status=discarded", limit) == []


async def test_running_jobs(web: Site) -> None:
    """Jobs that run are listed, the oldest first."""
    ids = await web.enqueue(5)
    worker = await web.worker()
    async with web.database.connection() as link:
        await job_statements.claim(link, worker, "default", ["noop"], 3)
    assert await pages(web, "status=running", 2) == ids[:3]


async def test_one_job(web: Site) -> None:
    """A job shows what is known of it, and why it waits."""
    (job,) = await web.enqueue(tenant="acme")
    shown = (await web.get(f"/api/jobs/{job}")).body
    assert (shown["status"], shown["tenant"], shown["args"], shown["steps"]) == ("pending", "acme", {}, [])
    await web.post("/api/system/websites/acme/pause")
    why = (await web.get(f"/api/jobs/{job}/why")).body
    assert any(one["what"] == "switch" for one in why["obstacles"]), why


async def test_a_failed_job_is_run_again(web: Site) -> None:
    """A failed job is in the list of failures and comes back to life; one that lives does not."""
    (job,) = await finish(web, "failed", 1)
    failed = (await web.get("/api/monitoring/queue/failed")).body["jobs"]
    assert [(one["id"], one["lastError"]) for one in failed] == [(job, "it went wrong")]
    assert (await web.get(f"/api/jobs/{job}")).body["traceback"] == "Traceback …"
    assert (await web.post(f"/api/monitoring/queue/retry/{job}", b"")).body["retried"]
    assert (await web.get(f"/api/jobs/{job}")).body["status"] == "pending"
    again = await web.post(f"/api/jobs/{job}/retry", b"")
    assert again.status in {200, 409}


async def test_a_job_is_cancelled(web: Site) -> None:
    """A job that waits is cancelled, with the reason and who wanted it; twice is a conflict."""
    (job,) = await web.enqueue()
    assert (await web.post(f"/api/jobs/{job}/cancel")).body["cancelled"]
    shown = (await web.get(f"/api/jobs/{job}")).body
    assert shown["status"] == "cancelled"
    assert WHO["reason"] in shown["lastError"]
    assert WHO["triggeredBy"] in shown["lastError"]
    assert (await web.post(f"/api/jobs/{job}/cancel")).status == 409


async def test_a_viewer_sees_no_arguments() -> None:
    """Arguments and tracebacks, which may have secrets in them, are for operators only."""
    async with site(tokens=True) as web:
        (job,) = await finish(web, "failed", 1)
        shown: dict[Role, Any] = {}
        for role in Role:
            shown[role] = (await web.get(f"/api/jobs/{job}", token=await web.token(role))).body
        assert shown[Role.VIEWER]["args"] is shown[Role.VIEWER]["traceback"] is None
        assert shown[Role.OPERATOR]["args"] == {}


async def test_recovery(web: Site) -> None:
    """What a dead worker holds is freed on demand."""
    ids = await web.enqueue(3)
    worker = await web.worker()
    async with web.database.connection() as link:
        await job_statements.claim(link, worker, "default", ["noop"], 3)
    sql = "UPDATE supervisor.workers SET lease_expires_at = clock_timestamp() - interval '1 s' WHERE id = $1"
    await web.rows(sql, worker)
    found = (await web.post("/api/system/jobs/recover-expired-locks", b"")).body
    assert (found["recovered"], found["quarantined"], found["more"]) == (3, 0, False)
    (one,) = found["workers"]
    assert (one["worker"], one["lost"], sorted(one["released"])) == (worker, True, ids)
    assert (await web.post("/api/monitoring/recover", b"")).body["recovered"] == 0
