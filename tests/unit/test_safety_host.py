"""The one form of a host: what programs could read differently is refused, and a name is what the DNS takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.safety import Refused, check_host
from supervisor.safety.host import local_name

FORMS = [
    ("example.com", "example.com"),
    ("EXAMPLE.com", "example.com"),
    ("example.com.", "example.com"),
    ("bücher.example", "xn--bcher-kva.example"),
    ("faß.de", "xn--fa-hia.de"),
    ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    ("例え。テスト", "xn--r8jz45g.xn--zckzah"),
    ("my_site.example.com", "my_site.example.com"),
    ("ex\u00adample.com", "example.com"),
    ("8.8.8.8", "8.8.8.8"),
    ("[2606:4700::0001]", "2606:4700::1"),
    ("a" * 63 + ".example", "a" * 63 + ".example"),
]
ADDRESSES_IN_DISGUISE = [
    "2130706433",
    "017700000001",
    "0x7f000001",
    "0x7f.1",
    "127.1",
    "127.0.1",
    "0177.0.0.1",
    "0x7f.0x0.0x0.0x1",
    "127.0.0.01",
    "127.0.0.1.",
    "127.0.0.256",
    "256.1.1.1",
    "1.2.3.4.5",
    "example.1",
    "foo.0x1",
    "0x",
    "0X7F.1",
    "\uff11\uff12\uff17.0.0.1",
    "127\u30020\u30020\u30021",
    "\u2460\u2461\u2466.0.0.1",
    "\uff18.8.8.8",
    "8.8.8.8.",
]
NO_HOST = [
    "",
    ".",
    "..",
    ".com",
    "example..com",
    "example.com..",
    "-a.example",
    "a-.example",
    "exa mple.com",
    "example.com:80",
    "user@example.com",
    "example%2ecom",
    "%6c%6f%63%61%6chost",
    "127.0.0.1%00.example.com",
    "example.com/",
    "example.com\\",
    "example.com,evil.com",
    "a" * 64 + ".example",
    ".".join(["a" * 60] * 5),
    "ü" * 300,
    "xn--a",
    "xn--bcher-kvb.example",
    "xn--example-.com",
    "\u2100.com",
    "a\u2044b.com",
    "\u200dexample.com",
    "[::1",
    "::1]",
    "[]",
    "[::1%25eth0]",
    "[fe80::1%eth0]",
    "[127.0.0.1]",
    "[[::1]]",
    "[v1.fe80::1]",
    "[::1].example.com",
    "\ud800.com",
]


@pytest.mark.parametrize(("text", "name"), FORMS)
def test_a_host_has_one_form(text: str, name: str) -> None:
    """However a host is written, one form comes out, which is its own form."""
    found = check_host(text)
    assert found.name == name
    assert check_host(str(found)) == found


@pytest.mark.parametrize("text", ADDRESSES_IN_DISGUISE)
def test_an_address_has_no_other_form(text: str) -> None:
    """What some resolver would take for an address is refused unless it is written as everybody does."""
    with pytest.raises(Refused, match="unusual form"):
        check_host(text)


@pytest.mark.parametrize("text", NO_HOST)
def test_what_is_no_host_is_refused(text: str) -> None:
    """Empty parts, foreign characters, zones and broken brackets make no host."""
    with pytest.raises(Refused):
        check_host(text)


@given(st.text(max_size=80))
def test_anything_is_a_host_or_refused(text: str) -> None:
    """Whatever the text, either a host in its one form comes out, or a refusal; nothing else happens."""
    try:
        found = check_host(text)
    except Refused:
        return
    assert found.name.isascii()
    assert found.name == found.name.lower()
    assert check_host(str(found)) == found


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "intranet",
        "a.localhost",
        "printer.local",
        "db.internal",
        "metadata.google.internal",
        "metadata.amazonaws.com",
        "x.metadata.goog",
        "instance-data",
        "router.home.arpa",
        "1.0.0.127.in-addr.arpa",
        "hidden.onion",
    ],
)
def test_local_names_are_known(host: str) -> None:
    """A name without a dot, of a local suffix, or of a metadata service is none of the internet."""
    assert local_name(host)


@pytest.mark.parametrize("host", ["example.com", "localhost.example.com", "internal.example.com", "alocal.com"])
def test_a_name_that_only_resembles_one_passes(host: str) -> None:
    """Only the end of a name decides, and only at a dot."""
    assert local_name(host) is None
