"""Procrastinate: `concurrency` is the number of jobs at once; `delete` throws finished jobs away."""

from __future__ import annotations

import asyncio
import contextlib
import time

import uvloop
from contest import ACTION, DSN, ORDER, PAYLOAD, Calls, drain, enqueue, latency  # type: ignore[import-not-found]
from procrastinate import App, PsycopgConnector  # type: ignore[import-not-found]


async def main() -> None:
    """Do what the command line says."""
    most = ORDER.get("concurrency", 20)
    app = App(connector=PsycopgConnector(conninfo=DSN, min_size=4, max_size=most))
    calls = Calls()

    @app.task(name="noop")  # type: ignore[untyped-decorator]
    async def noop(**_payload: object) -> None:
        calls.hit()

    async with app.open_async():
        if ACTION == "setup":
            await app.schema_manager.apply_schema_async()
        elif ACTION == "enqueue":
            await enqueue(lambda count: noop.batch_defer_async(*[PAYLOAD] * count))
        else:
            began = time.perf_counter()
            work = app.run_worker_async(
                wait=ACTION == "latency", concurrency=most, delete_jobs="successful", install_signal_handlers=False
            )
            task = asyncio.create_task(work)
            if ACTION == "drain":
                await drain(calls, began, lambda: task)
            else:
                await latency(calls, lambda: noop.defer_async(**PAYLOAD))
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task


uvloop.run(main())
