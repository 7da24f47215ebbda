"""What is read of this process whenever somebody looks: slots, handlers, connections, its lease.

Whoever owns one of these says how to read it (`Gauge.read_by`), from whatever thread.
"""

from __future__ import annotations

from typing import Final

from supervisor.telemetry.tallies import Gauge

BUILD: Final = Gauge("supervisor_build_info", "Always 1; the labels say what runs here.", ("version", "python"))
UPTIME: Final = Gauge("supervisor_uptime_seconds", "For how long this process has been working.")
SLOTS: Final = Gauge("supervisor_slots", "How many jobs this process may run at once, taken and free.", ("state",))
UNWRITTEN: Final = Gauge("supervisor_unwritten_jobs", "Jobs that have ended here and are not known to be written.")
LEASE: Final = Gauge(
    "supervisor_lease_left_seconds", "For how long this process can prove its lease; negative: not at all."
)
CONNECTIONS: Final = Gauge(
    "supervisor_pool_connections", "Connections of the pool: lent, idle, and the most that there may be.", ("state",)
)
WAITERS: Final = Gauge("supervisor_pool_waiters", "Actors and handlers that wait for a connection of the pool.")
PRESSURE: Final = Gauge(
    "supervisor_database_pressure_ratio",
    "How near the database is to suffering, by cause; from 1 on it does.",
    ("cause",),
)
BACK_OFF: Final = Gauge(
    "supervisor_poll_factor", "By how much this process looks for jobs more seldom than it is set to."
)
