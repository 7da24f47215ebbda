"""What is to be written about jobs whose handlers have ended, until the database has confirmed it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from supervisor.tree.signal import Signal

if TYPE_CHECKING:
    from supervisor.jobs.outcomes import Decision
    from supervisor.store.job_rows import ClaimedJob

    Verdict: TypeAlias = "tuple[ClaimedJob, Decision]"

T = TypeVar("T")

FULL: Final = 10_000
"""Jobs; with so many unwritten nothing more is claimed."""


class Batch:
    """What is being written. Its parts are emptied as they are confirmed.

    done: completed. stepped: completed, and their steps are to go. ended: everything else. doubtful: an earlier attempt
    to write it may have succeeded.
    """

    __slots__ = ("done", "doubtful", "ended", "stepped")

    def __init__(self, done: list[ClaimedJob], stepped: list[ClaimedJob], ended: list[Verdict]) -> None:
        self.done = done
        self.stepped = stepped
        self.ended = ended
        self.doubtful = False

    def __len__(self) -> int:
        return len(self.done) + len(self.stepped) + len(self.ended)


class Outbox:
    """Filled by the handlers' ends, emptied by the completer; it outlives both actors.

    filled: set when something is put into the empty box. emptied: set when the last of it has been confirmed. sending:
    what is being written; it stays here until it is confirmed.
    """

    __slots__ = ("_done", "_ended", "_stepped", "emptied", "filled", "sending")

    def __init__(self) -> None:
        self.filled = Signal()
        self.emptied = Signal()
        self.sending: Batch | None = None
        self._done: list[ClaimedJob] = []
        self._stepped: list[ClaimedJob] = []
        self._ended: list[Verdict] = []

    def __len__(self) -> int:
        """How many jobs are not known to be written."""
        waiting = len(self._done) + len(self._stepped) + len(self._ended)
        return waiting if self.sending is None else waiting + len(self.sending)

    @property
    def is_full(self) -> bool:
        """Whether nothing more should be started."""
        return len(self) >= FULL

    @property
    def jobs(self) -> set[tuple[int, int]]:
        """The id and lock_version of every job in it."""
        sending = self.sending or Batch([], [], [])
        done = (*self._done, *self._stepped, *sending.done, *sending.stepped)
        return {(row.id, row.lock_version) for row in (*done, *(row for row, _ in (*self._ended, *sending.ended)))}

    def completed(self, row: ClaimedJob) -> None:
        """The job has done its work. The hot path: one test and one append."""
        if not self._done:
            self.filled.set()
        self._done.append(row)

    def completed_with_steps(self, row: ClaimedJob) -> None:
        """The job has done its work, and has steps or progress on record, which are to go with it."""
        self._stepped.append(row)
        self.filled.set()

    def ended(self, row: ClaimedJob, decision: Decision) -> None:
        """Anything else became of the job; a decision that is not ours to write is none."""
        if decision.is_ours:
            self._ended.append((row, decision))
            self.filled.set()

    def take(self, most: int) -> Batch | None:
        """Make what waits, up to `most` of each sort, the batch that is sent; None if nothing waits.

        While a batch is unconfirmed, that one is given again.
        """
        if self.sending is None and (self._done or self._stepped or self._ended):
            self.sending = Batch(_cut(self._done, most), _cut(self._stepped, most), _cut(self._ended, most))
        return self.sending

    def confirm(self) -> None:
        """All of the batch is settled."""
        self.sending = None
        if not len(self):
            self.emptied.set()


def _cut(box: list[T], most: int) -> list[T]:
    head = box[:most]
    del box[:most]
    return head
