"""The kinds of jobs that one process can run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor.errors import ConfigError
from supervisor.jobs.job import Job

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Catalog:
    """Jobs by kind. Raises ConfigError for two of one kind, and for what is no job."""

    __slots__ = ("_jobs",)

    def __init__(self, jobs: Iterable[Job[object]] = ()) -> None:
        self._jobs: dict[str, Job[object]] = {}
        for place, job in enumerate(jobs):
            if not isinstance(job, Job):
                raise ConfigError(f"App: jobs[{place}] is {job!r}: put @job() above the function")
            if job.kind in self._jobs:
                raise ConfigError(f"App: two jobs of kind {job.kind!r}: give one of them another kind")
            self._jobs[job.kind] = job

    def __getitem__(self, kind: str) -> Job[object]:
        return self._jobs[kind]

    def __contains__(self, kind: object) -> bool:
        return kind in self._jobs

    def __iter__(self) -> Iterator[Job[object]]:
        return iter(self._jobs.values())

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def kinds(self) -> list[str]:
        """All kinds, sorted."""
        return sorted(self._jobs)

    @property
    def queues(self) -> list[str]:
        """The queues in which these jobs wait by default, sorted, each once."""
        return sorted({job.queue for job in self})
