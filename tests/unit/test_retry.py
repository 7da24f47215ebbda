"""Delays between the attempts of a job: exponential, fixed or custom, spread, bounded, and never for some errors."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Any

import hypothesis
import hypothesis.strategies as st
import pytest

from supervisor.errors import ConfigError
from supervisor.jobs.limits import LONGEST
from supervisor.jobs.retry import DEFAULT, RetryPolicy, leaves

if TYPE_CHECKING:
    from collections.abc import Mapping

SOURCE = random.Random(1)  # noqa: S311 - not a secret
ERROR = ValueError("x")


def test_the_defaults_are_those_of_the_documentation() -> None:
    """By default the delays double from 2 s to an hour."""
    assert [DEFAULT.plain(n) for n in (1, 2, 3, 11, 12, 1000)] == [2, 4, 8, 2048, 3600, 3600]
    assert RetryPolicy.exponential() == DEFAULT == RetryPolicy()


@hypothesis.given(st.just(0.0) | st.floats(0.001, 100), st.floats(1, 10), st.floats(0, 1e6), st.integers(1, 40))
def test_the_delay_is_the_textbook_formula(first: float, growth: float, cap: float, attempt: int) -> None:
    """The n-th delay is first × factor^(n-1), and the cap where that is larger."""
    policy = RetryPolicy.exponential(first, growth, cap)
    assert policy.plain(attempt) == pytest.approx(min(cap, first * growth ** (attempt - 1)))


@pytest.mark.parametrize("growth", [1.0, 1 + 2**-52, 2.0, 1e300])
@pytest.mark.parametrize("first", [0.0, 0.001, 2.0, LONGEST])
def test_an_extreme_policy_cannot_overflow(first: float, growth: float) -> None:
    """No attempt number and no factor makes a delay fail or pass the longest that the database is given."""
    policy = RetryPolicy.exponential(first, growth, cap=LONGEST, jitter=0.9)
    for attempt in (1, 2, 1000, 32767, 10**9):
        delay = policy.delay(attempt, ERROR, SOURCE)
        assert delay is not None
        assert 0 <= delay <= LONGEST


@hypothesis.given(st.integers(1, 100), st.integers())
def test_jitter_stays_within_its_fraction(attempt: int, seed: int) -> None:
    """A delay differs from the plain one by at most 10 %, so that jobs that failed together do not meet again."""
    delay = DEFAULT.delay(attempt, ERROR, random.Random(seed))  # noqa: S311 - not a secret
    assert delay == pytest.approx(DEFAULT.plain(attempt), rel=0.1000001)


def test_jitter_spreads_jobs() -> None:
    """Delays of jobs that failed at the same time fill the whole range."""
    delays = sorted(DEFAULT.delay(1, ERROR, SOURCE) or 0 for _ in range(1000))
    assert delays[0] < 1.81
    assert 1.98 < delays[500] < 2.02
    assert delays[-1] > 2.19


def test_a_fixed_delay_does_not_grow() -> None:
    """A fixed policy waits the same each time."""
    policy = RetryPolicy.fixed(5, jitter=0)
    assert {policy.delay(n, ERROR, SOURCE) for n in (1, 2, 100)} == {5}


def test_a_custom_function_decides() -> None:
    """A custom function sees the attempt and the error; its answer is taken as it is, and None ends the job."""
    policy = RetryPolicy.custom(lambda attempt, error: attempt * 10.0 if isinstance(error, ValueError) else None)
    assert policy.delay(3, ERROR, SOURCE) == 30
    assert policy.delay(3, KeyError(), SOURCE) is None


@pytest.mark.parametrize("answer", [-1.0, math.nan, math.inf, "5", True])
def test_an_impossible_answer_is_an_error(answer: float) -> None:
    """A custom function that gives no delay is named, with its answer."""
    with pytest.raises(ConfigError, match="the answer of the custom function="):
        RetryPolicy.custom(lambda _attempt, _error: answer).delay(1, ERROR, SOURCE)


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (LookupError(), False),
        (KeyError("x"), False),
        (ValueError(), True),
        (ExceptionGroup("g", [ValueError(), ExceptionGroup("h", [KeyError()])]), False),
        (ExceptionGroup("g", [ValueError()]), True),
    ],
)
@pytest.mark.parametrize(
    "policy",
    [
        RetryPolicy.exponential(never=(LookupError,)),
        RetryPolicy.fixed(1, never=(OSError, LookupError)),
        RetryPolicy.custom(lambda _attempt, _error: 1.0, never=(LookupError,)),
    ],
)
def test_some_errors_are_not_worth_another_attempt(policy: RetryPolicy, error: Exception, again: bool) -> None:
    """An error of a listed type ends the job, also from inside a group."""
    assert (policy.delay(1, error, SOURCE) is not None) is again


def test_a_whole_group_can_be_listed() -> None:
    """The type of the group itself counts too."""
    policy = RetryPolicy.exponential(never=(ExceptionGroup,))
    assert policy.delay(1, ExceptionGroup("g", [ValueError()]), SOURCE) is None


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"first": -1}, "first=-1"),
        ({"first": 5e-324}, "first=5e-324"),
        ({"first": math.nan}, "first=nan"),
        ({"first": "2"}, "first='2'"),
        ({"first": True}, "first=True"),
        ({"cap": math.inf}, "cap=inf"),
        ({"cap": LONGEST * 2}, "cap="),
        ({"factor": 0.5}, "factor=0.5"),
        ({"factor": math.nan}, "factor=nan"),
        ({"jitter": 1}, "jitter=1"),
        ({"jitter": -0.1}, "jitter=-0.1"),
        ({"never": [KeyError]}, "never="),
        ({"never": (3,)}, "never="),
        ({"never": (KeyError(),)}, "never="),
        ({"function": 3}, "function=3"),
    ],
)
def test_a_policy_that_cannot_work_is_refused(options: Mapping[str, Any], named: str) -> None:
    """A ConfigError names the field, the value and what it must be."""
    with pytest.raises(ConfigError, match=rf"RetryPolicy: {named}.*: must be"):
        RetryPolicy(**options)


def test_leaves_come_in_order() -> None:
    """The errors in nested groups are listed from left to right; a plain error is its own leaf."""
    one, two, three = ValueError(1), ValueError(2), ValueError(3)
    group = ExceptionGroup("g", [one, ExceptionGroup("h", [two]), three])
    assert list(leaves(group)) == [one, two, three]
    assert list(leaves(one)) == [one]
