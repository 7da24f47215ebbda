"""The event loop of the process, and driving it to the end whatever user code does to it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from supervisor.tree.outcome import ExitAsked, classify

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

_ASYNCGENS: Final = 1.0
"""Seconds that unfinished async generators get to close."""

_log = logging.getLogger(__name__)


def new_loop() -> asyncio.AbstractEventLoop:
    """Return a uvloop, or asyncio's own loop where there is none (Windows)."""
    try:
        import uvloop  # noqa: PLC0415 - see above
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def drive(
    loop: asyncio.AbstractEventLoop, main: Coroutine[Any, Any, int], exit_asked: Callable[[ExitAsked], None]
) -> int:
    """Run the loop until `main` has returned.

    asyncio lets SystemExit and KeyboardInterrupt of any task or callback fly out of the loop, and
    anyone may stop it. The tree must still come down in order: note what was asked, and go on.
    """
    loop.set_exception_handler(_log_stray_error)
    task = loop.create_task(main, name="main")
    while not task.done():
        try:
            loop.run_until_complete(task)
        except (SystemExit, KeyboardInterrupt) as error:
            if isinstance(asked := classify(error, None), ExitAsked):
                # On the loop, which does not run at this moment: what follows sets timers.
                loop.call_soon(exit_asked, asked)
        except RuntimeError:
            if task.done():
                break
            _log.error("something stopped the event loop, which is the process's own; going on")
    return task.result()


async def close_generators() -> list[str]:
    """Close the async generators that nobody has finished; return what cannot be closed in time."""
    closing = asyncio.get_running_loop().create_task(asyncio.get_running_loop().shutdown_asyncgens())
    await asyncio.wait((closing,), timeout=_ASYNCGENS)
    return [] if closing.done() else ["async generators"]


def _log_stray_error(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what asyncio would print: an error in a task or callback that nobody supervises."""
    _log.error("outside the tree: %s", context.get("message"), exc_info=context.get("exception"))
