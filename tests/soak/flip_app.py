"""An application of small jobs of every sort that a switch can tell apart."""

from __future__ import annotations

from supervisor import App, job
from tests.soak.pause import pause


@job(queue="post", service="mail", essential=True)
async def letter() -> None:
    """Changes something, and is essential."""


@job(queue="post", service="mail", changes=False)
async def count_letters() -> None:
    """Changes nothing."""


@job(queue="scans", service="scan")
async def scan() -> None:
    """Takes a moment."""
    await pause(0.01)


@job(queue="scans", service="scan", changes=False, essential=True)
async def look() -> None:
    """Changes nothing, and is essential."""


app = App(jobs=[letter, count_letters, scan, look])
