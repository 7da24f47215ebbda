"""An application with jobs that take steps, on the event loop and in a thread, to be run with a collector."""

from __future__ import annotations

from opentelemetry import trace

from supervisor import App, JobContext, job


@job()
async def with_step(ctx: JobContext) -> None:
    """Take one step, and make a call in it."""

    async def charge() -> int:
        with trace.get_tracer("test").start_as_current_span("call"):
            return 7

    assert await ctx.step("charge", charge) == 7


@job()
def in_thread() -> None:
    """Make a call in a thread."""
    trace.get_tracer("test").start_span("threaded").end()


@job(max_attempts=1)
async def failing() -> None:
    """Fail, once and for all."""
    raise ConnectionError("the server hung up")


app = App(jobs=[with_step, in_thread, failing])
