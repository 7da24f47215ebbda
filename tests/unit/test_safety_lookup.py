"""The lookup of a URL's host: each address counts, once, and only those that were checked are connected to."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp import web

from supervisor.safety import Refused, Unresolved, UrlPolicy, VettedUrl, check_redirect, check_url
from supervisor.safety import url as url_module
from supervisor.safety.pinned import PinnedResolver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from supervisor.safety.url import Resolve

URL = "https://example.com/"
GOOD = "93.184.216.34"


def names(answers: dict[str, Sequence[str]]) -> Resolve:
    """Make a resolver that knows these names; it fails for any other."""

    async def resolve(name: str) -> Sequence[str]:
        await asyncio.sleep(0)
        if name not in answers:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return answers[name]

    return resolve


def at(*addresses: str) -> Resolve:
    """Make a resolver that knows `example.com`, at these addresses."""
    return names({"example.com": addresses})


async def vetted(text: str = URL, *addresses: str) -> VettedUrl:
    """Check a URL of `example.com`."""
    return await check_url(text, resolve=at(*(addresses or (GOOD,))))


async def test_all_addresses_are_kept() -> None:
    """What comes out has the URL to use and each address once, in the order of the answer."""
    found = await vetted("https://EXAMPLE.com/a", GOOD, "2606:4700::1111", GOOD)
    assert found == VettedUrl("https://example.com/a", "https", "example.com", 443, (GOOD, "2606:4700::1111"))


@pytest.mark.parametrize(
    "bad",
    [
        "127.0.0.1",
        "10.0.0.1",
        "169.254.169.254",
        "::1",
        "::ffff:127.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "fe80::1%eth0",
        "2606:4700::1%1",
        "fd00:ec2::254",
        "0.0.0.0",  # noqa: S104 - not bound to
        "no address",
        "",
    ],
)
@pytest.mark.parametrize("place", [0, 1, 50])
async def test_one_bad_address_refuses_them_all(bad: str, place: int) -> None:
    """Among any number of good addresses, at any place, a bad one is found."""
    answers = [f"93.184.216.{number}" for number in range(1, 60)]
    answers.insert(place, bad)
    with pytest.raises(Refused, match=r"example\.com leads to where it must not"):
        await vetted(URL, *answers)


async def test_too_many_addresses() -> None:
    """A name with more addresses than any site needs costs us no time."""
    with pytest.raises(Refused, match="300 addresses"):
        await vetted(URL, *(f"93.184.{number // 200}.{number % 200 + 1}" for number in range(300)))


async def test_a_name_without_an_address() -> None:
    """An empty answer, and a name that nobody knows, may be otherwise later."""
    with pytest.raises(Unresolved, match="no address"):
        await check_url(URL, resolve=names({"example.com": []}))
    with pytest.raises(Unresolved, match="not known"):
        await check_url(URL, resolve=names({}))


async def test_a_lookup_that_does_not_end() -> None:
    """A silent name server holds nobody up for longer than the deadline."""

    async def silent(name: str) -> list[str]:
        await asyncio.Event().wait()
        return []

    with pytest.raises(Unresolved, match=r"no answer within 0\.01 s"):
        await check_url(URL, resolve=silent, deadline=0.01)


async def test_an_address_is_not_looked_up() -> None:
    """A URL with an address needs no lookup, and passes by the same rules."""
    assert (await check_url("https://8.8.8.8/", resolve=names({}))).addresses == ("8.8.8.8",)
    with pytest.raises(Refused):
        await check_url("https://127.0.0.1/", resolve=names({}))


async def test_our_own_addresses_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A public address that is this host's own leads to its services behind the firewall, so it is refused."""
    monkeypatch.setattr(url_module, "own_addresses", lambda: frozenset({ipaddress.ip_address(GOOD)}))
    with pytest.raises(Refused, match="of this host"):
        await vetted()
    found = await check_url(URL, policy=UrlPolicy(networks=(f"{GOOD}/32",)), resolve=at(GOOD))
    assert found.addresses == (GOOD,)


async def test_protected_hosts_are_refused_by_any_name() -> None:
    """A name that leads to the database is refused, although it is not the database's name."""
    policy = UrlPolicy(protected=("db.example.org", "8.8.4.4"))
    resolve = names(
        {"db.example.org": [GOOD], "example.com": [GOOD], "example.net": ["8.8.4.4"], "other.com": ["1.1.1.1"]}
    )
    for text in (URL, "https://example.net/", "https://8.8.4.4/"):
        with pytest.raises(Refused):
            await check_url(text, policy=policy, resolve=resolve)
    assert (await check_url("https://other.com/", policy=policy, resolve=resolve)).host == "other.com"


async def test_without_the_protected_host_nothing_passes() -> None:
    """If the database's name cannot be looked up, nobody can say that the URL leads elsewhere."""
    with pytest.raises(Unresolved, match=r"db\.example\.org"):
        await check_url(URL, policy=UrlPolicy(protected=("db.example.org",)), resolve=at(GOOD))


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("https://www.example.com/", "https://www.example.com/"),
        ("//www.example.com/x", "https://www.example.com/x"),
        ("/b?c", "https://example.com/b?c"),
        ("b", "https://example.com/a/b"),
        ("../b", "https://example.com/b"),
        ("?q", "https://example.com/a/x?q"),
        ("", "https://example.com/a/x"),
    ],
)
async def test_a_redirect_that_is_followed(location: str, url: str) -> None:
    """A redirect is read against the URL that led to it, and checked like a URL of its own."""
    resolve = names({"example.com": [GOOD], "www.example.com": [GOOD]})
    assert (await check_redirect(await vetted("https://example.com/a/x"), location, hop=1, resolve=resolve)).url == url


@pytest.mark.parametrize(
    "location",
    [
        "http://example.com/",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "data:text/html,x",
        "https:evil.com",
        "//127.0.0.1/",
        "//user@example.com/",
        "///evil.com",
        "/\\evil.com",
        "\\\\evil.com",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://inside.example.com/",
        "https://example.com:22/",
        "/a b",
        "/a\r\nSet-Cookie: x=y",
        "/%00",
        "\thttps://127.0.0.1/",
    ],
)
async def test_a_redirect_that_is_refused(location: str) -> None:
    """No redirect leads to another scheme, to a less safe one, or to a place that no URL may name."""
    resolve = names({"example.com": [GOOD], "inside.example.com": ["10.0.0.1"]})
    with pytest.raises(Refused, match=r"^location: "):
        await check_redirect(await vetted(), location, hop=1, resolve=resolve)


async def test_redirects_end() -> None:
    """The tenth redirect is followed, the eleventh is not."""
    assert (await check_redirect(await vetted(), "/", hop=10, resolve=at(GOOD))).url == URL
    with pytest.raises(Refused, match="number 11"):
        await check_redirect(await vetted(), "/", hop=11, resolve=at(GOOD))


@contextlib.asynccontextmanager
async def a_site() -> AsyncIterator[tuple[int, list[str]]]:
    """Serve on the loopback address; give the port, and the Host headers of the requests as they come."""
    seen: list[str] = []

    async def handle(request: web.Request) -> web.Response:
        seen.append(request.host)
        return web.Response(status=302, headers={"Location": "http://other.example.com/"})

    runner = web.ServerRunner(web.Server(handle))  # type: ignore[arg-type]
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield runner.addresses[0][1], seen
    finally:
        await runner.cleanup()


async def test_a_name_cannot_change_between_check_and_use() -> None:
    """The client connects to what was checked: it asks nobody again, and knows no other name."""
    asked: list[str] = []

    async def rebinding(name: str) -> list[str]:
        await asyncio.sleep(0)
        asked.append(name)
        return ["127.0.0.1"] if len(asked) == 1 else ["10.0.0.1"]

    async with a_site() as (port, seen):
        policy = UrlPolicy(ports=frozenset({port}), networks=("127.0.0.1/32",))
        found = await check_url(f"http://example.com:{port}/", policy=policy, resolve=rebinding)
        connector = aiohttp.TCPConnector(resolver=PinnedResolver(found), use_dns_cache=False)
        async with aiohttp.ClientSession(connector=connector) as session:
            async with session.get(found.url, allow_redirects=False) as response:
                assert response.status == 302
            with pytest.raises(aiohttp.ClientConnectorError, match="was not checked"):
                await session.get(f"http://other.example.com:{port}/")
        assert seen == [f"example.com:{port}"]
    assert asked == ["example.com"]


async def test_a_pinned_host_has_only_its_families() -> None:
    """A client that wants IPv6 gets no IPv4 address, and the error says so."""
    resolver = PinnedResolver(await vetted())
    assert [found["host"] for found in await resolver.resolve("example.com", 443)] == [GOOD]
    with pytest.raises(OSError, match="family"):
        await resolver.resolve("example.com", 443, socket.AF_INET6)
    await resolver.close()


async def test_the_host_s_own_resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    """By default a name is looked up without the search list, which could turn it into one of the local network."""
    asked: list[object] = []

    async def getaddrinfo(host: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        await asyncio.sleep(0)
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (GOOD, 0))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    assert (await check_url(URL)).addresses == (GOOD,)
    assert (await check_url("https://intranet/", policy=UrlPolicy(hosts=("intranet",)))).addresses == (GOOD,)
    assert asked == ["example.com.", "intranet"]
