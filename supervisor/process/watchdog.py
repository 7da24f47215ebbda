"""Notice a blocked event loop while it is blocked, name the guilty line, and keep the dead-man timer armed.

The loop stamps a beat every quarter of a second. A daemon thread looks at the age of the last beat; when the beat is
overdue it takes the stack of the loop's thread and reports. The beat also re-arms the dead-man timer, which ends the
process when the loop stays away for `limit` seconds, even if no Python thread can run.

Three things make a beat late, and are told apart so that nobody hunts a bug that is not there:

- The loop is blocked: the watchdog's own wake-ups are punctual.
- One C call holds the interpreter: this thread cannot run either, but the process burns CPU. The report comes when the
  call returns, as a rule with its caller still on the stack. It may have been made by any thread, so all are shown.
- The process was stopped, frozen or starved: this thread woke up late too, and next to no CPU was used. A C call that
  *sleeps* while holding the interpreter looks the same from inside.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
import traceback
from collections import deque
from dataclasses import dataclass, replace
from itertools import islice, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from supervisor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import TypeAlias

    from supervisor.process.deadman import DeadMan

    _Stack: TypeAlias = list[tuple[FrameType, int]]

_ARM_EVERY: Final = 1.0
_DEEPEST: Final = 50  # frames of one report
_BUSY: Final = 0.25  # of one core, from which on a late wake-up is put down to our own work
_LATE: Final = 0.05  # a wake-up later than this is not ordinary scheduling
_SLACK: Final = 0.005  # the thread aims just behind the moment at which a beat is overdue
_STDLIB: Final = f"{Path(os.__file__).parent}{os.sep}"
_ASYNCIO: Final = f"{Path(asyncio.__file__).parent}{os.sep}"
_OURS: Final = f"{Path(__file__).parents[1]}{os.sep}"
_INSTALLED: Final = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoopBlock:
    """One report about a loop that does not turn.

    `seconds` counts from the last beat, so it exceeds the block itself by up to one interval; time for which the whole
    process stood still is left out. `stack` is that of the loop's thread, or of all threads when a C call held the
    interpreter. `task` is None when a plain callback blocks. `where` is "path:line function" of
    the code to look at; it is None, and `stack` empty, when the loop came back before anyone could look.
    `ended` marks the last report of a block. `suspended` marks a pause of the whole process, over when reported.
    """

    seconds: float
    task: str | None = None
    where: str | None = None
    stack: str = ""
    ended: bool = False
    suspended: bool = False


@dataclass(frozen=True, slots=True)
class _Span:
    """A piece of monotonic time."""

    begin: float
    end: float

    def overlap(self, other: _Span) -> float:
        return max(0.0, min(self.end, other.end) - max(self.begin, other.begin))


class LoopWatchdog:
    """Watches the loop in which `start` was called.

    `report` is called in the watchdog's thread, once when the loop has been away for `warn` seconds, again at each
    doubling of that (0.5, 1, 2, 4 s, ...), and once more when the block is over. It must not wait for the loop.
    Raises `ConfigError` unless 0 < interval < warn < limit (all in seconds). `limit` must be shorter than the time
    after which another host may take over this one's work: a loop that is away cannot renew its leases.
    """

    def __init__(
        self,
        report: Callable[[LoopBlock], None],
        deadman: DeadMan,
        *,
        limit: float = 20.0,
        warn: float = 0.5,
        interval: float = 0.25,
    ) -> None:
        if not 0 < interval < warn < limit:
            raise ConfigError(
                f"loop watchdog: interval = {interval:g}, warn = {warn:g}, loop_block_limit = {limit:g} cannot work;"
                " each must be greater than the one before, and the first greater than 0"
            )
        self._report = report
        self._deadman = deadman
        self._limit = limit
        self._warn = warn
        self._interval = interval
        self._arm_every = min(_ARM_EVERY, limit / 4)
        self._watch: _Watch | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._armed_at = 0.0

    def start(self) -> None:
        """Begin to watch the running loop; does nothing when already started."""
        if self._watch is not None:
            return
        self._watch = _Watch(asyncio.get_running_loop(), self._report, warn=self._warn, interval=self._interval)
        self._armed_at = -self._arm_every
        self._watch.thread.start()
        self._beat()

    def stop(self, timeout: float = 1.0) -> bool:
        """End the watchdog's thread and disarm the dead-man timer (unless it is held); must be called by the loop.

        Returns whether the thread ended within `timeout`. A thread stuck in `report` is left behind: it is a daemon
        and ends when `report` returns. Does nothing when not started.
        """
        watch, self._watch = self._watch, None
        if watch is None:
            return True
        if self._timer is not None:
            self._timer.cancel()
        self._deadman.disarm()
        watch.stamp()
        return watch.stop(timeout)

    def _beat(self) -> None:
        if self._watch is None:
            return
        now = self._watch.stamp()
        # Scheduled first, so that no error below can end the beats.
        self._timer = self._watch.loop.call_later(self._interval, self._beat)
        if now - self._armed_at >= self._arm_every:
            self._armed_at = now
            self._deadman.arm(self._limit)


class _Watch:
    """One run of the watchdog: the thread and what it knows. Only `stamp` and `stop` are called by the loop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        report: Callable[[LoopBlock], None],
        *,
        warn: float,
        interval: float,
    ) -> None:
        self.loop = loop
        self.thread = threading.Thread(target=self._run, name="loop-watchdog", daemon=True)
        self._report = report
        self._warn = warn
        self._interval = interval
        self._watched = threading.get_ident()
        self._stopped = threading.Event()
        self._beat_at = time.monotonic()
        self._gaps: deque[_Span] = deque()  # from the loop to the thread: late beats
        self._pauses: deque[_Span] = deque(maxlen=8)
        self._open: tuple[float, LoopBlock] | None = None  # the block reported last, by the beat it began with
        self._threshold = warn
        self._held = False  # this thread could not run since its last look, though the process did

    def stamp(self) -> float:
        """Note that the loop turns, and leave word when it was away for long; return the time."""
        now = time.monotonic()
        if now - self._beat_at > self._warn:
            self._gaps.append(_Span(self._beat_at, now))
        self._beat_at = now
        return now

    def stop(self, timeout: float) -> bool:
        """Ask the thread to end and wait for it; tell whether it did."""
        self._stopped.set()
        if self.thread is not threading.current_thread():
            self.thread.join(timeout)
        return not self.thread.is_alive()

    def _run(self) -> None:
        stopped = False
        while not stopped:
            begin, cpu = time.monotonic(), time.process_time()
            # Just behind the moment of the next report, but often enough to notice that this thread itself is late.
            due = self._beat_at + self._threshold - begin + _SLACK
            wait = due if 0 < due < self._interval else self._interval
            stopped = self._stopped.wait(wait)
            slept = _Span(begin, time.monotonic())
            self._look_back(slept, late=slept.end - begin - wait, cpu=time.process_time() - cpu)
            if not stopped:
                self._look_at_loop(slept.end)

    def _look_back(self, slept: _Span, *, late: float, cpu: float) -> None:
        """Report what is over: a pause of the process, and blocks that the loop has come back from."""
        self._held = late > _LATE and cpu >= late * _BUSY
        if late > _LATE and not self._held:
            # The whole sleep and not just its excess, since a pause may begin early in it and must excuse the loop.
            self._pauses.append(slept)
            if late > self._warn:
                self._tell(LoopBlock(late, ended=True, suspended=True))
        while self._gaps:
            gap = self._gaps.popleft()
            seconds = self._awake(gap)
            if self._open is not None and self._open[0] == gap.begin:
                self._tell(replace(self._open[1], seconds=seconds, ended=True))
            elif seconds > self._warn:
                self._tell(LoopBlock(seconds, ended=True))

    def _look_at_loop(self, now: float) -> None:
        """Report the loop if its beat is overdue, and the loop is not simply at its end."""
        beat_at = self._beat_at
        if self._open is None or self._open[0] != beat_at:
            self._threshold = self._warn
        seconds = self._awake(_Span(beat_at, now))
        if seconds <= self._threshold or not self.loop.is_running():
            return
        stacks = _stacks(None if self._held else self._watched)
        task = asyncio.current_task(self.loop)
        if self._beat_at != beat_at or self._watched not in stacks:
            return  # it came back meanwhile: these frames are innocent
        where = _guilty(stacks[self._watched])
        block = LoopBlock(seconds, task.get_name() if task is not None else None, where, _written(stacks))
        while self._threshold < seconds:
            self._threshold *= 2
        self._open = (beat_at, block)
        self._tell(block)

    def _awake(self, span: _Span) -> float:
        """Length of a span without the pauses of the process."""
        return span.end - span.begin - sum(span.overlap(pause) for pause in self._pauses)

    def _tell(self, block: LoopBlock) -> None:
        try:
            self._report(block)
        except Exception:  # noqa: BLE001 - a subscriber's error must not end the watch
            _log.exception("the report of a blocked loop failed; the watchdog goes on")


def _stacks(only: int | None) -> dict[int, _Stack]:
    """Take the stacks, innermost frame first, of one thread or of all but the calling one, by thread."""
    unwanted = threading.get_ident()
    return {
        ident: list(islice(traceback.walk_stack(frame), _DEEPEST))
        for ident, frame in sys._current_frames().items()  # noqa: SLF001 - the documented way to see other threads
        if ident == only or (only is None and ident != unwanted)
    }


def _written(stacks: dict[int, _Stack]) -> str:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return "".join(
        f"Thread {names.get(ident, ident)} (most recent call last):\n"
        + "".join(traceback.StackSummary.extract(reversed(stack)).format())
        for ident, stack in stacks.items()
    )


def _guilty(frames: _Stack) -> str:
    """Name the innermost line that its reader can change: their own code, else an installed package, else any.

    `frames` is innermost first. What lies outside of the loop's own machinery started the loop and is innocent.
    """
    inside = list(takewhile(lambda item: not _runs_the_loop(item[0]), frames)) or list(frames)
    candidates = [item for item in inside if not _is_machinery(item[0].f_code.co_filename)]
    own = [item for item in candidates if not _is_installed(item[0].f_code.co_filename)]
    frame, line = (own or candidates or inside)[0]
    return f"{frame.f_code.co_filename}:{line} {frame.f_code.co_qualname}"


def _is_installed(path: str) -> bool:
    return any(folder in path for folder in _INSTALLED)


def _is_machinery(path: str) -> bool:
    return path.startswith((_OURS, "<frozen ")) or (path.startswith(_STDLIB) and not _is_installed(path))


def _runs_the_loop(frame: FrameType) -> bool:
    path, name = frame.f_code.co_filename, frame.f_code.co_name
    return path.startswith(_ASYNCIO) and name in {"_run_once", "run_until_complete", "run"}
