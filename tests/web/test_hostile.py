"""Requests that nobody means well with: each gets an error of its own kind, and the server stays."""

from __future__ import annotations

import asyncio
import random
import re
from typing import TYPE_CHECKING, Final

import anyio
import pytest

from supervisor.web import protocol
from supervisor.web.routes import ROUTES
from tests.store.postgres import LIMIT
from tests.web.site import site

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.web.site import Site

AT_ONCE: Final = 20
KILL: Final = b"/api/system/kill-switch/activate"
BODY: Final = b'{"reason":"x","triggeredBy":"y"}'
HOST: Final = b"Host: localhost"
JSON: Final = b"Content-Type: application/json"
METHODS: Final = (b"PATCH", b"TRACE", b"OPTIONS", b"PROPFIND", b"M" * 300, b"get", b"G\x00T", b"LINK")
CODINGS: Final = (b"xchunked", b"identity, chunked, x", b"chunked, identity", b"\x0bchunked")
LENGTHS: Final = (b"-1", b"+4", b"0x4", b"4e0", b"9" * 40)
CHUNKS: Final = (
    b"zz\r\nab\r\n0\r\n\r\n",
    b"-1\r\na\r\n",
    b"5;" + b"x" * 20_000 + b"\r\nhello\r\n0\r\n\r\n",
)
VALUES: Final = (b"1", b"null", b"[]", b"{}", b"true")
STATUS: Final = re.compile(rb"HTTP/1\.[01] (\d{3}) ")


def framed(start: bytes, *headers: bytes, body: bytes = b"") -> bytes:
    """Put a request together, each line as it is."""
    return b"\r\n".join([start, *headers, b"", b""]) + body


def _posted(body: bytes, *headers: bytes) -> bytes:
    return _headed(JSON, b"Content-Length: %d" % len(body), *headers, body=body)


def _headed(*headers: bytes, body: bytes = b"") -> bytes:
    return framed(b"POST %s HTTP/1.1" % KILL, HOST, *headers, body=body)


def _noise(chance: random.Random, most: int) -> bytes:
    return chance.randbytes(chance.randrange(1, most))


def _text(chance: random.Random, most: int) -> bytes:
    return bytes(chance.choices(b'abc{}[]":,\\u0000d8ntrue1e9-. /\x01\x7f\xc3\xa9\xff', k=chance.randrange(1, most)))


def _path(chance: random.Random) -> bytes:
    route = chance.choice(ROUTES)
    return re.sub(r"\{\w+\}", lambda _: f"%{chance.randrange(256):02x}", route.path).encode()


KINDS: Final[dict[str, Callable[[random.Random], bytes]]] = {
    "bytes": lambda chance: _noise(chance, 300) + b"\r\n\r\n",
    "a line of bytes": lambda chance: framed(_text(chance, 100), HOST),
    "a path of bytes": lambda chance: framed(b"GET /" + _noise(chance, 100) + b" HTTP/1.1", HOST),
    "a query of bytes": lambda chance: framed(
        b"GET /api/jobs?" + _text(chance, 80).replace(b" ", b"+") + b" HTTP/1.1", HOST
    ),
    "a method": lambda chance: framed(b"%s %s HTTP/1.1" % (chance.choice(METHODS), _path(chance)), HOST),
    "a header of bytes": lambda chance: framed(b"POST / HTTP/1.1", HOST, b"X: " + _noise(chance, 50)),
    "a null in a header": lambda _: framed(b"POST / HTTP/1.1", HOST, b"X-Y: a\0b"),
    "no host": lambda _: framed(b"GET /livez HTTP/1.1"),
    "two hosts": lambda _: framed(b"GET /livez HTTP/1.1", b"Host: evil.example", HOST),
    "another host": lambda _: framed(b"GET /livez HTTP/1.1", b"Host: evil.example"),
    "a long line": lambda chance: framed(b"GET /" + b"a" * chance.randrange(9000, 40_000) + b" HTTP/1.1", HOST),
    "a long header": lambda chance: _headed(b"X: " + b"a" * chance.randrange(9000, 40_000)),
    "many headers": lambda _: framed(b"POST / HTTP/1.1", HOST, *(b"X-%d: 1" % n for n in range(300))),
    "smuggled: both lengths": lambda _: _headed(
        b"Content-Length: 4", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n" + _posted(BODY)
    ),
    "smuggled: two lengths": lambda _: _headed(b"Content-Length: 4", b"Content-Length: 5", body=BODY),
    "smuggled: a coding": lambda chance: _headed(b"Transfer-Encoding: " + chance.choice(CODINGS), body=b"0\r\n\r\n"),
    "smuggled: a space": lambda _: _headed(b"Content-Length : 4", body=BODY),
    "smuggled: a folded header": lambda _: _headed(b"X: a\r\n b", body=BODY),
    "a bad length": lambda chance: _headed(b"Content-Length: " + chance.choice(LENGTHS)),
    "bad chunks": lambda chance: _headed(JSON, b"Transfer-Encoding: chunked", body=chance.choice(CHUNKS)),
    "too large": lambda _: _headed(JSON, b"Content-Length: 99999999"),
    "a body of bytes": lambda chance: _posted(_noise(chance, 200)),
    "a body of text": lambda chance: _posted(_text(chance, 200)),
    "duplicate keys": lambda _: _posted(b'{"reason":"a","triggeredBy":"b","reason":"c"}'),
    "a null": lambda _: _posted(b'{"reason":"a\\u0000","triggeredBy":"b"}'),
    "half a character": lambda _: _posted(b'{"reason":"\\udfff","triggeredBy":"b"}'),
    "deep": lambda chance: _posted(chance.choice([b"[", b'{"a":']) * chance.randrange(40, 100_000)),
    "wrong types": lambda chance: _posted(b'{"reason":%s,"triggeredBy":"b"}' % chance.choice(VALUES)),
    "a long text": lambda _: _posted(b'{"reason":"' + b"x" * 100_000 + b'","triggeredBy":"b"}'),
    "a long number": lambda _: _posted(b'{"wait":' + b"9" * 100_000 + b"}"),
    "many keys": lambda _: _posted(b"{" + b",".join(b'"k%d":1' % n for n in range(5000)) + b"}"),
    "not JSON": lambda _: _posted(BODY).replace(JSON, b"Content-Type: text/plain"),
    "compressed": lambda _: _posted(BODY, b"Content-Encoding: gzip"),
    "another page": lambda _: _posted(BODY, b"Origin: http://evil.example"),
    "a wrong token": lambda chance: framed(
        b"GET /api/jobs HTTP/1.1", HOST, b"Authorization: Bearer " + _text(chance, 60).strip()
    ),
    "an absolute target": lambda _: framed(b"GET http://evil.example/livez HTTP/1.1", HOST),
    "a proxy's method": lambda _: framed(b"CONNECT evil.example:443 HTTP/1.1", HOST),
    "an expectation": lambda _: _posted(b"{", b"Expect: 100-continue"),
}


async def _answers(port: int, sent: bytes) -> list[int]:
    """Send bytes, say that nothing more comes, and return the statuses of all that is answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    received = b""
    try:
        writer.write(sent)
        await writer.drain()
        writer.write_eof()
        received = await reader.read()
    except ConnectionError:
        pass  # it was refused before all of it was sent
    finally:
        writer.close()
    return [int(status) for status in STATUS.findall(received)]


async def _attack(web: Site, chance: random.Random, seen: dict[str, list[int]], count: int) -> None:
    for _ in range(count):
        name = chance.choice(list(KINDS))
        seen.setdefault(name, []).extend(await _answers(web.port, KINDS[name](chance)))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("many", [1000, pytest.param(10_000, marks=pytest.mark.soak)])
async def test_hostile_requests(many: int, caplog: pytest.LogCaptureFixture) -> None:
    """Of so many hostile requests none gets anything but 4xx, changes anything, or harms the server."""
    async with site() as web:
        seen: dict[str, list[int]] = {}
        async with anyio.create_task_group() as group:
            for number in range(AT_ONCE):
                chance = random.Random(number)  # noqa: S311 - a repeatable attack
                group.start_soon(_attack, web, chance, seen, many // AT_ONCE)
        found = {name: sorted(set(statuses)) for name, statuses in seen.items()}
        wrong = {
            name: [status for status in statuses if not (400 <= status < 500 or status == 100)]
            for name, statuses in found.items()
        }
        assert {name: statuses for name, statuses in wrong.items() if statuses} == {}
        assert sum(map(len, seen.values())) > many * 0.9, "nearly every one is answered"
        status = await web.get("/api/system/status")
        assert (status.status, status.body["killSwitch"]["active"], status.body["epoch"]) == (200, False, 1)
        assert [record.getMessage() for record in caplog.records if record.levelname in {"ERROR", "CRITICAL"}] == []


async def test_a_head_that_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who begins a request and does not end it loses the connection, and others are served meanwhile."""
    monkeypatch.setattr(protocol, "HEAD", 0.2)
    async with site() as web:
        reader, writer = await asyncio.open_connection("127.0.0.1", web.port)
        writer.write(b"GET /livez HTTP/1.1\r\nHost: local")
        assert (await web.get("/livez")).status == 200
        async with asyncio.timeout(LIMIT):
            assert await reader.read() == b""
        writer.close()


async def test_a_thousand_idle_connections() -> None:
    """A thousand connections on which nobody asks anything are held, and do not keep others out."""
    async with site() as web:
        held = [await asyncio.open_connection("127.0.0.1", web.port) for _ in range(1000)]
        assert (await web.get("/livez")).status == 200
        reader, writer = held[500]
        writer.write(framed(b"GET /livez HTTP/1.1", HOST))
        async with asyncio.timeout(LIMIT):
            assert b"200 OK" in await reader.readline()
        for _, each in held:
            each.close()


async def test_too_many_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the most that there may be, the connection idle longest makes room for a new one."""
    monkeypatch.setattr(protocol, "MOST", 5)
    async with site() as web:
        held = [await asyncio.open_connection("127.0.0.1", web.port) for _ in range(5)]
        assert (await web.get("/livez")).status == 200
        async with asyncio.timeout(LIMIT):
            assert await held[0][0].read() == b""
        for _, each in held:
            each.close()
