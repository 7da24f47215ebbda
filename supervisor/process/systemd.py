"""Tell systemd how the process is doing: the sd_notify protocol, without a dependency.

Nothing here may disturb the program it reports on: no call raises, none blocks, and without `NOTIFY_SOCKET` each
does nothing. Each call returns whether systemd's socket took the datagram. Protocol: `sd_notify(3)`,
`sd_watchdog_enabled(3)`.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

VARIABLES: Final = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
_STATUS_LIMIT: Final = 1000  # characters: systemd drops datagrams above 4096 bytes, and a character has at most 4
_LONGEST: Final = 1e9  # seconds, about 30 years; keeps infinity and its like away from systemd


class Notifier:
    """Sends state changes to systemd; built once from the environment.

    `lost` counts the datagrams that could not be delivered (socket gone or full); a caller that wants to log such a
    failure only once does so when `lost` becomes 1.
    """

    def __init__(self, environ: Mapping[str, str], *, pid: int | None = None) -> None:
        """Read the variables; `pid` (default: ours) is what `WATCHDOG_PID` is compared with."""
        self.lost = 0
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self._socket = _open() if self._address else None
        self._watchdog_interval = _watchdog_interval(environ, os.getpid() if pid is None else pid)

    @classmethod
    def take(cls, environ: MutableMapping[str, str]) -> Notifier:
        """Build a notifier and remove its variables from `environ`, so that child processes do not inherit them.

        A child with `NOTIFY_SOCKET` could report itself ready in our name.
        """
        notifier = cls(environ)
        for name in VARIABLES:
            environ.pop(name, None)
        return notifier

    @property
    def enabled(self) -> bool:
        """Whether systemd asked to be notified at all."""
        return bool(self._address)

    @property
    def watchdog_interval(self) -> float | None:
        """Seconds between two `watchdog()` calls, half of systemd's limit; None when it does not watch this process."""
        return self._watchdog_interval

    def ready(self) -> bool:
        """Report that start-up is complete. Worth repeating when it returns False while `enabled`."""
        return self._send("READY=1")

    def stopping(self) -> bool:
        """Report that shutdown has begun; to be sent at its beginning, not when everything has stopped."""
        return self._send("STOPPING=1")

    def status(self, text: str) -> bool:
        """Set the line that `systemctl status` shows.

        Line breaks become spaces, because each line of a datagram is an assignment of its own, and job names may
        come from outside. Cut to 1000 characters.
        """
        return self._send("STATUS=" + " ".join(text.splitlines())[:_STATUS_LIMIT])

    def watchdog(self) -> bool:
        """Report that the process is alive, to postpone systemd's watchdog."""
        return self._send("WATCHDOG=1")

    def extend_timeout(self, seconds: float) -> bool:
        """Ask for `seconds` more from now, to start or to stop; False for a number that makes no sense."""
        if not 0 < seconds < _LONGEST:
            return False
        return self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1_000_000)}")

    def close(self) -> None:
        """Close the socket; from now on every call does nothing."""
        self._address = b""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, assignment: str) -> bool:
        if not self._address:
            return False
        try:
            if self._socket is None:
                self._socket = _open()
            if self._socket is not None:
                # Not connected: systemd may be re-executed and bind its socket again.
                self._socket.sendto(assignment.encode(errors="replace"), self._address)
                return True
        except (OSError, ValueError):
            pass  # missing, full or impossible address: counted below
        self.lost += 1
        return False


def _address(name: str) -> bytes:
    """Translate the value of `NOTIFY_SOCKET`; a leading `@` means Linux' abstract name space."""
    address = os.fsencode(name)
    return b"\0" + address[1:] if address.startswith(b"@") else address


def _open() -> socket.socket | None:
    """Open a datagram socket that never blocks; None when the process is out of file descriptors."""
    try:
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    except OSError:
        return None
    channel.setblocking(False)  # noqa: FBT003 - its signature, not ours
    return channel


def _watchdog_interval(environ: Mapping[str, str], pid: int) -> float | None:
    """Half of `WATCHDOG_USEC` in seconds, if it is a positive number and meant for process `pid`."""
    try:
        limit = int(environ.get("WATCHDOG_USEC", "0"))
        watched = int(environ.get("WATCHDOG_PID") or pid)
        return limit / 2_000_000 if limit > 0 and watched == pid else None
    except (ValueError, OverflowError):
        return None
