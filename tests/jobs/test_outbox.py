"""The box of what is to be written: nothing in it is lost, and nothing is taken twice."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from supervisor.jobs import outbox
from supervisor.jobs.outbox import Outbox
from supervisor.jobs.outcomes import INTERRUPTED, LOST
from tests.jobs.rows import claimed


def test_what_is_put_in_wakes_the_completer() -> None:
    """Each of the three sorts sets the signal of a full box."""
    for put in (Outbox.completed, Outbox.completed_with_steps, lambda box, row: Outbox.ended(box, row, INTERRUPTED)):
        box = Outbox()
        assert box.take(10) is None
        put(box, claimed(1))
        assert box.filled
        assert len(box) == 1


def test_what_is_not_ours_is_not_written() -> None:
    """A decision about a job whose lease was lost puts nothing into the box."""
    box = Outbox()
    box.ended(claimed(1), LOST)
    assert not len(box)
    assert not box.filled


def test_a_batch_stays_until_it_is_confirmed() -> None:
    """What was taken is given again, doubt and all, and counts as unwritten until it is confirmed."""
    box = Outbox()
    box.completed(claimed(1))
    batch = box.take(10)
    assert batch is not None
    batch.doubtful = True
    box.completed(claimed(2))
    assert box.take(10) is batch
    assert len(box) == 2
    assert box.jobs == {(1, 1), (2, 1)}
    box.confirm()
    assert not box.emptied
    following = box.take(10)
    assert following is not None
    assert not following.doubtful
    box.confirm()
    assert box.emptied
    assert len(box) == 0


def test_a_full_box() -> None:
    """A box is full at its limit, not before."""
    box = Outbox()
    for number in range(outbox.FULL - 1):
        box.completed(claimed(number))
    assert not box.is_full
    box.completed_with_steps(claimed(0))
    assert box.is_full


@given(st.lists(st.tuples(st.sampled_from(["done", "stepped", "ended", "take", "confirm"]), st.integers(1, 4))))
def test_nothing_is_lost_or_doubled(moves: list[tuple[str, int]]) -> None:
    """Whatever the order of puts and takes, every job is confirmed once, and its length is the difference."""
    box, put, confirmed = Outbox(), 0, list[int]()
    for move, most in [*moves, *[("take", 4), ("confirm", 0)] * (len(moves) + 1)]:
        put += move in {"done", "stepped", "ended"}
        match move:
            case "done":
                box.completed(claimed(put))
            case "stepped":
                box.completed_with_steps(claimed(put))
            case "ended":
                box.ended(claimed(put), INTERRUPTED)
            case "take":
                box.take(most)
            case _ if (batch := box.sending) is not None:
                rows = [*batch.done, *batch.stepped, *(row for row, _ in batch.ended)]
                confirmed += [row.id for row in rows]
                box.confirm()
        assert len(box) == put - len(confirmed)
    assert sorted(confirmed) == list(range(1, put + 1))
