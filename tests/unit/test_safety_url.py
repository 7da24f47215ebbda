"""The form of a URL that somebody gave us: everything that two parsers could read differently is refused."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
import yarl
from hypothesis import given
from hypothesis import strategies as st

from supervisor.errors import ConfigError, InvalidPayload
from supervisor.jobs.payload import Payload
from supervisor.safety import Refused, UrlPolicy, parse_url

WRITTEN_ANEW = [
    ("https://example.com", "https://example.com/"),
    ("HTTPS://Example.COM/Path?q=A#f", "https://example.com/Path?q=A#f"),
    ("http://example.com:80/", "http://example.com/"),
    ("http://example.com:0443/", "http://example.com:443/"),
    ("https://example.com.:443/a", "https://example.com/a"),
    ("https://bücher.example/ü?ü=ü#ü", "https://xn--bcher-kva.example/%C3%BC?%C3%BC=%C3%BC#%C3%BC"),
    ('https://example.com/"<>^`{|}', "https://example.com/%22%3C%3E%5E%60%7B%7C%7D"),
    ("https://example.com/%41%zz?a=%2F", "https://example.com/%41%zz?a=%2F"),
    ("https://example.com?a@b:c/d", "https://example.com/?a@b:c/d"),
    ("https://example.com/@localhost/", "https://example.com/@localhost/"),
    ("https://[2606:4700::0001]/", "https://[2606:4700::1]/"),
    ("https://8.8.8.8/", "https://8.8.8.8/"),
]
NO_URL = [
    ("", "no absolute URL"),
    ("example.com", "no absolute URL"),
    ("//example.com/", "no absolute URL"),
    ("/path", "no absolute URL"),
    ("https:example.com", "no absolute URL"),
    ("https:/example.com", "no absolute URL"),
    ("https:///example.com/", "missing"),
    ("https://", "missing"),
    ("https://?q", "missing"),
    ("https://:443/", "missing"),
    ("javascript:alert(1)", "no absolute URL"),
    ("data:text/html,x", "no absolute URL"),
    ("view-source:https://example.com/", "no absolute URL"),
    ("file:///etc/passwd", "scheme file"),
    ("ftp://example.com/", "scheme ftp"),
    ("gopher://example.com/", "scheme gopher"),
    ("chrome://settings/", "scheme chrome"),
    ("ws://example.com/", "scheme ws"),
    ("http\u017f://example.com/", "no absolute URL"),
    ("https://user@example.com/", "user name"),
    ("https://user:pass@example.com/", "user name"),
    ("https://@example.com/", "user name"),
    ("https://example.com@evil.com/", "user name"),
    ("https://example.com:80@evil.com/", "user name"),
    ("https://example.com:0/", "no port"),
    ("https://example.com:/", "no port"),
    ("https://example.com:65536/", "no port"),
    ("https://example.com:99999999999/", "no port"),
    ("https://example.com:-1/", "no port"),
    ("https://example.com:+80/", "no port"),
    ("https://example.com:8_0/", "no port"),
    ("https://example.com:\u0664\u0664\u0663/", "no port"),
    ("https://example.com:\uff14\uff14\uff13/", "no port"),
    ("https://example.com:http/", "no port"),
    ("https://example.com:80:80/", "no host"),
    ("https://example.com:22/", "port 22"),
    ("https://example.com:8080/", "port 8080"),
    ("https://[::1/", "no host"),
    ("https://::1/", "no host"),
    ("https://[fe80::1%25eth0]/", "zone"),
    ("https://[fe80::1%eth0]/", "zone"),
    ("https://%65xample.com/", "percent sign"),
    ("https://example.com%2f@evil.com/", "user name"),
    ("https://127.0.0.1%2523.example.com/", "percent sign"),
    ("https://example.com\\@evil.com/", "backslash"),
    ("https:\\\\example.com\\", "backslash"),
    ("https://example.com/\\..", "backslash"),
    ("https://example.com/%00", "null"),
    ("https://example.com/?a=%00b", "null"),
    ("https://example.com%00.evil.com/", "null"),
    (" https://example.com/", "position 0"),
    ("https://example.com/ ", "position 20"),
    ("https://exam\tple.com/", "U.0009"),
    ("https://example.com/\r\nHost: evil.com", "U.000D"),
    ("https://example.com/\n", "U.000A"),
    ("https://example.com/\x00", "U.0000"),
    ("https://example.com/\x7f", "U.007F"),
    ("https://example.com/\x85", "U.0085"),
    ("https://example.com/\u2028", "U.2028"),
    ("https://example.com/\u202e", "U.202E"),
    ("https://example.com/\u3000", "U.3000"),
    ("https://example.com/\ufeff", "U.FEFF"),
    ("https://example.com/\ud800", "U.D800"),
    ("https://localhost/", "no dot"),
    ("https://localhost./", "no dot"),
    ("https://\uff4c\uff4f\uff43\uff41\uff4c\uff48\uff4f\uff53\uff54/", "no dot"),
    ("https://intranet/", "no dot"),
    ("https://metadata.google.internal/computeMetadata/v1/", "local use"),
    ("https://METADATA.google.internal./", "local use"),
    ("https://127.0.0.1/", "not public"),
    ("https://169.254.169.254/latest/meta-data/", "not public"),
    ("https://[::1]/", "not public"),
    ("https://[::ffff:127.0.0.1]/", "IPv4-mapped"),
    ("https://[::ffff:7f00:1]/", "IPv4-mapped"),
    ("https://[64:ff9b::7f00:1]/", "NAT64"),
    ("https://2130706433/", "unusual form"),
    ("https://0x7f.1/", "unusual form"),
    ("https://0177.0.0.1/", "unusual form"),
    ("https://127.1/", "unusual form"),
    ("https://\uff11\uff12\uff17.0.0.1/", "unusual form"),
    ("https://0/", "unusual form"),
]


@pytest.mark.parametrize(("text", "url"), WRITTEN_ANEW)
def test_a_url_is_written_anew(text: str, url: str) -> None:
    """What comes out is ASCII, means the same, and is left as it is by a second check."""
    assert parse_url(text).url == url
    assert parse_url(url).url == url


@pytest.mark.parametrize(("text", "reason"), NO_URL)
def test_a_url_that_is_refused(text: str, reason: str) -> None:
    """A URL that is not of the public web, or that is no URL to some parsers, is refused with the reason."""
    with pytest.raises(Refused, match=f"url: .*{reason}"):
        parse_url(text)


@given(
    st.text(
        alphabet=st.sampled_from("htps:/@[].?#%\\0127xexample.com:80 \t\u3002\uff0f\uff20\u017f-_~!$&"), max_size=60
    )
)
def test_other_parsers_agree(tail: str) -> None:
    """Whatever passes leads two other parsers to the very same host and port."""
    try:
        found = parse_url(f"https://{tail}")
    except Refused:
        return
    other, third = urlsplit(found.url), yarl.URL(found.url)
    assert (other.hostname, other.port or 443) == (found.host.name, found.port)
    assert (third.host, third.port) == (found.host.name, found.port)
    assert other.username is None
    assert third.user is None


@pytest.mark.parametrize("count", [2048, 2049])
def test_the_longest_url(count: int) -> None:
    """2048 characters are allowed, and one more is not."""
    text = "https://example.com/".ljust(count, "a")
    if count <= 2048:
        assert parse_url(text).url == text
    else:
        with pytest.raises(Refused, match="2049 characters"):
            parse_url(text)


def test_the_encoded_url_counts_too() -> None:
    """A short text that is long once encoded is refused, as it would be at the other end."""
    with pytest.raises(Refused, match="once encoded"):
        parse_url("https://example.com/" + "ü" * 1000)


def test_no_secret_is_quoted() -> None:
    """The error for a URL with a password has neither the password nor the path."""
    with pytest.raises(Refused) as caught:
        parse_url("https://user:canary@example.com/canary?canary")
    assert "canary" not in str(caught.value)


def test_an_error_can_be_pickled() -> None:
    """A refusal comes out of a process of its own as it went in."""
    error = Refused("url", "why", "what to do")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301 - our own


@pytest.mark.parametrize(
    ("policy", "text"),
    [
        (UrlPolicy(ports=frozenset({8443})), "https://example.com:8443/"),
        (UrlPolicy(hosts=("example.com",)), "https://EXAMPLE.com./"),
        (UrlPolicy(hosts=("*.example.com",)), "https://a.b.example.com/"),
        (UrlPolicy(hosts=("bücher.example",)), "https://xn--bcher-kva.example/"),
        (UrlPolicy(hosts=("intranet",)), "https://intranet/"),
        (UrlPolicy(networks=("10.0.0.0/8",)), "https://10.1.2.3/"),
        (UrlPolicy(denied=("evil.com",)), "https://notevil.com/"),
    ],
)
def test_what_a_policy_adds(policy: UrlPolicy, text: str) -> None:
    """A policy can allow more ports, hosts and networks, and its names are compared in their one form."""
    assert parse_url(text, policy).url


@pytest.mark.parametrize(
    ("policy", "text"),
    [
        (UrlPolicy(schemes=frozenset({"https"})), "http://example.com/"),
        (UrlPolicy(hosts=("example.com",)), "https://www.example.com/"),
        (UrlPolicy(hosts=("*.example.com",)), "https://example.com/"),
        (UrlPolicy(hosts=("*.example.com",)), "https://evilexample.com/"),
        (UrlPolicy(hosts=()), "https://example.com/"),
        (UrlPolicy(hosts=("*.internal",)), "https://db.internal/"),
        (UrlPolicy(hosts=("example.com",)), "https://8.8.8.8/"),
        (UrlPolicy(denied=("evil.com", "*.evil.com")), "https://www.evil.com./"),
        (UrlPolicy(denied=("evil.com",)), "https://EVIL.com/"),
        (UrlPolicy(protected=("db.example.com",)), "https://db.example.com/"),
        (UrlPolicy(literals=False), "https://8.8.8.8/"),
        (UrlPolicy(networks=("10.0.0.0/8",)), "https://127.0.0.1/"),
        (UrlPolicy(protected=("db.example.com",)), "https://127.0.0.1/"),
    ],
)
def test_what_a_policy_takes_away(policy: UrlPolicy, text: str) -> None:
    """An allow-list allows nothing else, and what is denied or protected is refused."""
    with pytest.raises(Refused):
        parse_url(text, policy)


@pytest.mark.parametrize(
    "wrong",
    [
        {"schemes": frozenset({"ftp"})},
        {"ports": frozenset({0})},
        {"ports": frozenset({65536})},
        {"hosts": ("https://example.com",)},
        {"hosts": ("*",)},
        {"denied": ("*.8.8.8.8",)},
        {"protected": ("*.example.com",)},
        {"networks": ("10.0.0.1/8",)},
    ],
)
def test_a_policy_that_cannot_be(wrong: dict[str, object]) -> None:
    """A policy with a mistake is an error when it is made, not an open door when it is used."""
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        UrlPolicy(**wrong)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Scan:
    """The arguments of a job, which check themselves."""

    url: str

    def __post_init__(self) -> None:
        parse_url(self.url)


def test_arguments_can_check_themselves() -> None:
    """A class of arguments that checks its URL makes a job with a bad one impossible, and to decode one too."""
    payload = Payload("scan", Scan)
    assert payload.decode(payload.encode(Scan("https://example.com/"))) == Scan("https://example.com/")
    with pytest.raises(Refused):
        Scan("https://127.0.0.1/")
    with pytest.raises(InvalidPayload, match="not public"):
        payload.decode('{"url": "https://127.0.0.1/"}')
