"""The process for suspect jobs: how it is told what to do, and how it learns that its parent is gone."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import sys
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from supervisor.config import Config, Lane, Secret, settings
from supervisor.errors import ConfigError
from supervisor.process import systemd

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

VARIABLE: Final = "SUPERVISOR_LANE"
"""The variable that makes a process one of a lane."""

COMMAND: Final = (sys.executable, "-m", "supervisor", "run")
"""Without an argument: everything is in the environment, which other users cannot read."""

DRAIN: Final = 2.0
"""Seconds that its jobs may go on at a stop: it stops beside its parent, and must not be the last."""
WAIT: Final = 5.0
"""Seconds that it waits for the database, which its parent has just used."""

_NAME, _ENDING, _LONGEST_NAME = "supervisor", "-quarantine", 32
_STDIN: Final = 0
# What systemd tells the service's own process, and must not hear from another.
_NOT_INHERITED: Final = (*systemd.VARIABLES, "LISTEN_FDS", "LISTEN_PID")


def environ_for(config: Config, inherited: Mapping[str, str]) -> dict[str, str]:
    """Return the environment in which a new process has the settings of this one, as the lane of suspects."""
    name = f"{(config.name or _NAME)[: _LONGEST_NAME - len(_ENDING)]}{_ENDING}"
    ours = dataclasses.replace(
        config,
        name=name,
        drain_timeout=min(config.drain_timeout, DRAIN),
        database_wait=min(config.database_wait, WAIT),
        migrate=False,
        until_empty=False,
    )
    rows = {row.name: row.env for row in settings(Config)}
    dropped = {*rows.values(), *_NOT_INHERITED}
    environ = {name: value for name, value in inherited.items() if name not in dropped}
    for name, variable in rows.items():
        value: object = getattr(ours, name)
        if value is not None and value != ():
            environ[variable] = _text(value)
    # An empty file in place of ours, of which every setting is here.
    return environ | {VARIABLE: Lane.QUARANTINE.value, "SUPERVISOR_CONFIG": os.devnull}


def _text(value: object) -> str:
    match value:
        case Secret():
            return value.reveal()
        case bool():
            return str(value).lower()
        case tuple():
            return ",".join(map(str, value))
        case Path():
            return str(value.absolute())
        case _:
            return str(value)


class Process(asyncio.SubprocessProtocol):
    """A process of the lane, as its parent sees it; `ended` is called when its exit code is known."""

    def __init__(self, ended: Callable[[], None]) -> None:
        self._ended = ended
        self._transport: asyncio.SubprocessTransport | None = None
        self._told = False

    @classmethod
    async def start(cls, environ: Mapping[str, str], ended: Callable[[], None]) -> Process:
        """Start it, in a session of its own so that only we send it signals. Its input stays open as long as we live.

        Raises OSError.
        """
        _, process = await asyncio.get_running_loop().subprocess_exec(
            lambda: cls(ended), *COMMAND, env=environ, stdout=None, stderr=None, start_new_session=True
        )
        return process

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note how to reach it."""
        self._transport = cast("asyncio.SubprocessTransport", transport)  # uvloop's does not say so

    def process_exited(self) -> None:
        """Pass on the news."""
        self._ended()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._of.get_pid()

    @property
    def code(self) -> int | None:
        """Its exit code, negative for the signal that killed it; None while it runs."""
        return self._of.get_returncode()

    def terminate(self) -> None:
        """Ask it to stop; once, since a process takes the second time for impatience."""
        if not self._told:
            self._told = True
            with suppress(ProcessLookupError):
                self._of.terminate()

    def kill(self) -> None:
        """End it at once."""
        with suppress(ProcessLookupError):
            self._of.kill()

    def close(self) -> None:
        """Let go of it; it is killed if it still runs."""
        self._of.close()

    @property
    def _of(self) -> asyncio.SubprocessTransport:
        if self._transport is None:
            raise RuntimeError("the process has not been started")
        return self._transport


@asynccontextmanager
async def watching_parent(gone: Callable[[], None]) -> AsyncIterator[None]:
    """Call `gone` when the process that started this one has ended, however it did: our input is at its end then.

    Raises ConfigError where the input is not one that a parent left open.
    """
    loop = asyncio.get_running_loop()

    def look() -> None:
        if not os.read(_STDIN, 4096):
            loop.remove_reader(_STDIN)
            gone()

    try:
        loop.add_reader(_STDIN, look)
    except OSError:
        raise ConfigError(
            f"{VARIABLE} is set only by the runtime, for a process that it starts; remove it from the environment"
        ) from None
    try:
        yield
    finally:
        loop.remove_reader(_STDIN)
