"""An application whose jobs stand under limits; how long they take, they are told."""

from __future__ import annotations

from supervisor import App, job
from tests.soak.pause import pause


@job(queue="scans", service="scan")
async def scan(args: float) -> None:
    """Take so many seconds."""
    await pause(args)


@job(queue="scans", service="crawl")
async def crawl(args: float) -> None:
    """Take so many seconds."""
    await pause(args)


app = App(jobs=[scan, crawl])
