"""What becomes of a job: one decision for whatever its handler did, with texts that a column can hold."""

from __future__ import annotations

import asyncio
import math
import random
from typing import TYPE_CHECKING

import hypothesis
import hypothesis.strategies as st
import pytest

from supervisor.errors import ConfigError, StepUnresolved
from supervisor.jobs.error_text import MAX_SUMMARY, MAX_TRACEBACK, summary, traceback_of
from supervisor.jobs.outcomes import (
    COMPLETED,
    INTERRUPTED,
    LOST,
    Action,
    Attempt,
    Cancelled,
    Decision,
    Discard,
    Retry,
    Snooze,
    decide,
)
from supervisor.jobs.retry import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Callable

SOURCE = random.Random(1)  # noqa: S311 - not a secret
POLICY = RetryPolicy.fixed(5, jitter=0, never=(LookupError,))
FIRST = Attempt(number=1, most=3, timeout=300, retry=POLICY)
LAST = Attempt(number=3, most=3, timeout=300, retry=POLICY)


def decided(error: BaseException | None, cancelled: Cancelled | None = None, attempt: Attempt = FIRST) -> Decision:
    """Decide with a fixed source of jitter."""
    return decide(attempt, error, cancelled, SOURCE)


def answering(cancel: BaseException, answer: BaseException) -> BaseException:
    """Raise `answer` while `cancel` is being handled, as a clean-up that fails does."""
    try:
        try:
            raise cancel
        finally:
            raise answer
    except type(answer) as caught:
        return caught


@pytest.mark.parametrize("cancelled", [None, *Cancelled])
@pytest.mark.parametrize("attempt", [FIRST, LAST])
def test_a_handler_that_returns_has_done_its_work(cancelled: Cancelled | None, attempt: Attempt) -> None:
    """A return completes the job, also while it was being cancelled; the fence decides whether it counts."""
    assert decided(None, cancelled, attempt) is COMPLETED


@pytest.mark.parametrize(
    ("error", "attempt", "action", "delay"),
    [
        pytest.param(ValueError("x"), FIRST, Action.RETRY, 5, id="failed"),
        pytest.param(ValueError("x"), LAST, Action.FAIL, 0, id="failed for the last time"),
        pytest.param(KeyError("x"), FIRST, Action.FAIL, 0, id="failed for good"),
        pytest.param(Retry(), FIRST, Action.RETRY, 5, id="asked for a retry"),
        pytest.param(Retry(after=0), FIRST, Action.RETRY, 0, id="asked for a retry at once"),
        pytest.param(Retry(after=7.5), FIRST, Action.RETRY, 7.5, id="asked for a retry later"),
        pytest.param(Retry(after=7.5), LAST, Action.FAIL, 0, id="asked for one retry too many"),
        pytest.param(Snooze(60), FIRST, Action.SNOOZE, 60, id="snoozed"),
        pytest.param(Snooze(60), LAST, Action.SNOOZE, 60, id="snoozing costs no attempt"),
        pytest.param(Discard("gone"), FIRST, Action.DISCARD, 0, id="discarded"),
        pytest.param(SystemExit(3), FIRST, Action.RETRY, 5, id="tried to end the process"),
        pytest.param(MemoryError(), FIRST, Action.RETRY, 5, id="out of memory"),
        pytest.param(ExceptionGroup("g", [ValueError()]), FIRST, Action.RETRY, 5, id="group"),
        pytest.param(ExceptionGroup("g", [ValueError(), KeyError()]), FIRST, Action.FAIL, 0, id="group, one for good"),
        pytest.param(StepUnresolved("pay"), LAST, Action.BLOCK, 0, id="an unknown step costs no attempt"),
        pytest.param(ExceptionGroup("g", [StepUnresolved()]), FIRST, Action.BLOCK, 0, id="the same in a task group"),
        pytest.param(ExceptionGroup("g", [Snooze(60)]), FIRST, Action.SNOOZE, 60, id="snoozed in a task group"),
        pytest.param(ExceptionGroup("g", [Snooze(60), ValueError()]), FIRST, Action.RETRY, 5, id="snoozed and failed"),
        pytest.param(ExceptionGroup("g", [Snooze(60), Snooze(1)]), FIRST, Action.RETRY, 5, id="snoozed twice"),
        pytest.param(asyncio.CancelledError(), FIRST, Action.RETRY, 5, id="cancelled itself"),
        pytest.param(asyncio.CancelledError(), LAST, Action.FAIL, 0, id="cancelled itself again and again"),
    ],
)
def test_what_the_handler_raised_decides(error: BaseException, attempt: Attempt, action: Action, delay: float) -> None:
    """Each way to end without being cancelled by the runtime has one outcome."""
    decision = decided(error, None, attempt)
    assert (decision.action, decision.delay, decision.is_ours) == (action, delay, True)


CANCEL = asyncio.CancelledError
CLEANUP_FAILED = answering(CANCEL(), OSError("close failed"))
WRAPPED = BaseExceptionGroup("g", [CANCEL(), CANCEL()])


@pytest.mark.parametrize(
    ("error", "stop", "timeout"),
    [
        pytest.param(CANCEL(), Action.INTERRUPTED, Action.RETRY, id="cancelled"),
        pytest.param(CLEANUP_FAILED, Action.INTERRUPTED, Action.RETRY, id="clean-up failed"),
        pytest.param(WRAPPED, Action.INTERRUPTED, Action.RETRY, id="group of cancels"),
        pytest.param(BaseExceptionGroup("g", [CANCEL(), Snooze(9)]), Action.SNOOZE, Action.SNOOZE, id="snoozed"),
        pytest.param(answering(CANCEL(), Discard("x")), Action.DISCARD, Action.DISCARD, id="discarded"),
        pytest.param(KeyError("x"), Action.FAIL, Action.FAIL, id="failed by itself"),
    ],
)
def test_why_it_was_cancelled_decides(error: BaseException, stop: Action, timeout: Action) -> None:
    """A stop costs the job nothing, a time-out is a failure, a lost lease leaves nothing to write."""
    assert decided(error, Cancelled.STOP).action is stop
    assert decided(error, Cancelled.TIMEOUT).action is timeout
    assert decided(error, Cancelled.LEASE_LOST) is LOST


def test_a_stop_is_free_even_on_the_last_attempt() -> None:
    """An interrupted job keeps no error and loses no attempt."""
    assert decided(CANCEL(), Cancelled.STOP, LAST) is INTERRUPTED
    assert (INTERRUPTED.error, INTERRUPTED.is_ours, LOST.is_ours) == (None, True, False)


def test_a_timeout_says_how_long_it_was() -> None:
    """The error of a job that ran too long names the limit, and the last attempt fails it."""
    decision = decided(CANCEL(), Cancelled.TIMEOUT, LAST)
    assert decision.action is Action.FAIL
    assert decision.error == "TimeoutError: still running after its time-out of 300 s"


def test_a_cancel_that_nobody_asked_for_says_so() -> None:
    """A handler that cancels itself has failed, with an error that tells it from ours."""
    assert decided(CANCEL()).error == "UnexpectedCancel: cancelled by code other than the runtime"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("no\nsecond line"), "ValueError: no"),
        (ValueError(), "ValueError"),
        (Retry(reason="busy"), "Retry: busy"),
        (Retry(), "Retry"),
        (Discard("user is gone"), "Discard: user is gone"),
        (ExceptionGroup("g", [KeyError(), ValueError(), KeyError()]), "ExceptionGroup of KeyError, ValueError"),
    ],
)
def test_the_error_is_one_line(error: BaseException, line: str) -> None:
    """The summary names the type and the first line of the message, or what is in a group."""
    assert decided(error).error == line


def test_a_broken_policy_costs_no_attempt() -> None:
    """A policy that fails, or answers nonsense, is on record, and the job waits as long as it would by default."""
    for function in (lambda _attempt, _error: math.nan, lambda attempt, _error: attempt / 0):
        attempt = Attempt(number=2, most=3, timeout=1, retry=RetryPolicy.custom(function))
        decision = decided(ValueError("x" * 5000), None, attempt)
        assert decision.action is Action.RETRY
        assert decision.delay == pytest.approx(4, rel=0.11)
        assert decision.error is not None
        assert "and its retry policy failed: " in decision.error
        assert len(decision.error) <= MAX_SUMMARY


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Retry(after=-1), "Retry: after=-1"),
        (lambda: Retry(after=math.nan), "Retry: after=nan"),
        (lambda: Retry(after=math.inf), "Retry: after=inf"),
        (lambda: Retry(after=1e300), "Retry: after=1e"),
        (lambda: Retry(reason=3), "Retry: reason=3"),  # type: ignore[arg-type]
        (lambda: Snooze(-0.1), "Snooze: after=-0.1"),
        (lambda: Snooze(after=True), "Snooze: after=True"),
        (lambda: Snooze("5"), "Snooze: after='5'"),  # type: ignore[arg-type]
        (lambda: Snooze(None), "Snooze: after=None"),  # type: ignore[arg-type]
        (lambda: Discard(None), "Discard: reason=None"),  # type: ignore[arg-type]
    ],
)
def test_an_impossible_wish_is_refused(make: Callable[[], object], named: str) -> None:
    """A delay that is no finite number of seconds, or a reason that is no text, is named."""
    with pytest.raises(ConfigError, match=named):
        make()


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def failing(error: Exception, depth: int = 0) -> Exception:
    """Raise an error from a depth, so that it has a traceback; a local variable holds a secret."""
    secret = "hush" * 2

    def down(left: int) -> None:
        hidden = secret
        if left == 0:
            raise error
        down(left - 1)
        del hidden

    with pytest.raises(type(error)) as caught:
        down(depth)
    return caught.value


@hypothesis.given(st.text() | st.text("\0\ud800é\n", max_size=50_000).map(lambda text: text * 20))
def test_every_text_can_be_stored(message: str) -> None:
    """Whatever an error says, its texts are bounded and free of what PostgreSQL refuses."""
    error = failing(ValueError(message))
    for text, limit in ((summary(error), MAX_SUMMARY), (traceback_of(error), MAX_TRACEBACK)):
        assert "\0" not in text
        assert len(text.encode()) <= (limit if limit == MAX_TRACEBACK else 4 * limit)
    assert len(summary(error)) <= MAX_SUMMARY


def test_a_traceback_has_frames_and_no_variables() -> None:
    """The traceback names the functions and the error's own message, and never the values of variables."""
    text = decided(failing(ValueError("message"), 3)).traceback or ""
    assert "in down" in text
    assert text.endswith("ValueError: message")
    assert "hushhush" not in text


def test_a_long_traceback_keeps_both_ends() -> None:
    """A long text keeps its beginning and its end, and says how much is missing between them."""
    text = traceback_of(ValueError("é" * 5000 + "middle" + "é" * 50_000 + "\nthe end"))
    assert text.startswith("ValueError: éé")
    assert text.endswith("é\nthe end")
    assert " bytes left out …]\n" in text
    assert MAX_TRACEBACK - 8 <= len(text.encode()) <= MAX_TRACEBACK


def test_an_error_without_words_is_still_named() -> None:
    """An error whose message cannot be made does not take the decision down with it."""
    decision = decided(failing(Mute()))
    assert decision.action is Action.RETRY
    assert decision.error == "Mute: its message cannot be shown: RuntimeError"
    assert "Mute" in (decision.traceback or "")


def test_causes_in_a_circle_end() -> None:
    """Errors that name each other as their cause do not keep the decision busy for ever."""
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    assert decided(one, Cancelled.STOP).action is Action.RETRY


ERRORS = st.sampled_from([ValueError, KeyError, asyncio.CancelledError, SystemExit, Retry, KeyboardInterrupt]).map(
    lambda kind: kind()
) | st.builds(Snooze, st.floats(0, 1e6))


@hypothesis.given(
    st.recursive(
        ERRORS,
        lambda inner: st.lists(inner, min_size=1, max_size=3).map(lambda found: BaseExceptionGroup("g", found)),
        max_leaves=6,
    ),
    st.sampled_from([None, *Cancelled]),
    st.integers(1, 3),
)
def test_every_end_has_one_outcome(error: BaseException, cancelled: Cancelled | None, number: int) -> None:
    """Whatever was raised and whyever it was cancelled: no attempt beyond the last, and an error with each failure."""
    decision = decide(Attempt(number=number, most=3, timeout=1), error, cancelled, SOURCE)
    assert decision.action is not Action.COMPLETE
    assert not (decision.action is Action.RETRY and number == 3)
    assert (decision.error is not None) >= (decision.action in {Action.RETRY, Action.FAIL})
    assert decision.is_ours is (cancelled is not Cancelled.LEASE_LOST)
    assert 0 <= decision.delay < math.inf
