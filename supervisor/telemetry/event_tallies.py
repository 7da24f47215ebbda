"""What is counted of the events of a tree: restarts, lost leases, outages, a blocked loop."""

from __future__ import annotations

from typing import Final

from supervisor.telemetry.tallies import Tally

RESTARTS: Final = Tally(
    "supervisor_actor_restarts", "Restarts of actors, by the path of the one that failed.", ("actor",)
)
GAVE_UP: Final = Tally("supervisor_supervisors_gave_up", "Supervisors whose children failed too often.", ("actor",))
STALLS: Final = Tally("supervisor_actor_stalls", "Actors found busy for too long without progress.", ("actor",))
ABANDONED: Final = Tally("supervisor_actors_abandoned", "Actors that survived every stage of their stop.", ("actor",))
DEAD_LETTERS: Final = Tally("supervisor_dead_letters", "Messages that reached nobody.", ("reason",))
LOOP_BLOCKS: Final = Tally("supervisor_loop_blocks", "Times that the event loop did not turn for too long.")
LOOP_BLOCKED: Final = Tally(
    "supervisor_loop_blocked_seconds", "For how long it did not turn, all those times together."
)
HANDLERS_ABANDONED: Final = Tally("supervisor_handlers_abandoned", "Handlers that survived their cancel.", ("kind",))
SLOW: Final = Tally("supervisor_slow_jobs", "Runs found to take much longer than their kind usually does.", ("kind",))
LEASES_EXPIRED: Final = Tally(
    "supervisor_leases_expired", "Jobs that this process has taken from workers that would not finish them."
)
QUARANTINED: Final = Tally("supervisor_jobs_quarantined", "Those among them that were lost once too often.")
LEASES_IN_DOUBT: Final = Tally("supervisor_leases_in_doubt", "Times that this process could not prove its own lease.")
WORKERS_LOST: Final = Tally("supervisor_workers_lost", "Times that the database held this process for dead.")
OUTAGES: Final = Tally("supervisor_database_outages", "Times that the database was out of reach.")
OUTAGE: Final = Tally("supervisor_database_outage_seconds", "For how long, those times together that are over.")
QUARANTINES: Final = Tally("supervisor_quarantine_processes", "Processes started for jobs that one died with.")
ESCALATED: Final = Tally("supervisor_jobs_escalated", "Old jobs whose priority this process has raised.", ("queue",))
