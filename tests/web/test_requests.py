"""What a request may say: each mistake is refused with its field and its remedy, and changes nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from supervisor.web.server import LARGEST
from tests.web.site import WHO

if TYPE_CHECKING:
    from tests.web.site import Site

KILL = "/api/system/kill-switch/activate"


def said(**changes: object) -> bytes:
    """Make a body that differs from what every change says."""
    return json.dumps({**WHO, **changes}).encode()


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        (b"", 422, "invalid", "reason"),
        (b"{}", 422, "invalid", "reason"),
        (b"[]", 422, "invalid", None),
        (b"null", 422, "invalid", None),
        (b"{", 400, "not_json", None),
        (b'{"reason": NaN}', 400, "not_json", None),
        (b'{"wait": 1e400}', 400, "number_too_large", None),
        (b'{"wait": ' + b"1" * 5000 + b"}", 400, "number_too_long", None),
        (b"\xff\xfe", 400, "not_utf8", None),
        (b'{"reason": "a", "reason": "b"}', 400, "duplicate_key", "reason"),
        (b'{"x": {"y": 1, "y": 2}}', 400, "duplicate_key", "y"),
        (b'{"reason": "a\\u0000"}', 400, "null_character", "reason"),
        (b'{"reason": "\\ud800"}', 400, "lone_surrogate", "reason"),
        (b'{"\\ud800": 1}', 400, "lone_surrogate", "?"),
        (b'{"a": [[1, "\\u0000"]]}', 400, "null_character", "a[0][1]"),
        (b"[" * 100_000, 400, "too_deep", None),
        (b'{"a":' * 40 + b"1" + b"}" * 40, 400, "too_deep", None),
        (said(reason=1), 422, "invalid", "reason"),
        (said(reason="  "), 422, "invalid", "reason"),
        (said(reason="x" * 1001), 422, "invalid", "reason"),
        (said(triggeredBy="a\nb"), 422, "invalid", "triggeredBy"),
        (said(wait=-1), 422, "invalid", "wait"),
        (said(wait="1"), 422, "invalid", "wait"),
        (said(dryRun=1), 422, "invalid", "dryRun"),
        (said(cancelRuning=True), 422, "invalid", "cancelRuning"),
        (b" " * (LARGEST + 1), 413, "too_large", None),
    ],
)
async def test_a_wrong_body(web: Site, body: bytes, status: int, code: str, field: str | None) -> None:
    """A body that is wrong is refused by its field, and nothing is changed."""
    answer = await web.post(KILL, body)
    assert (answer.status, answer.error["code"], answer.error["field"]) == (status, code, field)
    assert answer.error["requestId"] == answer.headers["X-Request-Id"]
    assert not (await web.get("/api/system/status")).body["killSwitch"]["active"]


async def test_a_close_name_is_suggested(web: Site) -> None:
    """A field, a path or a choice that is nearly right gets the right one as its remedy."""
    answer = await web.post(KILL, said(trigeredBy="x"))
    assert answer.error["remedy"] == "did you mean triggeredBy?"
    answer = await web.get("/api/system/kil-switch")
    assert "/api/system/kill-switch" in answer.error["remedy"]
    answer = await web.post("/api/system/mode", {**WHO, "mode": "safe"})
    assert "safe_mode" in answer.error["remedy"]


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ("limit=1", 200, None),
        ("limit=0", 422, "limit"),
        ("limit=1000", 422, "limit"),
        ("limit=x", 422, "limit"),
        ("limit=1&limit=2", 400, "limit"),
        ("limit=", 422, "limit"),
        ("limitt=1", 422, "limitt"),
        ("status=fail", 422, "status"),
        ("tenant=a%00b", 400, "tenant"),
        ("tenant=%ff", 400, None),
        ("tenant=null", 200, None),
        ("after=x", 404, "after"),
        ("after=WyJ4Il0", 404, "after"),
        ("&", 400, None),
        ("&".join(f"a{number}=1" for number in range(100)), 400, None),
    ],
)
async def test_wrong_parameters(web: Site, query: str, status: int, field: str | None) -> None:
    """Parameters are as strict as bodies."""
    answer = await web.get(f"/api/jobs?{query}")
    assert answer.status == status
    assert status == 200 or answer.error["field"] == field


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/api/jobs/", 404),
        ("GET", "/api/jobs/x", 422),
        ("GET", "/api/jobs/0", 422),
        ("GET", "/api/jobs/99999999999999999999", 422),
        ("DELETE", "/api/jobs", 405),
        ("OPTIONS", "/api/jobs", 405),
        ("TRACE", "/api/jobs", 405),
        ("HEAD", "/api/jobs", 200),
        ("GET", "/api/system/services//status", 404),
    ],
)
async def test_paths_and_methods(web: Site, method: str, path: str, status: int) -> None:
    """What is not in the table is not there."""
    answer = await web.ask(method, path)
    assert answer.status == status
    assert status != 405 or "GET" in answer.headers["Allow"]


async def test_a_request_keeps_its_id(web: Site) -> None:
    """An id that the caller gives comes back, and one that could do harm in a log does not."""
    assert (await web.get("/livez", headers={"X-Request-Id": "a-1.B"})).headers["X-Request-Id"] == "a-1.B"
    assert (await web.get("/livez", headers={"X-Request-Id": "a b"})).headers["X-Request-Id"] != "a b"


async def test_a_change_for_another_epoch(web: Site) -> None:
    """With If-Match a change is made only if nobody changed anything since; what is not an epoch is refused."""
    seen = (await web.get("/api/system/kill-switch")).headers["ETag"]
    assert (await web.post("/api/system/services/mail/disable")).status == 200
    answer = await web.post(KILL, headers={"If-Match": seen})
    assert (answer.status, answer.error["code"]) == (412, "epoch_changed")
    seen = (await web.get("/api/system/kill-switch")).headers["ETag"]
    assert (await web.post(KILL, headers={"If-Match": seen})).status == 200
    assert (await web.post(KILL, headers={"If-Match": '"x"'})).status == 400
