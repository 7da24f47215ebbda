"""The headers and the other parts of a request that somebody wants made."""

from __future__ import annotations

import asyncio

import pytest

from supervisor.errors import ConfigError
from supervisor.safety import (
    HeaderPolicy,
    Refused,
    RequestPolicy,
    UrlPolicy,
    check_headers,
    check_request,
    check_user_agent,
)

URL = "https://example.com/"


async def resolve(name: str) -> list[str]:
    """Know every name, at a public address."""
    await asyncio.sleep(0)
    return ["93.184.216.34"]


def test_headers_pass_as_they_are() -> None:
    """Usual headers keep their order and case, whether they come as a mapping or as pairs."""
    pairs = (("Accept-Language", "de, en;q=0.5"), ("X-Trace", 'a\tb "c"'), ("User-Agent", "Mozilla/5.0 (X11)"))
    assert check_headers(pairs) == pairs
    assert check_headers(dict(pairs)) == pairs


@pytest.mark.parametrize(
    "name",
    [
        "Host",
        "hOsT",
        "Content-Length",
        "Transfer-Encoding",
        "Connection",
        "Keep-Alive",
        "TE",
        "Trailer",
        "Upgrade",
        "Expect",
        "Proxy-Authorization",
        "Proxy-Connection",
        "proxy-anything",
        "Sec-Fetch-Site",
        "Sec-WebSocket-Key",
        "Forwarded",
        "X-Forwarded-For",
        "X-Real-IP",
        "X-HTTP-Method-Override",
        "Metadata-Flavor",
        "Metadata",
        "X-aws-ec2-metadata-token",
        "X-Google-Metadata-Request",
        "Content_Length",
        "TRANSFER_ENCODING",
        "x_forwarded_for",
        "X_Api-Key",
        "Cookie",
        "Authorization",
        "X-Api-Key",
        "",
        "A B",
        "A:",
        "A\r\nB",
        "A\0",
        ":authority",
        "Ä",
        "A\u212a",
        "(x)",
    ],
)
def test_a_header_that_is_refused(name: str) -> None:
    """What belongs to the client, to proxies or to metadata services, is a credential, or is no name, is refused."""
    with pytest.raises(Refused, match=r"^headers"):
        check_headers({name: "x"})


@pytest.mark.parametrize(
    "value", ["", " x", "x ", "a\r\nHost: evil", "a\nb", "a\rb", "a\0b", "a\x0bb", "a\x7f", "ü", "a\u2028b", "\ud800"]
)
def test_a_value_that_is_refused(value: str) -> None:
    """A value is printable ASCII on one line, in headers and as the user agent, and is not quoted in the error."""
    with pytest.raises(Refused) as caught:
        check_headers({"X-A": value})
    assert not value.strip() or value not in str(caught.value)
    with pytest.raises(Refused, match=r"^userAgent"):
        check_user_agent(value)


def test_how_many_and_how_long() -> None:
    """32 headers and 8 KiB are the most, a name comes once, and a user agent has its own limit."""
    assert len(check_headers({f"X-{number}": "v" for number in range(32)})) == 32
    with pytest.raises(Refused, match="there are 33"):
        check_headers({f"X-{number}": "v" for number in range(33)})
    assert check_headers({"X": "v" * (8192 - 5)})
    with pytest.raises(Refused, match="8192 bytes"):
        check_headers({"X": "v" * (8192 - 4)})
    with pytest.raises(Refused, match="twice"):
        check_headers([("X-A", "1"), ("x-a", "2")])
    with pytest.raises(Refused, match="513 characters"):
        check_headers({"User-Agent": "v" * 513})


def test_a_policy_of_headers() -> None:
    """Credentials pass where they are allowed by name, and a short list allows nothing else."""
    policy = HeaderPolicy(credentials=frozenset({"cookie"}), only=frozenset({"accept"}))
    assert check_headers({"Cookie": "a=b", "Accept": "*/*"}, policy)
    for name in ("Authorization", "Accept-Language"):
        with pytest.raises(Refused, match=name):
            check_headers({name: "x"}, policy)


@pytest.mark.parametrize(
    "wrong", [{"credentials": {"Cookie"}}, {"credentials": {"x-a"}}, {"only": {"host"}}, {"only": {"a b"}}]
)
def test_a_policy_that_cannot_be(wrong: dict[str, set[str]]) -> None:
    """What can never be allowed is refused where the policy is made."""
    with pytest.raises(ConfigError, match="HeaderPolicy"):
        HeaderPolicy(**{name: frozenset(value) for name, value in wrong.items()})  # type: ignore[arg-type]


async def test_a_whole_request() -> None:
    """A request that passes has all its parts in the form in which they are used."""
    found = await check_request(
        "https://EXAMPLE.com", headers={"Accept": "*/*"}, user_agent="scanner/1", timeout=30.0, resolve=resolve
    )
    assert (found.method, found.url.url, found.timeout) == ("GET", URL, 30.0)
    assert found.headers == (("User-Agent", "scanner/1"), ("Accept", "*/*"))
    assert (await check_request(URL, resolve=resolve)).timeout == 120.0


@pytest.mark.parametrize(
    ("field", "parts"),
    [
        ("method", {"method": "POST"}),
        ("method", {"method": "get"}),
        ("method", {"method": "GET / HTTP/1.1\r\n"}),
        ("timeout", {"timeout": 0.0}),
        ("timeout", {"timeout": 120.1}),
        ("timeout", {"timeout": float("nan")}),
        ("timeout", {"timeout": float("inf")}),
        ("headers", {"headers": {"Host": "x"}}),
        ("userAgent", {"user_agent": "a\r\nb"}),
        ("userAgent", {"user_agent": "a", "headers": {"user-agent": "b"}}),
        ("url", {"url": "https://127.0.0.1/"}),
    ],
)
async def test_a_part_that_is_refused(field: str, parts: dict[str, object]) -> None:
    """The error names the part of the request that is not allowed."""
    with pytest.raises(Refused) as caught:
        await check_request(**{"url": URL, "resolve": resolve, **parts})  # type: ignore[arg-type]
    assert caught.value.field.partition(".")[0] == field


async def test_credentials_stay_with_their_site() -> None:
    """A redirect to the same site takes credentials along, one to another site or port leaves them behind."""
    policy = RequestPolicy(
        url=UrlPolicy(ports=frozenset({443, 8443})), headers=HeaderPolicy(credentials=frozenset({"cookie"}))
    )
    first = await check_request(URL, headers={"Cookie": "a=b", "Accept": "*/*"}, policy=policy, resolve=resolve)
    same = await first.redirected("/x", resolve=resolve)
    assert (same.headers, same.hops) == (first.headers, 1)
    for location in ("https://www.example.com/", "https://example.com:8443/"):
        other = await same.redirected(location, resolve=resolve)
        assert (other.headers, other.hops) == ((("Accept", "*/*"),), 2)
        back = await other.redirected(URL, resolve=resolve)
        assert back.headers == (("Accept", "*/*"),)
