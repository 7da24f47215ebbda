"""What an enqueue is for: a job that this program knows, or the name of a kind that some worker knows."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from supervisor.errors import EnqueueRefused
from supervisor.jobs.enqueue_options import checked_kind
from supervisor.jobs.job import Job
from supervisor.jobs.payload import Payload
from supervisor.jobs.payload_lines import lines_of
from supervisor.jobs.stored_size import check_stored
from supervisor.store.kinds import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class Target(Generic[A]):
    """The kind, the type of its arguments as far as it is known, and the job itself if that is known here."""

    kind: str
    payload: Payload[A]
    job: Job[A] | None = None

    @property
    def destination(self) -> str:
        """The queue as far as it is known, else the kind: for people who read traces."""
        return self.kind if self.job is None else self.job.queue

    def encode(self, args: A) -> str:
        """Write arguments as JSON; raises InvalidPayload."""
        if args is None and self.job is None:
            return "{}"  # as plain SQL does: a job without arguments stores an object, which can grow fields
        text = self.payload.encode(args)
        check_stored(self.kind, text)
        return text

    def encode_many(self, args: list[A]) -> list[str] | None:
        """Write many at once; None if one of them needs a closer look."""
        if self.job is None and any(each is None for each in args):
            return None
        return lines_of(self.payload).encode(args)


def target_of(job: Job[A] | str) -> Target[A]:
    """Return the target of an enqueue; EnqueueRefused for what is neither a job nor the name of a kind."""
    if isinstance(job, Job):
        return Target(job.kind, job.payload, job)
    return cast("Target[A]", _named(checked_kind(job)))


def kind_of(job: Job[A]) -> Kind:
    """Return what the database keeps of a job."""
    return Kind(job.kind, job.queue, job.service, job.max_attempts, job.timeout, job.changes, job.essential)


def unknown_kind(target: Target[A], known: Sequence[str]) -> EnqueueRefused:
    """Return the error for a kind that is not among the known ones."""
    if target.job is not None:
        return EnqueueRefused(
            f"kind={target.kind!r}: was made known only now, after the snapshot of conn's transaction; "
            "await client.offer(job) before the transaction begins"
        )
    close = difflib.get_close_matches(target.kind, known, n=3)
    meant = f"did you mean {' or '.join(map(repr, close))}? If not, " if close else ""
    return EnqueueRefused(
        f"kind={target.kind!r}: no worker has ever offered jobs of this kind; {meant}"
        "pass the job itself instead of its name, or start a worker whose App lists it once"
    )


@lru_cache(maxsize=256)
def _named(kind: str) -> Target[object]:
    return Target(kind, Payload(kind, cast("type[object]", Any)))
