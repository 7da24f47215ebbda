"""When a job that failed is tried again: exponential, fixed or custom delays, and the errors that end it at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from supervisor.errors import ConfigError
from supervisor.jobs.limits import LONGEST, SHORTEST, factor, fraction, seconds

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

    RetryFunction: TypeAlias = "Callable[[int, BaseException], float | None]"

_OWNER: Final = "RetryPolicy"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How long a job waits after its n-th failed attempt; build one with `exponential`, `fixed` or `custom`.

    The delay after attempt n is `first × factor^(n-1)`, at most `cap` seconds, then `jitter` (0.1 means ±10 %), so that
    jobs that failed together do not come back together. Errors of the types in `never` are not worth another attempt.
    The limit on attempts is the job's, not the policy's. Raises ConfigError for values that cannot work.
    """

    first: float = 2.0
    factor: float = 2.0
    cap: float = 3600.0
    jitter: float = 0.1
    never: tuple[type[BaseException], ...] = ()
    function: RetryFunction | None = None

    def __post_init__(self) -> None:
        if self.first != 0:
            seconds(_OWNER, "first", self.first, least=SHORTEST)
        seconds(_OWNER, "cap", self.cap)
        factor(_OWNER, "factor", self.factor)
        fraction(_OWNER, "jitter", self.jitter)
        if not _are_error_types(self.never):
            raise ConfigError(
                f"{_OWNER}: never={self.never!r}: must be a tuple of exception types, such as (KeyError,)"
            )
        if self.function is not None and not callable(self.function):
            raise ConfigError(f"{_OWNER}: function={self.function!r}: must be a function of (attempt, error)")

    @staticmethod
    def exponential(
        first: float = 2.0,
        factor: float = 2.0,
        cap: float = 3600.0,
        jitter: float = 0.1,
        never: tuple[type[BaseException], ...] = (),
    ) -> RetryPolicy:
        """Growing delays: by default 2, 4, 8 … seconds, up to an hour, ±10 %."""
        return RetryPolicy(first=first, factor=factor, cap=cap, jitter=jitter, never=never)

    @staticmethod
    def fixed(delay: float, jitter: float = 0.1, never: tuple[type[BaseException], ...] = ()) -> RetryPolicy:
        """Wait the same `delay` seconds after each failure."""
        return RetryPolicy(first=delay, factor=1.0, cap=delay, jitter=jitter, never=never)

    @staticmethod
    def custom(function: RetryFunction, never: tuple[type[BaseException], ...] = ()) -> RetryPolicy:
        """Ask `function(attempt, error)` for the seconds to wait; None means that the job has failed.

        `attempt` is 1 after the first failure. The function must be quick: it runs on the event loop. No jitter is
        added to its answer.
        """
        return RetryPolicy(function=function, never=never)

    def delay(self, attempt: int, error: BaseException, random: random.Random) -> float | None:
        """Seconds until the next attempt after the `attempt`-th one failed with `error`; None: not again.

        Raises what a custom function raises, and ConfigError for an answer that is no delay.
        """
        if self.never and any(isinstance(leaf, self.never) for leaf in (error, *leaves(error))):
            return None
        if self.function is not None:
            answer = self.function(attempt, error)
            return None if answer is None else seconds(_OWNER, "the answer of the custom function", answer)
        return min(self.plain(attempt) * (1 + self.jitter * (2 * random.random() - 1)), LONGEST)

    def plain(self, attempt: int) -> float:
        """Give the delay of the formula after the `attempt`-th failure (1 or more), without jitter."""
        try:
            return float(min(self.cap, self.first * float(self.factor) ** (attempt - 1)))
        except OverflowError:  # far beyond any cap, because `first` is not minute
            return float(self.cap) if self.first else 0.0


def leaves(error: BaseException) -> Iterator[BaseException]:
    """List the errors in a group, however deep; an error that is no group stands for itself."""
    waiting = [error]
    while waiting:
        part = waiting.pop()
        if isinstance(part, BaseExceptionGroup):
            waiting.extend(reversed(part.exceptions))
        else:
            yield part


def _are_error_types(value: object) -> bool:
    return isinstance(value, tuple) and all(
        isinstance(each, type) and issubclass(each, BaseException) for each in value
    )


DEFAULT: Final = RetryPolicy()
"""2 s × 2ⁿ, ±10 %, at most an hour."""
