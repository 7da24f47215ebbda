"""What a plain `def` handler can ask of the runtime from its thread: the context's methods, waiting for the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeVar, TypeVarTuple

from supervisor.errors import ConfigError
from supervisor.jobs.step_result import checked, decode, encode
from supervisor.telemetry.job_spans import step_span

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from supervisor.jobs.run_context import Run
    from supervisor.jobs.threads import ThreadRun

R = TypeVar("R")
Ts = TypeVarTuple("Ts")


class SyncContext:
    """`ctx.sync`, valid in the thread of the handler and until it ends.

    Once the job has been cancelled (its deadline, a stop, a lost lease), every method raises CancelledError: let it
    pass, it is how a thread hears of it. There is no `transaction` and no transactional step, since the connections
    belong to the event loop: write an `async def` handler for those.
    """

    __slots__ = ("_loop", "_run")

    def __init__(self, run: Run, loop: asyncio.AbstractEventLoop) -> None:
        self._run = run
        self._loop = loop

    def step(
        self,
        name: str,
        fn: Callable[[*Ts], R],
        *args: *Ts,
        mode: Literal["idempotent", "at_most_once"] = "idempotent",
        result: type[R] | None = None,
    ) -> R:
        """Run `fn(*args)` in this thread once for this job and remember its result; see JobContext.step."""
        if mode not in ("idempotent", "at_most_once"):
            raise ConfigError(f"step {name!r}: mode={mode!r}: in a thread it is idempotent or at_most_once")
        run, thread = self._run, self._thread()
        kind = run.row.kind
        checked(kind, result)
        known = thread.call(self._loop, lambda: run.steps.begin(name, mode))
        if known is None:
            try:
                with step_span(run.span, name):
                    value = fn(*args)
                text = encode(kind, name, value, result)
                thread.call(self._loop, lambda: run.steps.end(name, text))
            except BaseException:
                self._loop.call_soon_threadsafe(run.steps.give_up, name)
                raise
            known = text
        replayed: R = decode(kind, name, known, result)
        return replayed

    def extend(self, seconds: float) -> None:
        """See JobContext.extend."""
        self._thread().call(self._loop, lambda: self._run.extend(seconds))

    def progress(self, done: int, total: int | None = None) -> None:
        """See JobContext.progress."""
        self._thread().call(self._loop, lambda: self._run.progress(done, total))

    @property
    def is_cancelled(self) -> bool:
        """Whether the handler should end; for loops that call nothing else here."""
        return self._run.cancelled is not None or self._run.is_over

    def _thread(self) -> ThreadRun:
        self._run.check()
        thread = self._run.thread
        if thread is None:
            raise ConfigError("ctx.sync is for plain `def` handlers; an `async def` awaits the methods of ctx itself")
        return thread
