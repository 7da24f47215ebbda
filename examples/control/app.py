"""Two kinds of jobs whose starts are written down, so that `examples/control/__main__.py` can count them."""

import asyncio
import os
import time
from pathlib import Path

from supervisor import App, JobContext, job

STARTS = Path(os.environ.get("EXAMPLE_STARTS", "starts.txt"))
"""A line for each start: the time in nanoseconds since boot, the tenant, the kind."""


def _write_down(ctx: JobContext, kind: str) -> None:
    with STARTS.open("a", encoding="utf-8") as file:
        file.write(f"{time.monotonic_ns()} {ctx.tenant} {kind}\n")


@job(queue="scans", service="scanner", changes=False)
async def scan(ctx: JobContext) -> None:
    """Look at something for a moment."""
    _write_down(ctx, "scan")
    await asyncio.sleep(0.05)


@job(queue="scans", service="crawler", timeout=600.0)
async def crawl(ctx: JobContext) -> None:
    """Go on for minutes."""
    _write_down(ctx, "crawl")
    try:
        await asyncio.sleep(300.0)
    except asyncio.CancelledError:
        _write_down(ctx, "let-go")
        raise


app = App(jobs=[scan, crawl])
