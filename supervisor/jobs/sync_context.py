"""What a plain `def` handler can ask of the runtime from its thread: the context's methods, waiting for the answer."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, TypeVar, TypeVarTuple

from supervisor.errors import ConfigError
from supervisor.jobs import limited
from supervisor.jobs.step_result import checked, decode, encode
from supervisor.telemetry.job_spans import step_span

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator

    from supervisor.jobs.run_context import Run
    from supervisor.jobs.threads import ThreadRun
    from supervisor.store.control_rows import SafetyCheck

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
                with step_span(run.span, name), limited.in_step(name):
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

    def safety_check(
        self, *, service: str | None = None, tenant: str | None = None, requires_changes: bool | None = None
    ) -> SafetyCheck:
        """See JobContext.safety_check."""
        return self._thread().call(
            self._loop,
            lambda: self._run.safety_check(service=service, tenant=tenant, requires_changes=requires_changes),
        )

    def spend(self, limit: str, amount: float = 1.0, *, key: str | None = None, name: str | None = None) -> None:
        """See JobContext.spend."""
        named = name or self._run.charges.name(limit)
        self._thread().call(self._loop, lambda: limited.spend(self._run, limit, amount, key=key, name=named))

    @contextmanager
    def budget(
        self, limit: str, estimate: float, *, key: str | None = None, name: str | None = None
    ) -> Iterator[limited.Spend]:
        """See JobContext.budget."""
        run, thread = self._run, self._thread()
        found = limited.Spend(limited.checked_amount("ctx.sync.budget", "estimate", estimate))
        named = name or run.charges.name(limit)
        grant = thread.call(
            self._loop, lambda: limited.take(run, limit, found.amount, key=key, name=named, at_once=False)
        )
        try:
            yield found
        except BaseException:
            if found.actual is None:
                thread.call(self._loop, lambda: limited.give_back(run, grant))
            else:
                thread.call(self._loop, lambda: limited.settle(run, limit, grant, found))
            raise
        thread.call(self._loop, lambda: limited.settle(run, limit, grant, found))

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
