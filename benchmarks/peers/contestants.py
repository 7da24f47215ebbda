"""The queues that are measured beside ours, each at its best tuning and some at their defaults."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

NODE: Final = "node"
PYTHON: Final = "python"
OURS: Final = "ours"


@dataclass(frozen=True, slots=True)
class Contestant:
    """One queue with one tuning.

    `label` is how people know it, `database` what its database is called (shared by tunings of one queue), `runtime`
    what it runs on and `script` what of it. `jobs` are drained in one round. `order` is its tuning. `clean` empties it.
    """

    label: str
    database: str
    runtime: str
    script: str
    jobs: int
    clean: tuple[str, ...]
    order: Mapping[str, object] = field(default_factory=dict)
    is_best: bool = True
    """Whether it is the tuning that counts; the others show what a user gets without tuning."""


_GRAPHILE: Final = ("TRUNCATE graphile_worker._private_jobs",)
_BOSS: Final = ("DELETE FROM pgboss.job", "VACUUM pgboss.job_common")
_PGQUEUER: Final = ("TRUNCATE pgqueuer, pgqueuer_log",)
_PROCRASTINATE: Final = ("TRUNCATE procrastinate_jobs CASCADE",)
_OURS: Final = ("TRUNCATE supervisor.jobs, supervisor.jobs_waiting, supervisor.job_history, supervisor.job_keys",)
_MANY: Final = 100_000

CONTESTANTS: Final = (
    Contestant("supervisor-runtime, concurrency 1000", "ours", OURS, "", _MANY, _OURS, {"concurrency": 1000}),
    Contestant("supervisor-runtime, defaults", "ours", OURS, "", _MANY, _OURS, {"concurrency": 100}, is_best=False),
    Contestant(
        "graphile-worker, local queue 2000",
        "graphile",
        NODE,
        "graphile.mjs",
        _MANY,
        _GRAPHILE,
        {"local": 2000, "delay": 5},
    ),
    Contestant(
        "graphile-worker, local queue 500",
        "graphile",
        NODE,
        "graphile.mjs",
        _MANY,
        _GRAPHILE,
        {"local": 500, "delay": 0},
    ),
    Contestant("graphile-worker, defaults", "graphile", NODE, "graphile.mjs", 20_000, _GRAPHILE, {}, is_best=False),
    Contestant("pg-boss, 2 × 2000", "boss", NODE, "pgboss.mjs", _MANY, _BOSS, {"fetch": 2000, "workers": 2}),
    Contestant(
        "PgQueuer, 2 × 500", "pgqueuer", PYTHON, "pgqueuer_contest.py", _MANY, _PGQUEUER, {"fetch": 500, "workers": 2}
    ),
    Contestant(
        "Procrastinate, concurrency 20",
        "procrastinate",
        PYTHON,
        "procrastinate_contest.py",
        10_000,
        _PROCRASTINATE,
        {"concurrency": 20},
    ),
)
