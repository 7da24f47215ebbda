"""Each rule of the checker finds what it is there for, and says nothing about a history that is in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.soak.checker import check
from tests.soak.history import History, ordered
from tests.soak.judgement import Judgement
from tests.soak.ledger import Entry

if TYPE_CHECKING:
    from collections.abc import Sequence


def told(*lines: str) -> list[Entry]:
    """Read entries from lines of: time, process, what, job, fence and the rest."""
    found = []
    for line in lines:
        at, pid, what, job, fence, *text = line.split(" ", 5)
        found.append(Entry(float(at), int(pid), what, int(job), int(fence), *text or [""]))
    return found


def past(job: int = 7, **other: object) -> dict[str, Any]:
    """Make a row of the history."""
    usual = {"kind": "note", "token": "1", "status": "completed", "attempts": 0, "max_attempts": 3, "losses": 0}
    return {"id": job, **usual, "interruptions": 0, "lock_version": 1, "unique_key": None, "last_error": None, **other}


def live(job: int = 7, **other: object) -> dict[str, Any]:
    """Make a row of a table of live jobs."""
    return {"id": job, "kind": "note", "token": "1", "claimed_by": None, "unique_key": None, "place": "jobs", **other}


ASKED = ("1.0 1 asked 0 0 1 note - -", "1.1 1 acked 7 0 1")
RAN = ("2.0 2 claimed 7 1 0 0", "2.1 2 began 7 1 1", "3.0 2 left 7 1 returned", "3.1 2 completed 7 1")
AGAIN = ("4.0 3 claimed 7 3 0 0", "4.1 3 began 7 3 1", "5.0 3 left 7 3 returned", "5.1 3 completed 7 3")
LOST = (*RAN[:2], "3.5 2 died 0 0 one -9")


def judged(
    lines: Sequence[str],
    rows: Sequence[dict[str, Any]],
    *,
    now: Sequence[dict[str, Any]] = (),
    effects: dict[tuple[int, str], int] | None = None,
) -> list[str]:
    """Check a history."""
    history = History(told(*lines), list(now), list(rows), effects or {}, set())
    return check(ordered(history), Judgement())


def test_a_history_in_order_is_in_order() -> None:
    """A job that ran once, and one that ran again after its process was killed, break no rule."""
    assert judged((*ASKED, *RAN), [past()]) == []
    assert judged((*ASKED, *LOST, *AGAIN), [past(lock_version=3, losses=1)]) == []


@pytest.mark.parametrize(
    ("lines", "rows", "said"),
    [
        (ASKED, [], "is nowhere"),
        ((*ASKED, *RAN), [past(token="2")], "has token 2"),  # noqa: S106 - no password
        (("1.0 1 asked 0 0 1 note - -", "1.1 1 refused-enqueue 0 0 1", *RAN), [past()], "was refused for certain"),
        (RAN, [past()], "nobody asked"),
        ((*ASKED, *RAN), [past(), past(8)], "2 times"),
        ((*ASKED, *RAN), [past(), past()], "is in 2 places"),
        ((*ASKED, *RAN, "2.2 3 claimed 7 1 0 0"), [past()], "was claimed twice"),
        ((*ASKED, *RAN, "2.2 3 began 7 1 1"), [past()], "was began twice"),
        ((*ASKED, *RAN, *AGAIN), [past(lock_version=3)], "and again under 3"),
        ((*ASKED, *RAN), [past(lock_version=2)], "a fence did not move"),
        ((*ASKED, *RAN), [past(lock_version=3)], "its history says 3"),
        (ASKED, [past()], "no such run began"),
        ((*ASKED, *RAN[:2], *AGAIN, "6.0 2 left 7 1 Error"), [past(lock_version=3)], "went on for 1.900 s beside"),
        ((*ASKED, *RAN), [past(attempts=1)], "failed 0 times"),
        ((*ASKED, *RAN), [past(attempts=4, kind="flaky")], "4 attempts of 3"),
        ((*ASKED, *RAN), [past(status="failed")], "is failed"),
        ((*ASKED, *RAN), [past(kind="poison")], "is completed"),
        ((*ASKED, *RAN), [past(kind="order")], "there is no order of its step"),
        ((*ASKED, *RAN), [past(kind="ledger")], "wrote 0 rows"),
        ((*ASKED, *RAN, "2.2 2 called 7 1 a k1", "2.3 2 called 7 1 a k2"), [past()], "2 idempotency keys"),
        ((*ASKED, *RAN, "2.2 2 called 7 1 a k1", "2.3 2 called 7 1 a k1"), [past(kind="ship")], "called 2 times"),
        (
            (*ASKED, *LOST, "2.2 2 passed 7 1 a", *AGAIN, "4.2 3 called 7 3 a k1"),
            [past(lock_version=3)],
            "it was on record",
        ),
    ],
)
def test_a_broken_rule_is_found(lines: Sequence[str], rows: Sequence[dict[str, Any]], said: str) -> None:
    """A history that breaks a rule is said to, with what was broken."""
    assert any(said in found for found in judged(lines, rows)), judged(lines, rows)


def test_what_is_left_is_found() -> None:
    """A job that is still live when everything should be over is said to be left."""
    assert judged(ASKED, [], now=[live()]) == ["job 7 (note) is left in jobs"]


def test_a_row_too_many_is_found() -> None:
    """A step that has written twice to the database is found."""
    assert judged((*ASKED, *RAN), [past()], effects={(7, "end"): 2}) == ["job 7: step end wrote 2 rows"]


def test_a_pause_is_no_overlap() -> None:
    """A process that stood still while another ran its job did nothing meanwhile."""
    still = ("3.0 2 sending 0 0 SIGSTOP", "5.9 2 sent 0 0 SIGCONT", "5.9 2 left 7 1 CancelledError")
    assert judged((*ASKED, *RAN[:2], *AGAIN, *still), [past(lock_version=3)]) == []
