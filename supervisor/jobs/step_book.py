"""The steps of one run: what earlier runs recorded is replayed, what is new is run and recorded."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeVar

from supervisor.errors import ConfigError, StepMismatch, StepUnresolved
from supervisor.jobs.limited import in_step
from supervisor.jobs.own_transaction import fenced
from supervisor.jobs.step_result import checked, decode, encode
from supervisor.store import steps
from supervisor.store.steps import NewStep
from supervisor.telemetry.job_spans import step_span

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from supervisor.jobs.context import StepMode
    from supervisor.jobs.run_context import Run
    from supervisor.store.link import Link
    from supervisor.store.steps import RecordedStep

R = TypeVar("R")

_MODES: Final = ("transactional", "idempotent", "at_most_once")


class StepBook:
    """Made when a run first asks for a step. The first run of a job has nothing to replay, and reads nothing."""

    __slots__ = ("_busy", "_places", "_reading", "_recorded", "_run")

    def __init__(self, run: Run) -> None:
        self._run = run
        self._places: dict[str, int] = {}
        self._busy: set[str] = set()  # running, or ended with a result
        self._recorded: dict[str, RecordedStep] | None = {} if run.lock_version == 1 else None
        self._reading: asyncio.Lock | None = None

    async def run(
        self,
        name: str,
        fn: Callable[..., Awaitable[R]],
        args: tuple[object, ...],
        mode: StepMode,
        result: type[R] | None,
    ) -> R:
        """See JobContext.step."""
        if mode not in _MODES:
            raise ConfigError(f"step {name!r}: mode={mode!r}: must be one of {', '.join(_MODES)}")
        checked(self._run.row.kind, result)
        if mode == "transactional":
            return await self._in_transaction(name, fn, args, result)
        known = await self.begin(name, mode)
        if known is not None:
            return decode(self._run.row.kind, name, known, result)
        try:
            with step_span(self._run.span, name), in_step(name):
                value = await fn(*args)
            text = encode(self._run.row.kind, name, value, result)
            await self.end(name, text)
        except BaseException:
            self._busy.discard(name)  # it may be tried again in this run
            raise
        return decode(self._run.row.kind, name, text, result)

    async def begin(self, name: str, mode: StepMode) -> str | None:
        """Return the recorded result of a step, as JSON; None if it is to be run now, and then `end` to be called."""
        place = self._enter(name)
        try:
            # The first run of a job, whose steps shall cost little, has nothing to replay.
            known = None if self._recorded == {} else await self._replay(name, place)
            if known is None and mode == "at_most_once":
                await self._record(name, None, done=False)
        except BaseException:
            self._busy.discard(name)
            raise
        return known

    async def end(self, name: str, text: str) -> None:
        """Record the result of a step that was begun."""
        await self._record(name, text, done=True)

    def give_up(self, name: str) -> None:
        """Say that a step that was begun has failed; it may be begun again."""
        self._busy.discard(name)

    def _enter(self, name: str) -> int:
        """Give a step its place, in the order of the calls; a step that failed keeps the place it had."""
        self._run.check_open()
        given: object = name
        if not isinstance(given, str) or not name or "\0" in name:
            raise ConfigError(f"step {name!r}: the name must be a text, not empty, without NUL")
        if name in self._busy:
            raise StepMismatch(f"job {self._run.id}: step {name!r} is asked for twice in one run; use another name")
        self._busy.add(name)
        return self._places.setdefault(name, len(self._places))

    async def _replay(self, name: str, place: int) -> str | None:
        recorded = self._recorded
        if recorded is None:
            recorded = await self._read()
        if not recorded:
            return None
        found = recorded.get(name)
        if found is None:
            there = next((row.name for row in recorded.values() if row.place == place), None)
            if there is not None:
                raise self._mismatch(name, place, f"there an earlier run recorded {there!r}")
            return None
        if found.place != place:
            raise self._mismatch(name, place, f"an earlier run recorded it as number {found.place + 1}")
        if not found.done:
            raise StepUnresolved(
                f"job {self._run.id}: step {name!r} was begun by an earlier run that never said how it ended; "
                "find out, and resolve it"
            )
        return found.result if found.result is not None else "null"

    def _mismatch(self, name: str, place: int, found: str) -> StepMismatch:
        return StepMismatch(
            f"job {self._run.id}: step {name!r} is number {place + 1} of this run, but {found}: "
            "the handler has changed, or does not ask for its steps in the same order each time"
        )

    async def _read(self) -> dict[str, RecordedStep]:
        self._reading = self._reading or asyncio.Lock()
        async with self._reading:  # steps that are asked for together read once
            if self._recorded is None:
                async with self._run.tasks.connection(self._run) as link:
                    self._recorded = {row.name: row for row in await steps.of(link, self._run.id)}
        return self._recorded

    async def _record(self, name: str, text: str | None, *, done: bool) -> None:
        run = self._run
        run.check()
        step = NewStep(run.id, run.lock_version, name, self._places[name], text, done)
        if not await run.tasks.steps.record(step):
            raise run.lost()

    async def _in_transaction(
        self, name: str, fn: Callable[..., Awaitable[R]], args: tuple[object, ...], result: type[R] | None
    ) -> R:
        known = await self.begin(name, "transactional")
        if known is not None:
            return decode(self._run.row.kind, name, known, result)
        run, place = self._run, self._places[name]
        text = "null"

        async def record(link: Link) -> bool:
            return bool(await steps.record(link, [NewStep(run.id, run.lock_version, name, place, text)]))

        async def recorded(link: Link) -> bool:
            return any(row.name == name for row in await steps.of(link, run.id))

        try:
            async with fenced(run, record, recorded) as connection:
                with step_span(run.span, name), in_step(name):
                    value = await fn(connection, *args)
                text = encode(run.row.kind, name, value, result)
        except BaseException:
            self._busy.discard(name)
            raise
        return decode(self._run.row.kind, name, text, result)
