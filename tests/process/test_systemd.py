"""What systemd is told, and that telling it never disturbs the process."""

from __future__ import annotations

import math
import os
import socket
import uuid
from typing import TYPE_CHECKING

import pytest

from supervisor.process.systemd import Notifier

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """Listen like systemd does; gives the value of NOTIFY_SOCKET and the socket."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@supervisor-{uuid.uuid4()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(name.replace("@", "\0", 1) if name.startswith("@") else name)
        listening.settimeout(5)
        yield name, listening


def test_each_call_is_one_datagram(systemd: tuple[str, socket.socket]) -> None:
    """Every state change arrives in the words of sd_notify(3), at a path and at an abstract name."""
    name, listening = systemd
    notifier = Notifier({"NOTIFY_SOCKET": name})
    assert notifier.enabled
    sent = [
        (notifier.ready(), b"READY=1"),
        (notifier.status("draining 7 jobs"), b"STATUS=draining 7 jobs"),
        (notifier.watchdog(), b"WATCHDOG=1"),
        (notifier.extend_timeout(2.5), b"EXTEND_TIMEOUT_USEC=2500000"),
        (notifier.stopping(), b"STOPPING=1"),
    ]
    for taken, expected in sent:
        assert taken
        assert listening.recv(5000) == expected
    notifier.close()
    assert (notifier.ready(), notifier.lost) == (False, 0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\nMAINPID=1\r\nREADY=1", b"STATUS=a MAINPID=1 READY=1"),
        ("\u2028x\x85y", b"STATUS= x y"),
        ("lone \ud800 surrogate", b"STATUS=lone ? surrogate"),
        ("\U0001f600" * 5000, b"STATUS=" + "\U0001f600".encode() * 1000),
    ],
    ids=["line breaks", "unicode line breaks", "surrogate", "too long"],
)
def test_a_status_is_one_short_line(text: str, expected: bytes, systemd: tuple[str, socket.socket]) -> None:
    """A status cannot smuggle in another assignment, nor grow beyond what systemd reads."""
    name, listening = systemd
    notifier = Notifier({"NOTIFY_SOCKET": name})
    assert notifier.status(text)
    datagram = listening.recv(5000)
    assert datagram == expected
    assert len(datagram) < 4096
    notifier.close()


def test_a_full_socket_does_not_block(systemd: tuple[str, socket.socket]) -> None:
    """When systemd does not read, the call returns at once and counts the loss; later ones work again."""
    name, listening = systemd
    notifier = Notifier({"NOTIFY_SOCKET": name})
    while notifier.watchdog():
        pass
    assert notifier.lost == 1
    assert listening.recv(100) == b"WATCHDOG=1"
    assert notifier.watchdog()
    assert notifier.lost == 1
    notifier.close()


@pytest.mark.parametrize("name", ["/nonexistent/notify", "/" + "x" * 300, "@" + "x" * 300, "vsock:2:1234", "/a\0b"])
def test_an_impossible_socket_is_counted_and_ignored(name: str) -> None:
    """A wrong or vanished NOTIFY_SOCKET costs nothing but the count."""
    notifier = Notifier({"NOTIFY_SOCKET": name})
    assert [notifier.ready(), notifier.stopping()] == [False, False]
    assert notifier.lost == 2
    notifier.close()


def test_a_socket_bound_again_is_found(tmp_path: Path) -> None:
    """After systemd was re-executed the same notifier reaches the new socket."""
    path = tmp_path / "notify"
    notifier = Notifier({"NOTIFY_SOCKET": str(path)})
    for _ in range(2):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
            listening.bind(str(path))
            assert notifier.ready()
            assert listening.recv(100) == b"READY=1"
        path.unlink()
    notifier.close()


def test_without_systemd_nothing_happens() -> None:
    """Without NOTIFY_SOCKET every call is a silent no-op."""
    notifier = Notifier({})
    assert not notifier.enabled
    assert not any([notifier.ready(), notifier.stopping(), notifier.status("x"), notifier.watchdog()])
    assert notifier.lost == 0
    assert notifier.watchdog_interval is None


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan, math.inf, 1e300])
def test_a_senseless_extension_is_not_sent(seconds: float, systemd: tuple[str, socket.socket]) -> None:
    """Zero, negative and endless extensions never reach systemd and never raise."""
    name, _ = systemd
    notifier = Notifier({"NOTIFY_SOCKET": name})
    assert (notifier.extend_timeout(seconds), notifier.lost) == (False, 0)
    notifier.close()


@pytest.mark.parametrize(
    ("environ", "interval"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "42"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "43"}, None),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": ""}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "me"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "9" * 400}, None),
        ({"WATCHDOG_PID": "42"}, None),
    ],
)
def test_the_watchdog_interval_is_half_of_systemds_limit(environ: dict[str, str], interval: float | None) -> None:
    """The interval is known only when systemd watches this very process."""
    assert Notifier(environ, pid=42).watchdog_interval == interval


def test_taking_the_variables_hides_them_from_children(systemd: tuple[str, socket.socket]) -> None:
    """After `take` the notifier works and the environment holds none of its variables any more."""
    name, listening = systemd
    environ = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "4000000", "WATCHDOG_PID": str(os.getpid()), "PATH": "/bin"}
    notifier = Notifier.take(environ)
    assert environ == {"PATH": "/bin"}
    assert notifier.watchdog_interval == 2.0
    assert notifier.ready()
    assert listening.recv(100) == b"READY=1"
    notifier.close()
