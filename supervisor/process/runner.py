"""Runs a tree as one operating-system process: loop, signals, deadlines, exit code."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from supervisor.errors import ConfigError, GaveUp, StartFailed
from supervisor.process.conflict import check
from supervisor.process.deadman import CDeadMan, NullDeadMan
from supervisor.process.events import LeftBehind, LoopBlocked, ProcessExit, ProcessReady
from supervisor.process.exit_code import ExitCode
from supervisor.process.garbage import settle
from supervisor.process.inspector import Inspector
from supervisor.process.leftovers import cancel_strays, join_threads
from supervisor.process.loop import close_generators, drive, new_loop
from supervisor.process.runtime_dir import default_dir
from supervisor.process.shutdown import Shutdown
from supervisor.process.signals import Signals
from supervisor.process.status import Status
from supervisor.process.systemd import Notifier
from supervisor.process.watchdog import LoopBlock, LoopWatchdog
from supervisor.telemetry import otlp
from supervisor.telemetry.logs import EventLogger, configure
from supervisor.tree.outcome import Crashed
from supervisor.tree.runtime import Runtime
from supervisor.tree.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from supervisor.config import Config
    from supervisor.process.deadman import DeadMan
    from supervisor.tree.outcome import ExitAsked, Outcome
    from supervisor.tree.supervisor import Supervisor
    from supervisor.tree.tracing import MessageTracer

THREADS: Final = 1.0
"""Seconds that threads get to end after a shutdown that was in time."""
LATE_FLUSH: Final = 0.5
"""Seconds that the last spans get after a shutdown that used up its time."""

_log = logging.getLogger(__name__)


def run(root: Supervisor, config: Config) -> int:
    """Run the tree under `root` until it is told to stop, gives up or has done its work; return the exit code.

    To be called in the main thread, which alone may handle signals.
    If something cannot be stopped, the process leaves here and now with `os._exit`, because the
    interpreter would wait for it for ever. Raises ConfigError before anything has started.
    """
    check()
    configure(config.log_level, config.log_format)
    loop = new_loop()
    executor = ThreadPoolExecutor(thread_name_prefix="default-executor")
    process = _Process(root, config, loop)
    try:
        asyncio.set_event_loop(loop)
        loop.set_default_executor(executor)
        code = drive(loop, process.main(), process.exit_asked)
        process.signals.loop_ends()
        if not process.left:
            loop.close()
    finally:
        asyncio.set_event_loop(None)
        executor.shutdown(wait=False, cancel_futures=True)
    return process.leave(code)


class _Process:
    """One run of a tree, and what it leaves behind."""

    def __init__(self, root: Supervisor, config: Config, loop: asyncio.AbstractEventLoop) -> None:
        self.left: list[str] = []
        self._exporting = otlp.set_up()
        self._config = config
        self._deadman: DeadMan = CDeadMan()
        self._notifier = Notifier.take(os.environ)
        self._runtime = Runtime(tracer=_tracer(config))
        self._tree = Tree(root, self._runtime)
        self._logger = EventLogger()
        self._shutdown = Shutdown(self._tree, config.shutdown_timeout, self._deadman, self._notifier)
        self._status = Status(self._tree, self._notifier)
        self._runtime.on_exit_request = self._shutdown.exit_requested
        for subscriber in (self._logger, self._status, self._shutdown):
            self._runtime.subscribe(subscriber)
        self.signals = Signals(loop, self._shutdown, self._tree)

    def exit_asked(self, asked: ExitAsked) -> None:
        """User code outside the actors' own tasks raised SystemExit or KeyboardInterrupt."""
        self._runtime.request_exit(self._tree.root.name, asked.code, asked.message)

    async def main(self) -> int:
        """Run the tree to its end."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._watchdog())
            await self._inspector(stack)
            self._status.start_pings()
            stack.callback(self._status.close)
            code = await self._run_tree()
            abandoned = self._runtime.abandoned
            self.left = sorted(f"actor {life.path}" for life in abandoned)
            self.left += await cancel_strays([life.task for life in abandoned])
            self.left += await close_generators()
        return code

    async def _run_tree(self) -> int:
        began = time.monotonic()
        if self._shutdown.began is not None:
            # Told to stop before there was anything to stop: the tree would not hear of it any more.
            return self._shutdown.exit_code or ExitCode.CLEAN
        try:
            await self._tree.start()
        except StartFailed as error:
            _log.critical("could not start: %s", error, exc_info=error.__cause__)
            return ExitCode.NO_START
        if self._tree.outcome is None and self._shutdown.began is None:
            settle()
            self._ready(time.monotonic() - began)
        return self._code(await self._tree.wait())

    def _ready(self, seconds: float) -> None:
        needed, allowed = self._tree.root.stop_limit, self._config.shutdown_timeout
        self._runtime.emit(ProcessReady(self._tree.root.name, seconds, needed, allowed))
        if needed > allowed:
            _log.warning(
                "a stop may take %.1f s by the limits of the children, and shutdown_timeout is %g s: if they need "
                "their limits, some will be cut short",
                needed,
                allowed,
            )

    def _code(self, outcome: Outcome) -> int:
        if self._shutdown.exit_code is not None:
            return self._shutdown.exit_code
        match outcome:
            case Crashed(GaveUp()):
                return ExitCode.GAVE_UP
            case Crashed():
                return ExitCode.ABANDONED
            case _:
                return ExitCode.CLEAN

    def leave(self, code: int) -> int:
        """Wait for threads, report, and return the code, or leave at once if anything is left behind."""
        now, patience = time.monotonic(), self._config.shutdown_timeout
        self._deadman.hold(THREADS + patience)
        # Whatever was given up goes on beside whoever has its work now: it is not waited for.
        end_by = now if code == ExitCode.ABANDONED else min(self._shutdown.end_by, now + patience)
        self.left += join_threads(max(now + THREADS, end_by))
        if self.left:
            self._runtime.emit(LeftBehind(self._tree.root.name, tuple(self.left)))
            if code != ExitCode.NO_START:
                code = ExitCode.ABANDONED
        asked = code == self._shutdown.exit_code
        meaning = "The code that an actor asked for." if asked else ExitCode(code).meaning
        if self._exporting is not None:
            self._exporting.flush(min(otlp.FLUSH, max(self._shutdown.end_by - time.monotonic(), LATE_FLUSH)))
        self._logger.flush()
        self._runtime.emit(ProcessExit(self._tree.root.name, int(code), meaning))
        self._notifier.close()
        if self.left:
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, ValueError):
                    stream.flush()
            os._exit(code)
        self.signals.close()
        self._deadman.close()
        return int(code)

    @contextlib.contextmanager
    def _watchdog(self) -> Iterator[None]:
        warn, limit = self._config.loop_block_warn, self._config.loop_block_limit
        deadman = self._deadman if limit else NullDeadMan()
        watchdog = LoopWatchdog(
            self._loop_blocked, deadman, limit=limit or float("inf"), warn=warn, interval=min(0.25, warn / 2)
        )
        watchdog.start()
        try:
            yield
        finally:
            watchdog.stop()

    async def _inspector(self, stack: contextlib.ExitStack) -> None:
        folder = self._config.runtime_dir or default_dir()
        try:
            inspector = Inspector(self._tree, folder, self._config.name or "supervisor", self._status)
            await inspector.start()
        except (ConfigError, OSError) as error:
            # People lose a convenience; the work goes on.
            _log.warning("the `tree` command will not find this process: %s", error)
        else:
            stack.callback(inspector.close)

    def _loop_blocked(self, block: LoopBlock) -> None:
        path = block.task or self._tree.root.name
        self._runtime.emit(LoopBlocked(path, block.seconds, block.where, block.stack, block.ended, block.suspended))


def _tracer(config: Config) -> MessageTracer | None:
    if not config.trace_messages:
        return None
    from supervisor.telemetry.spans import OtelMessageTracer  # noqa: PLC0415 - costs memory and 30 ms

    return OtelMessageTracer()
