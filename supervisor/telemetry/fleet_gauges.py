"""What the database knows of the whole fleet, as it was measured last.

Every process shows the same, so an alert takes the `max`, not the `sum`.
"""

from __future__ import annotations

from typing import Final

from supervisor.telemetry.tallies import Gauge

QUEUE_JOBS: Final = Gauge("supervisor_queue_jobs", "Live jobs of a queue, by what they wait for.", ("queue", "state"))
QUEUE_DEPTH: Final = Gauge(
    "supervisor_queue_depth_jobs", "Jobs that wait to run now or as soon as they are let.", ("queue",)
)
QUEUE_MOST: Final = Gauge("supervisor_queue_max_depth_jobs", "The depth at which a queue takes no more.", ("queue",))
QUEUE_AGE: Final = Gauge(
    "supervisor_queue_oldest_ready_seconds", "For how long the first job has been ready.", ("queue",)
)
QUEUE_COMPLETED: Final = Gauge("supervisor_queue_completed_1h_jobs", "Jobs completed within the last hour.", ("queue",))
QUEUE_FAILED: Final = Gauge("supervisor_queue_failed_1h_jobs", "Jobs failed for good within the last hour.", ("queue",))
KIND_SECONDS: Final = Gauge(
    "supervisor_kind_duration_seconds", "Quantiles of what runs of a kind took within a day.", ("kind", "quantile")
)
KIND_FAILED: Final = Gauge("supervisor_kind_failed_24h_jobs", "Jobs of a kind failed within a day.", ("kind",))
AGE: Final = Gauge("supervisor_figures_age_seconds", "How old these figures are, by what was measured.", ("part",))
WORKERS: Final = Gauge("supervisor_workers", "Workers that are not over, by status.", ("status",))
SILENT: Final = Gauge("supervisor_workers_stale", "Workers silent for 30 s, or for their whole lease.")
HUNG: Final = Gauge("supervisor_workers_stopping_hung", "Workers whose stop does not come to its end.")
VERSIONS: Final = Gauge("supervisor_worker_versions", "Different versions among the workers that live.")
HEARTBEAT_AGE: Final = Gauge("supervisor_heartbeat_age_seconds", "The longest silence of any worker that lives.")
STARTS: Final = Gauge("supervisor_worker_starts_1h", "Workers started within the last hour.")
LOST: Final = Gauge("supervisor_workers_lost_24h", "Workers found dead within the last day.")
SINGLETONS: Final = Gauge("supervisor_singletons_doubled", "Singletons that more than one live worker holds.")
UNCONFIRMED: Final = Gauge("supervisor_workers_unconfirmed", "Live workers that do not know the newest switches yet.")
KILLED: Final = Gauge("supervisor_kill_switch_active", "1 while the kill switch is on.")
KILL_COUNT: Final = Gauge("supervisor_kill_switch_activations", "How often the kill switch was ever put on.")
KILL_SECONDS: Final = Gauge("supervisor_kill_switch_active_seconds", "For how long it was ever on, up to now.")
MODE: Final = Gauge("supervisor_mode", "1 for the mode that is set.", ("mode",))
MODE_CHANGES: Final = Gauge("supervisor_mode_changes", "How often the mode was ever changed.")
DISABLES: Final = Gauge("supervisor_service_disables", "How often a service was ever disabled.")
OFF: Final = Gauge("supervisor_switched_off", "How many services, tenants, queues and kinds are off.", ("scope",))
CHANGES: Final = Gauge("supervisor_control_changes", "How often switches and limits were ever changed.", ("action",))
REFUSED: Final = Gauge("supervisor_control_refusals", "How often such a change was refused.")
MIGRATIONS: Final = Gauge("supervisor_migrations_unfinished", "Migrations that were begun and not known to have ended.")
MIGRATIONS_FAILED: Final = Gauge("supervisor_migration_failures", "Migrations that ever failed here.")
SNAPSHOT: Final = Gauge(
    "supervisor_database_oldest_snapshot_seconds", "The age of the oldest transaction that holds rows."
)
DEAD_ROWS: Final = Gauge("supervisor_database_dead_rows", "Dead rows in the table of jobs, as PostgreSQL counts them.")
LIVE_ROWS: Final = Gauge("supervisor_database_live_rows", "Live rows in the table of jobs, as PostgreSQL counts them.")
LIMIT_USED: Final = Gauge("supervisor_limit_used_ratio", "The used part of a limit, of its fullest key.", ("limit",))
LIMIT_GRANTED: Final = Gauge(
    "supervisor_limit_granted_permits", "Permits given, over all keys that are known.", ("limit",)
)
LIMIT_HELD_BACK: Final = Gauge(
    "supervisor_limit_held_back_permits", "Permits that had to wait or were refused.", ("limit",)
)
LIMIT_SHADOWED: Final = Gauge(
    "supervisor_limit_shadowed_permits", "Permits that a limit in shadow mode would have held back.", ("limit",)
)
