"""Who is let in: by which name, from which page, with which token, how often; and what is noted of the others."""

from __future__ import annotations

import pytest

from supervisor.store import tokens
from supervisor.store.tokens import Role, TokenScope
from supervisor.web.gate import FAILURES
from supervisor.web.route import ANYBODY, Method
from supervisor.web.routes import ROUTES
from tests.web.site import WHO, Site, site

KILL = "/api/system/kill-switch/activate"
NOBODY = "sup_aaaaaaaaaaaa_" + "A" * 43


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:8420", 200),
        ("127.0.0.1:1", 200),
        ("[::1]:8420", 200),
        ("10.1.2.3", 200),
        ("ops.example", 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("a b", 421),
        ("localhost:8420@evil.example", 421),
    ],
)
async def test_names(host: str, status: int) -> None:
    """It answers to addresses, which no page can make its own, and to the names that it knows, and to no other."""
    async with site(hosts=("ops.example",)) as web:
        assert (await web.get("/livez", headers={"Host": host})).status == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": "application/json; charset=latin-1"}, 415),
        ({"Content-Type": "application/json; charset=UTF-8"}, 200),
        ({"Content-Encoding": "gzip"}, 415),
    ],
)
async def test_pages_of_others_change_nothing(web: Site, headers: dict[str, str], status: int) -> None:
    """What the page of another site can make a browser send is refused, and changes nothing."""
    answer = await web.post(KILL, headers=headers)
    assert answer.status == status
    assert (await web.get("/api/system/status")).body["killSwitch"]["active"] == (status == 200)
    assert "Access-Control-Allow-Origin" not in answer.headers


async def test_the_own_page_may_change_something(web: Site) -> None:
    """An Origin that is this very server is let in."""
    headers = {"Origin": web.url}
    assert (await web.post(KILL, headers=headers)).status == 200


async def test_without_a_token_only_the_probes_answer() -> None:
    """Where tokens are asked for, everything else is refused without one, also what does not exist."""
    async with site(tokens=True) as web:
        for route in ROUTES:
            path = route.path.replace("{", "").replace("}", "")
            answer = await web.ask(route.method, path, None if route.method is Method.GET else WHO)
            assert answer.status == (200 if route.access == ANYBODY else 401), path
        answer = await web.get("/nothing")
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")


@pytest.mark.parametrize("role", Role)
async def test_roles(role: Role) -> None:
    """With a token, exactly the routes answer that its role allows."""
    async with site(tokens=True) as web:
        token = await web.token(role)
        for route in ROUTES:
            path = route.path.replace("{", "").replace("}", "")
            answer = await web.ask(route.method, path, None if route.method is Method.GET else b"[]", token=token)
            allowed = route.access.role is None or list(Role).index(role) >= list(Role).index(route.access.role)
            assert (answer.status != 403) == allowed, (route.path, answer.body)


async def test_a_token_with_fewer_scopes() -> None:
    """A scope that a token does not have is refused, whatever its role."""
    async with site(tokens=True) as web:
        token = await web.token(Role.ADMIN, scopes=[TokenScope.JOBS_READ])
        assert (await web.get("/api/jobs", token=token)).status == 200
        answer = await web.post(KILL, token=token)
        assert (answer.status, answer.error["code"]) == (403, "scope")


@pytest.mark.parametrize(
    "given",
    ["", "Bearer", "Bearer ", f"Basic {NOBODY}", "Bearer x", f"Bearer {NOBODY}", f"Bearer {NOBODY}x", "Bearer é"],
)
async def test_what_is_no_token(given: str) -> None:
    """A header without a valid token is refused, and says nothing of why."""
    async with site() as web:
        answer = await web.get("/api/jobs", headers={"Authorization": given})
        assert (answer.status, answer.error["code"]) == (401, "unauthorized")


async def test_a_revoked_token_opens_nothing() -> None:
    """From the revocation on, the very next request is refused."""
    async with site(tokens=True) as web:
        token, admin = await web.token(Role.VIEWER), await web.token(Role.ADMIN)
        assert (await web.get("/api/jobs", token=token)).status == 200
        revoked = await web.post(f"/api/tokens/{tokens.public_id(token)}/revoke", token=admin)
        assert revoked.body["revoked"]
        assert (await web.get("/api/jobs", token=token)).status == 401
        again = await web.post(f"/api/tokens/{tokens.public_id(token)}/revoke", token=admin)
        assert again.status == 404


async def test_wrong_tokens_are_looked_at_a_few_times_only() -> None:
    """After five wrong tokens an address has to wait, but who had the right one before goes on."""
    async with site(tokens=True) as web:
        good = await web.token()
        assert (await web.get("/api/jobs", token=good)).status == 200
        seen = [(await web.get("/api/jobs", token=NOBODY)).status for _ in range(FAILURES + 1)]
        assert seen == [401] * FAILURES + [429]
        answer = await web.get("/api/jobs", token=NOBODY)
        assert 0 < int(answer.headers["Retry-After"]) <= 60
        assert (await web.get("/api/jobs", token=good)).status == 200


async def test_too_many_requests_have_to_wait() -> None:
    """Beyond its rate an address is refused, with the time to wait."""
    async with site(rate=1) as web:
        seen = [(await web.get("/livez")).status for _ in range(4)]
        assert seen[:2] == [200, 200]
        assert 429 in seen


async def test_refused_attempts_are_written_down() -> None:
    """The audit log says who tried what they may not, from where, and is still whole."""
    async with site(tokens=True) as web:
        viewer = await web.token(Role.VIEWER)
        answers = [await web.post(KILL), await web.post(KILL, token=viewer)]
        assert [answer.status for answer in answers] == [401, 403]
        sql = "SELECT * FROM supervisor.system_audit_log WHERE NOT accepted ORDER BY id"
        rows = await web.until(sql, count=2)
        assert rows[0]["actor"] == "nobody"
        assert rows[1]["actor"].startswith("token viewer")
        assert {row["name"] for row in rows} == {f"POST {KILL}"}
        assert {row["request_id"] for row in rows} == {answer.headers["X-Request-Id"] for answer in answers}
        verdict = await web.get("/api/system/audit/verify", token=await web.token())
        assert verdict.body["whole"]


async def test_a_token_for_one_tenant() -> None:
    """A confined token sees and changes what is its own, and learns nothing of the rest."""
    async with site(tokens=True) as web:
        (ours,), (theirs,) = await web.enqueue(tenant="acme"), await web.enqueue(tenant="other")
        await web.enqueue()
        token = await web.token(Role.OPERATOR, tenants=["acme"])
        listed = await web.get("/api/jobs", token=token)
        assert [job["id"] for job in listed.body["jobs"]] == [ours]
        assert (await web.get(f"/api/jobs/{ours}", token=token)).status == 200
        hidden = await web.get(f"/api/jobs/{theirs}", token=token)
        missing = await web.get("/api/jobs/999", token=token)
        assert (hidden.status, hidden.error["code"]) == (missing.status, missing.error["code"]) == (404, "not_found")
        assert hidden.error["message"].replace(str(theirs), "999") == missing.error["message"]
        assert (await web.post(f"/api/jobs/{theirs}/cancel", token=token)).status == 404
        assert (await web.post("/api/system/websites/acme/pause", token=token)).status == 200
        assert (await web.post("/api/system/websites/other/pause", token=token)).status == 403
        for path in ("kill-switch/activate", "services/mail/disable"):
            assert (await web.post(f"/api/system/{path}", token=token)).status == 403
        assert (await web.get("/api/workers", token=token)).status == 403


async def test_a_token_makes_no_greater_one() -> None:
    """A token that may make others makes none that allows more than itself."""
    async with site(tokens=True) as web:
        token = await web.token(Role.ADMIN, scopes=[TokenScope.TOKENS_ADMIN, TokenScope.JOBS_READ])
        order = {"name": "new", "role": "viewer", **WHO}
        made = await web.post("/api/tokens", {**order, "scopes": ["jobs:read"]}, token=token)
        assert made.status == 200
        assert (await web.get("/api/jobs", token=made.body["token"])).status == 200
        assert (await web.post("/api/tokens", {**order, "role": "admin"}, token=token)).status == 403
        shown = await web.get("/api/tokens", token=token)
        assert made.body["token"] not in str(shown.body)
