"""Starts processes that migrate, and lets them go at the same moment."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from typing import TYPE_CHECKING

from tests.source import ROOT
from tests.store.migration_folder import LIMIT

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator
    from pathlib import Path


@contextlib.asynccontextmanager
async def migrating(dsn: str, folder: Path) -> AsyncIterator[Process]:
    """Start a process that is ready to migrate and waits for `go`; it is killed at the end if it still runs."""
    pipe = asyncio.subprocess.PIPE
    environment = {**os.environ, "DATABASE_URL": dsn}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.store.migrating", str(folder)),
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        cwd=ROOT,
        env=environment,
    )
    try:
        assert process.stdout is not None
        assert await asyncio.wait_for(process.stdout.readline(), LIMIT) == b"ready\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await asyncio.wait_for(process.communicate(), LIMIT)


def go(process: Process) -> None:
    """Let a process begin."""
    assert process.stdin is not None
    process.stdin.write(b"go\n")


async def done(process: Process) -> list[int]:
    """Wait for a process and return the versions that it applied."""
    out, err = await asyncio.wait_for(process.communicate(), LIMIT)
    assert process.returncode == 0, err.decode()
    return [int(version) for version in json.loads(out)]
