"""Health and figures over HTTP: what is wrong is said with what to do, and nothing is counted for an answer."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from supervisor.store import figures
from supervisor.store.limit_rows import LimitRow
from supervisor.store.limits import set_limit
from tests.web.site import site

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.web.site import Site


async def survey(web: Site) -> None:
    """Measure everything, as a worker does."""
    async with web.database.connection() as link:
        for part in figures.PARTS:
            await figures.survey(link, part, 0.0)


async def test_health(web: Site) -> None:
    """Jobs without a worker are critical, with the advice to start one; then the status of the answer says so too."""
    await survey(web)
    await web.worker()
    assert (await web.get("/api/monitoring/health")).status == 200
    await web.rows("UPDATE supervisor.workers SET status = 'STOPPED', stopped_at = clock_timestamp()")
    await web.enqueue(2)
    async with web.database.connection() as link:
        await link.execute("UPDATE supervisor.surveys SET measured_at = '-infinity'")
    await survey(web)
    async with site(web.dsn) as other:  # one that remembers nothing
        answer = await other.get("/api/monitoring/health")
    assert (answer.status, answer.body["status"]) == (503, "critical")
    (finding,) = answer.body["components"]["workers"]["findings"]
    assert "no live worker" in finding["problem"]
    assert finding["advice"] in answer.body["advice"]


async def test_a_full_queue(web: Site) -> None:
    """A queue that takes no more is critical, as the command says."""
    await web.worker()
    await web.enqueue(2)
    await web.rows("INSERT INTO supervisor.queue_settings (queue, max_depth) VALUES ('default', 2)")
    await survey(web)
    health = (await web.get("/api/monitoring/queue/health")).body
    assert health["status"] == "critical"
    assert [finding["problem"] for finding in health["findings"]] == ["takes no more: jobs waiting 2, at most 2"]


async def test_statistics(web: Site) -> None:
    """The counts are those that were measured, with their age."""
    await web.enqueue(3)
    await web.enqueue(2, queue="slow")
    await survey(web)
    stats = (await web.get("/api/monitoring/queue/stats")).body
    counts = {name: stats[name] for name in ("waiting", "active", "completed", "failed", "delayed")}
    assert counts == {"waiting": 5, "active": 0, "completed": 0, "failed": 0, "delayed": 0}
    assert {row["queue"]: row["ready"] for row in stats["queues"]} == {"default": 3, "slow": 2}
    assert 0 <= stats["age"] < 60
    health = (await web.get("/api/monitoring/queue/health")).body
    assert {row["queue"] for row in health["queues"]} == {"default", "slow"}


@pytest.mark.parametrize(
    ("change", "because"),
    [
        ({}, []),
        ({"draining": True}, ["draining"]),
        ({"worker": 0}, ["unregistered"]),
        ({"lease_until": 0.0}, ["lease_in_doubt"]),
        ({"outage": True}, ["database_unavailable"]),
    ],
)
async def test_readiness(web: Site, change: Mapping[str, object], because: list[str]) -> None:
    """A process that cannot start jobs is not ready, and says why; it lives all the same."""
    web.board.shown = replace(web.board.shown, **change)  # type: ignore[arg-type]
    answer = await web.get("/readyz")
    assert (answer.status, answer.body) == (503 if because else 200, {"ready": not because, "because": because})
    assert (await web.get("/livez")).status == 200


async def test_a_blocked_loop(web: Site) -> None:
    """While the main loop does not turn, the process neither lives nor is ready, and health says it."""
    web.board.turned_at = web.board.now() - 100
    assert (await web.get("/livez")).status == 503
    assert (await web.get("/readyz")).body["because"] == ["blocked"]
    assert (await web.get("/api/monitoring/health")).body["components"]["process"]["status"] == "critical"


async def test_a_lost_database(web: Site) -> None:
    """Without the database the process lives, is not ready, and every other answer says so without its address."""
    await web.cut()
    assert (await web.get("/livez")).status == 200
    assert (await web.get("/readyz")).body["because"] == ["database_unavailable"]
    for path in ("/api/system/status", "/api/jobs", "/api/monitoring/dashboard"):
        answer = await web.get(path)
        assert (answer.status, answer.error["code"]) == (503, "database_unavailable")
        assert "Retry-After" in answer.headers
        assert "/" not in answer.error["message"]
    health = await web.get("/api/monitoring/health")
    assert (health.status, health.body["components"]["database"]["status"]) == (503, "critical")


async def test_the_rate_limit_of_a_client(web: Site) -> None:
    """A client's share of its hourly limit is shown; a limit that counts nobody apart is not his."""
    assert (await web.get("/api/monitoring/rate-limit/acme")).status == 404
    async with web.database.connection() as link:
        for name, amount in (("scans", 10.0), ("pages", 500.0)):
            row = LimitRow(name=name, form="window", amount=amount, period_s=3600.0, by=("tenant",))
            await set_limit(link, row, reason="a test", actor="test")
    found = (await web.get("/api/monitoring/rate-limit/acme")).body
    assert {name: found[name] for name in ("clientId", "name", "scansThisHour", "limit", "remaining")} == {
        "clientId": "acme",
        "name": "scans",
        "scansThisHour": 0,
        "limit": 10,
        "remaining": 10,
    }


async def test_limits(web: Site) -> None:
    """A limit is made, shown, used, changed and removed, each in the audit log."""
    wanted = {"form": "window", "amount": 5, "periodS": 60, "by": ["tenant"], "reason": "load", "triggeredBy": "ana"}
    made = await web.ask("PUT", "/api/limits/scans", wanted)
    assert (made.status, made.body["changed"], made.body["after"]["amount"]) == (200, True, 5), made.body
    assert (await web.get("/api/limits/scans")).body["by"] == ["tenant"]
    usage = (await web.get("/api/limits/scans/status?key=acme")).body["usage"]
    assert [(one["key"], one["remaining"]) for one in usage] == [("acme", 5)]
    wrong = await web.ask("PUT", "/api/limits/scans", {**wanted, "periodS": None})
    assert wrong.status == 422, wrong.body
    gone = await web.ask("DELETE", "/api/limits/scans", {"reason": "calm", "triggeredBy": "ana"})
    assert gone.body["changed"]
    assert (await web.get("/api/limits/scans")).status == 404
    again = await web.ask("DELETE", "/api/limits/scans", {"reason": "calm", "triggeredBy": "ana"})
    assert again.status == 404
    entries = (await web.get("/api/system/audit?scope=limit")).body["entries"]
    assert [one["name"] for one in entries] == ["scans", "scans"]
    assert entries[0]["source"] == "127.0.0.1"


async def test_the_audit_log_page_by_page(web: Site) -> None:
    """Entries come once each, the latest first."""
    for number in range(5):
        await web.post(f"/api/system/services/s{number}/disable")
    seen: list[int] = []
    before = ""
    while True:
        page = (await web.get(f"/api/system/audit?limit=2{before}")).body
        seen += [entry["id"] for entry in page["entries"]]
        if page["next"] is None:
            break
        before = f"&before={page['next']}"
    assert len(seen) == 5
    assert seen == sorted(seen, reverse=True)


async def test_the_safety_check(web: Site) -> None:
    """It says what the claim would say, with the switch that forbids it and why that was set."""
    asked = {"serviceName": "mail", "websiteId": 17, "requiresChanges": True}
    free = (await web.post("/api/system/safety-check", asked)).body
    assert (free["allowed"], free["reason"], set(free["checks"].values())) == (True, None, {False})
    await web.post("/api/system/websites/17/pause")
    found = (await web.post("/api/system/safety-check", asked)).body
    assert (found["allowed"], found["reason"]) == (False, "tenant:17")
    assert [name for name, is_set in found["checks"].items() if is_set] == ["websitePaused"]
    assert found["detail"] == "a test"
