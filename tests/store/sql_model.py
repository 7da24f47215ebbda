"""What the functions should do, in Python: a model of jobs, keys and steps, and what the tables say of the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.store.sql_session import Connection, Pair

    Tables = tuple[dict[int, tuple[object, ...]], dict[str, int], set[tuple[object, ...]], dict[int, int]]

MAX_LOSSES = 3
LIVE = {"ready", "running", "waiting", "blocked"}
STATES = """
SELECT id, CASE WHEN claimed_by IS NULL THEN 'ready' ELSE 'running' END AS state, lock_version, attempts, interruptions,
       losses, coalesce(claimed_by, 0) AS worker FROM supervisor.jobs
UNION ALL
SELECT id, CASE WHEN reason = 'blocked' THEN 'blocked' ELSE 'waiting' END, lock_version, attempts, interruptions,
       losses, 0 FROM supervisor.jobs_waiting
UNION ALL
SELECT job_id, status, lock_version, attempts, interruptions, losses, 0
FROM (SELECT DISTINCT ON (job_id) * FROM supervisor.job_history ORDER BY job_id, lock_version DESC) AS newest
WHERE NOT EXISTS (SELECT FROM supervisor.jobs WHERE id = job_id)
  AND NOT EXISTS (SELECT FROM supervisor.jobs_waiting WHERE id = job_id)"""
STEPS = "SELECT job_id, name, done, lock_version FROM supervisor.job_steps"


@dataclass(slots=True)
class Job:
    """What the model knows of a job."""

    most: int
    key: str | None
    state: str
    version: int = 0
    attempts: int = 0
    interruptions: int = 0
    losses: int = 0
    worker: int = 0
    ends: int = 0
    steps: dict[str, tuple[bool, int]] = field(default_factory=dict)

    def row(self) -> tuple[str, int, int, int, int, int]:
        """Return what the database should say of it."""
        return (self.state, self.version, self.attempts, self.interruptions, self.losses, self.worker)


@dataclass(slots=True)
class Model:
    """All jobs that ever were, the keys that live ones have, and every pair of id and fence that a claim gave."""

    jobs: dict[int, Job] = field(default_factory=dict)
    keys: dict[str, int] = field(default_factory=dict)
    pairs: list[Pair] = field(default_factory=list)

    def add(self, job: int, made: Job) -> None:
        """Add a job that was enqueued."""
        assert job not in self.jobs
        self.jobs[job] = made
        if made.key is not None:
            self.keys[made.key] = job

    def free(self, *, suspects: bool) -> set[int]:
        """Return the jobs that a lane may claim."""
        return {job for job, known in self.jobs.items() if known.state == "ready" and (known.losses > 0) == suspects}

    def live(self, pairs: Iterable[Pair]) -> set[int]:
        """Return the jobs of those pairs whose fence holds."""
        return {job for job, version in pairs if (self.jobs[job].state, self.jobs[job].version) == ("running", version)}

    def claim(self, taken: Iterable[Pair], worker: int) -> None:
        """Give jobs to a worker."""
        for job, version in sorted(taken):
            known = self.jobs[job]
            known.state, known.worker = "running", worker
            known.version += 1
            assert known.version == version
            self.pairs.append((job, version))

    def hand_back(self, job: int, reason: str, *, later: bool) -> None:
        """Take a job from its worker, to run again."""
        known = self.jobs[job]
        known.attempts += reason == "retry"
        known.interruptions += reason == "interrupted"
        if known.attempts == known.most:
            self.end(job, "failed")
            return
        known.state = "blocked" if reason == "blocked" else "waiting" if later else "ready"
        known.worker = 0
        known.version += 1

    def end(self, job: int, status: str) -> None:
        """End a job."""
        known = self.jobs[job]
        known.state, known.worker = status, 0
        known.ends += 1
        if known.key is not None:
            del self.keys[known.key]

    def release(self, held: set[int], released: dict[int, bool], *, cost: int) -> None:
        """Release what a worker holds, and check which of it is quarantined."""
        assert set(released) == held
        for job, quarantined in released.items():
            known = self.jobs[job]
            known.version += 1
            known.losses += cost
            known.interruptions += 1 - cost
            assert quarantined == (cost == 1 and known.losses == MAX_LOSSES)
            if quarantined:
                self.end(job, "quarantined")
            else:
                known.state, known.worker = "ready", 0

    def retry(self, job: int) -> str | None:
        """Bring a job back, and return what stands against it."""
        known = self.jobs[job]
        if known.state in {"waiting", "blocked"}:
            known.state = "ready"
            return None
        if known.state in LIVE:
            return "live"
        if known.state == "completed":
            return "completed"
        if known.key is not None and self.keys.setdefault(known.key, job) != job:
            return "key taken"
        known.state, known.attempts, known.losses = "ready", 0, 0
        known.version += 1
        return None

    def may_record(self, job: int, name: str, *, done: bool) -> bool:
        """Whether nothing is recorded that this contradicts: results are all the same here, and so are places."""
        known = self.jobs[job]
        was_done, version = known.steps.get(name, (False, known.version))
        return version == known.version and done >= was_done

    def resolve(self, job: int, name: str, *, again: bool) -> bool:
        """Say what became of a step, and return whether that was unknown."""
        known = self.jobs[job]
        was_done, version = known.steps.get(name, (True, 0))
        if known.state != "blocked" or was_done:
            return False
        del known.steps[name]
        if not again:
            known.steps[name] = (True, version)
        if all(done for done, _ in known.steps.values()):
            known.state = "ready"
        return True

    def tables(self) -> Tables:
        """Return what the tables should say: states, keys, steps, and how often each job ended."""
        return (
            {job: known.row() for job, known in self.jobs.items()},
            self.keys,
            {(job, name, *step) for job, known in self.jobs.items() for name, step in known.steps.items()},
            {job: known.ends for job, known in self.jobs.items() if known.ends},
        )


async def tables(opened: Connection) -> Tables:
    """Return what the tables say of the same, each live job once."""
    rows = await opened.fetch(STATES)
    states: dict[int, tuple[object, ...]] = {row[0]: tuple(row)[1:] for row in rows}
    assert len(states) == len(rows)
    keys = await opened.fetch("SELECT unique_key, job_id FROM supervisor.job_keys")
    ends = await opened.fetch("SELECT job_id, count(*) FROM supervisor.job_history GROUP BY job_id")
    return (
        states,
        {row[0]: row[1] for row in keys},
        {tuple(row) for row in await opened.fetch(STEPS)},
        {row[0]: row[1] for row in ends},
    )
