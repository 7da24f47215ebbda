"""Which addresses a request may go to: all forms of those that are not public are refused."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.safety import address, own_addresses, refusal

# Python 3.11 says of each of these, or of the IPv4 address in it, that it is global.
NOT_SO_GLOBAL = [
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::",
    "::127.0.0.1",
    "224.0.0.1",
    "ff02::1",
    "fec0::1",
    "192.88.99.1",
    "5f00::1",
    "3fff::1",
    "64:ff9b:1::1",
]
SPECIAL = [
    "0.0.0.0",  # noqa: S104 - not bound to
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "100::1",
    "2001:db8::1",
    "2001:10::1",
    "2001:20::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "febf::1",
    "ff0e::1",
    "4000::1",
]
CARRYING = [
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:0:127.0.0.1",
    "::8.8.8.8",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1:2:3::8.8.8.8",
    "2002:0a00:0001::1",
    "2002:808:808::1",
    "2001:0:4136:e378:8000:63bf:80ff:fffe",
    "2606:4700::5efe:7f00:1",
    "2606:4700::200:5efe:10.0.0.1",
]
NO_ADDRESS = [
    "",
    "localhost",
    "127.1",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "2130706433",
    "fe80::1%eth0",
    "2606:4700::1%1",
    "[::1]",
]
PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.216.34", "2606:4700:4700::1111", "64:ff9b::8.8.8.8", "::ffff:8.8.8.8"]


@pytest.mark.parametrize("text", [*NOT_SO_GLOBAL, *SPECIAL, *CARRYING, *NO_ADDRESS])
def test_what_is_not_public_is_refused(text: str) -> None:
    """No address of a special network passes, in no form, and neither does what is no address."""
    assert refusal(text) is not None


@pytest.mark.parametrize("text", PUBLIC)
def test_what_is_public_passes(text: str) -> None:
    """An address of the internet may be visited, also as a network with NAT64 writes it."""
    assert refusal(text) is None


@given(st.integers(0, 2**32 - 1))
def test_no_form_hides_an_ipv4_address(number: int) -> None:
    """Whatever is refused as an IPv4 address is refused in each IPv6 address that carries it."""
    inner = ipaddress.IPv4Address(number)
    if refusal(inner) is None:
        return
    carriers = [
        (0xFFFF << 32) | number,
        (0x64_FF9B << 96) | number,
        (0x64_FF9B_0001 << 80) | number,
        (0xFFFF << 48) | number,
        (0x2002 << 112) | (number << 80),
        (0x2001_0000 << 96) | (number ^ 0xFFFF_FFFF),
        number,
        (0x2606_4700 << 96) | (0x5EFE << 32) | number,
    ]
    assert [str(carrier) for carrier in map(ipaddress.IPv6Address, carriers) if refusal(carrier) is None] == []


@given(st.integers(0, 2**128 - 1))
def test_it_is_never_laxer_than_python(number: int) -> None:
    """Every address that passes is one that Python calls global too, or a way to write such a one."""
    found = ipaddress.IPv6Address(number)
    if refusal(found) is None:
        assert found.is_global
        assert not found.is_multicast


def test_allowed_networks_pass() -> None:
    """A network that is named passes in each form that is in use, and nothing beside it does."""
    allowed = [ipaddress.ip_network("10.2.0.0/16")]
    assert refusal("10.2.3.4", allowed=allowed) is None
    assert refusal("::ffff:10.2.3.4", allowed=allowed) is None
    assert refusal("10.3.0.1", allowed=allowed) is not None


@pytest.mark.parametrize("text", ["8.8.8.8", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"])
def test_a_forbidden_address_is_refused_in_every_form(text: str) -> None:
    """An address of our own, or of the database, is refused although it is public, or in an allowed network."""
    forbidden = {ipaddress.ip_address("8.8.8.8")}
    allowed = [ipaddress.ip_network("8.8.0.0/16")]
    assert "of this host" in str(refusal(text, allowed=allowed, forbidden=forbidden))


def test_the_addresses_of_this_host() -> None:
    """The loopback address is among those of any host."""
    assert ipaddress.ip_address("127.0.0.1") in own_addresses()


def test_the_tables_of_linux_are_read() -> None:
    """Every local address of the kernel's tables is found, once or often, and nothing else."""
    trie = """
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 192.0.2.0/24 2 0 2
        |-- 192.0.2.7
           /32 host LOCAL
        |-- 192.0.2.255
           /32 link BROADCAST
"""
    assert list(map(str, address._local_ipv4(trie))) == ["192.0.2.7"]
    table = (
        "00000000000000000000000000000001 01 80 10 80       lo\nfd000000000000000000000000000005 02 40 00 80     eth0\n"
    )
    assert list(map(str, address._local_ipv6(table))) == ["::1", "fd00::5"]
