"""The switches over HTTP: what is answered, what is in force, and what the audit log has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.web.site import WHO

if TYPE_CHECKING:
    from tests.web.site import Site

KILL = "/api/system/kill-switch"


async def test_the_kill_switch(web: Site) -> None:
    """Activated, it is in force, shown with its reason, and in the audit log under who and from where."""
    await web.worker()
    answer = await web.post(f"{KILL}/activate")
    assert (answer.status, answer.body["changed"], answer.body["after"]["value"]) == (200, True, True)
    assert answer.body["confirmation"]["of"] == 1
    shown = (await web.get(KILL)).body
    assert (shown["active"], shown["enabled"], shown["reason"]) == (True, True, WHO["reason"])
    status = (await web.get("/api/system/status")).body
    assert status["killSwitch"] == {"active": True, "enabled": True}
    assert status["mode"] == "normal"
    (row,) = await web.rows("SELECT * FROM supervisor.system_audit_log WHERE action_type = 'activate_kill_switch'")
    assert (row["source"], row["request_id"]) == ("127.0.0.1", answer.headers["X-Request-Id"])
    assert WHO["triggeredBy"] in row["actor"]
    assert (await web.post(f"{KILL}/deactivate")).body["changed"]
    assert not (await web.get(KILL)).body["active"]


@pytest.mark.parametrize(
    ("off", "on", "status"),
    [
        ("services/mail/disable", "services/mail/enable", "services/mail/status"),
        ("websites/acme/pause", "websites/acme/resume", "websites/acme/status"),
        ("queues/slow/pause", "queues/slow/resume", "queues/slow/status"),
        ("kinds/scan/pause", "kinds/scan/resume", "kinds/scan/status"),
        ("websites/a%2Fb%20%C3%A9/pause", "websites/a%2Fb%20%C3%A9/resume", "websites/a%2Fb%20%C3%A9/status"),
    ],
)
async def test_what_is_off_by_name(web: Site, off: str, on: str, status: str) -> None:
    """Each scope is switched off and on by its own path, and its status says so."""
    assert (await web.get(f"/api/system/{status}")).body["enabled"]
    assert (await web.post(f"/api/system/{off}")).body["after"]["triggeredBy"].startswith("ana")
    shown = (await web.get(f"/api/system/{status}")).body
    assert (shown["enabled"], shown["reason"]) == (False, WHO["reason"])
    assert (await web.get("/api/system/switches")).body["anyOff"]
    assert (await web.post(f"/api/system/{on}")).body["changed"]
    assert (await web.get(f"/api/system/{status}")).body["enabled"]
