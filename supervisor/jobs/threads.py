"""Runs plain `def` handlers, each in a thread of a pool of its own, so that none waits for the loop's other work.

A thread cannot be cancelled. One that is asked to end hears of it when it next calls the runtime; until it ends by
itself its slot stays taken.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback
from concurrent.futures import CancelledError as FutureCancelled
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Callable, Coroutine
    from concurrent.futures import Future

    from supervisor.jobs.run_context import Run

R = TypeVar("R")


class Threads:
    """A pool of at most `most` threads; what comes above waits for one, and may be taken back meanwhile."""

    __slots__ = ("_pool", "free", "most")

    def __init__(self, most: int) -> None:
        self.most = most
        self.free = most
        self._pool: ThreadPoolExecutor | None = None  # none is made by a process that has only `async def` handlers

    def start(self, run: Run, context: contextvars.Context) -> None:
        """Run a handler, as `run.thread`; the end is told to `run.tasks.finished` on the loop."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.most, thread_name_prefix="job")
        self.free -= 1
        run.thread = thread = ThreadRun(run)  # before it begins
        thread.future = self._pool.submit(context.run, thread.work)

    def close(self) -> None:
        """Let idle threads end, without waiting for busy ones."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=False)
            self._pool = None


class ThreadRun:
    """A handler in a thread, or on its way into one."""

    __slots__ = ("_calls", "_guard", "_ident", "_run", "asked", "future")

    future: Future[None]

    def __init__(self, run: Run) -> None:
        self._run = run
        self._ident: int | None = None
        self._guard = threading.Lock()
        self._calls: set[Future[Any]] = set()
        self.asked = False

    def work(self) -> None:
        """Call the handler, in the thread."""
        run, tasks = self._run, self._run.tasks
        self._ident = threading.get_ident()
        error: BaseException | None = None
        try:
            run.job.invoke(run.job.decode(run.row.args), run)
        except BaseException as caught:  # noqa: BLE001 - the one place where the end of a handler in a thread is recorded
            error = caught
        self._ident = None
        with suppress(RuntimeError):  # the loop is closed: the process ends, and with it the lease
            tasks.loop.call_soon_threadsafe(tasks.finished, run, error)

    def cancel(self) -> bool:
        """Ask the handler to end; true if it had not begun, and now never will."""
        if self.future.cancel():
            return True
        with self._guard:
            self.asked = True
            calls = tuple(self._calls)
        for call in calls:
            call.cancel()
        return False

    def call(self, loop: asyncio.AbstractEventLoop, make: Callable[[], Coroutine[Any, Any, R]]) -> R:
        """Run a coroutine on the loop, and wait for it in the handler's thread; CancelledError once asked to end."""
        with self._guard:
            if self.asked:
                raise asyncio.CancelledError
            call = asyncio.run_coroutine_threadsafe(make(), loop)
            self._calls.add(call)
        try:
            return call.result()
        except FutureCancelled:
            raise asyncio.CancelledError from None
        finally:
            with self._guard:
                self._calls.discard(call)

    def stack(self) -> str:
        """Where the thread stands now, as a traceback."""
        frame = sys._current_frames().get(self._ident or 0)  # noqa: SLF001 - documented, for debuggers
        return "" if frame is None else "".join(traceback.format_stack(frame))
