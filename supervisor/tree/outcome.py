"""How an incarnation ended: exactly one outcome each, whatever the actor did."""

from __future__ import annotations

import enum
from asyncio import CancelledError
from dataclasses import dataclass
from typing import TYPE_CHECKING

from supervisor.errors import Ignore, Stop, UnexpectedCancel

if TYPE_CHECKING:
    from collections.abc import Iterator


class Stage(enum.Enum):
    """The four stages of a stop, mildest first."""

    DRAINING = "draining"
    CANCELLING = "cancelling"
    KILLING = "killing"
    ABANDONED = "abandoned"


@dataclass(frozen=True, slots=True)
class Normal:
    """`run` returned, or the actor raised `Stop`."""


@dataclass(frozen=True, slots=True)
class Ignored:
    """`setup` raised `Ignore`: the actor does not want to run."""


@dataclass(frozen=True, slots=True)
class Shutdown:
    """It was asked to stop and ended in this stage."""

    stage: Stage


@dataclass(frozen=True, slots=True)
class Crashed:
    """It failed with this error; `severe` marks MemoryError and RecursionError."""

    error: BaseException
    severe: bool = False


@dataclass(frozen=True, slots=True)
class ExitAsked:
    """It raised SystemExit or KeyboardInterrupt: the whole process is to stop with this code.

    `message` is what the interpreter would have printed: `sys.exit("no paper")` has code 1.
    """

    code: int
    message: str | None = None


Outcome = Normal | Ignored | Shutdown | Crashed | ExitAsked

_INTERRUPTED = 130  # what a shell reports for SIGINT


def classify(error: BaseException | None, stage: Stage | None) -> Outcome:
    """Turn what a task ended with into its outcome.

    `stage` is the stop stage that was reached, or None when nobody asked the actor to stop. The
    question is always "did we cancel it?", never "what type is the error?": a cancel that nobody
    asked for is a crash.
    """
    match error:
        case None | Stop():
            return Normal() if stage is None else Shutdown(stage)
        case Ignore():
            return Ignored()
        case BaseExceptionGroup():
            return _classify_group(error, stage)
        case SystemExit() | KeyboardInterrupt():
            return _exit_asked(error)
        case CancelledError():
            if stage is None:
                return Crashed(UnexpectedCancel("a task of the tree was cancelled by code other than its supervisor"))
            return Shutdown(stage)
        case MemoryError() | RecursionError():
            return Crashed(error, severe=True)
        case _:
            return Crashed(error)


def _classify_group(group: BaseExceptionGroup[BaseException], stage: Stage | None) -> Outcome:
    leaves = list(_leaves(group))
    for leaf in leaves:
        if isinstance(leaf, SystemExit | KeyboardInterrupt):
            return _exit_asked(leaf)
    if stage is not None and all(isinstance(leaf, CancelledError) for leaf in leaves):
        return Shutdown(stage)
    severe = any(isinstance(leaf, MemoryError | RecursionError) for leaf in leaves)
    return Crashed(group, severe=severe)


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def _exit_asked(error: SystemExit | KeyboardInterrupt) -> ExitAsked:
    if isinstance(error, KeyboardInterrupt):
        return ExitAsked(_INTERRUPTED)
    match error.code:
        case None:
            return ExitAsked(0)
        case int(code):
            return ExitAsked(code)
        case text:
            return ExitAsked(1, str(text))


def describe(outcome: Outcome | None) -> str:
    """One short phrase for people: `normal`, `stopped while draining`, `crashed: ValueError: …`."""
    match outcome:
        case None:
            return "never ran"
        case Normal():
            return "normal"
        case Ignored():
            return "declined to run"
        case Shutdown(stage):
            return "abandoned" if stage is Stage.ABANDONED else f"stopped while {stage.value}"
        case ExitAsked(code):
            return f"asked the process to exit with {code}"
        case Crashed(error):
            return f"crashed: {summary(error)}"


def summary(error: BaseException) -> str:
    """Name an error in one line; a group names its leaves."""
    if isinstance(error, BaseExceptionGroup):
        names = sorted({type(leaf).__name__ for leaf in _leaves(error)})
        return f"{type(error).__name__} of {', '.join(names)}"
    text = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
