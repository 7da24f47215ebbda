"""One configured number gives every deadline of a shutdown."""

from __future__ import annotations

import math

import pytest

from supervisor.errors import ConfigError
from supervisor.process.budget import Budget


@pytest.mark.parametrize(
    ("total", "drain", "hard"),
    [(25.0, 18.0, 28.0), (10.0, 3.0, 13.0), (300.0, 293.0, 303.0)],
)
def test_deadlines_follow_from_the_total(total: float, drain: float, hard: float) -> None:
    """Drain ends 7 s before the total, the tree at the total, the process 3 s after it."""
    budget = Budget(total)
    assert (budget.drain, budget.end, budget.hard) == (drain, total, hard)
    assert budget.drain + budget.reserve == budget.end
    assert budget.collapse == 2.0


@pytest.mark.parametrize("total", [9.99, 0.0, -1.0, math.inf, math.nan])
def test_a_total_that_cannot_work_is_refused(total: float) -> None:
    """The error names the setting, its value, the reason and the remedy."""
    with pytest.raises(ConfigError, match=rf"shutdown_timeout = {total:g} .* 7 s are needed .* set 10 s or more"):
        Budget(total)
