"""The application of the workers that are killed under measurement."""

from __future__ import annotations

import asyncio
import os
from typing import Final

from supervisor import App, JobContext, job

STARTS: Final = "BENCHMARK_STARTS"
"""The environment variable with the file to which a handler adds a line when it starts."""


@job()
async def hold(ctx: JobContext) -> None:
    """Say that it runs, and go on until cancelled."""
    file = os.open(os.environ[STARTS], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(file, f"{ctx.id} {ctx.lock_version}\n".encode())
    os.close(file)
    await asyncio.Event().wait()


app = App(jobs=[hold])
