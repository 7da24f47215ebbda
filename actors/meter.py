"""Counts the events of the tree, and lets the state of this process be read, for its metrics."""

from __future__ import annotations

import math
import platform
import time
from typing import TYPE_CHECKING, Never

from actors.event_counter import counting
from actors.fleet_shown import reading
from supervisor.jobs import lease as leases
from supervisor.telemetry import process_gauges as gauges
from supervisor.tree.actor import Actor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from supervisor.jobs.lease import Lease
    from supervisor.jobs.outbox import Outbox
    from supervisor.jobs.pressure import Pressure
    from supervisor.jobs.slots import Slots
    from supervisor.store.database import Database
    from supervisor.telemetry.tallies import Labels


class Meter(Actor[Never]):
    """Reads what the others share; nobody waits for it, and the counts outlive it."""

    def __init__(  # noqa: PLR0913 - what it reads
        self,
        database: Database,
        lease: Lease,
        slots: Slots,
        outbox: Outbox,
        pressure: Pressure,
        *,
        version: str,
    ) -> None:
        self._database = database
        self._lease = lease
        self._slots = slots
        self._outbox = outbox
        self._pressure = pressure
        self._version = version
        self._began = time.monotonic()

    async def setup(self) -> None:
        """Begin to listen, and to be read."""
        gauges.BUILD.set_all({(self._version, platform.python_version()): 1.0})
        await self.enter(counting(self._life.runtime))
        for gauge, ask in (
            (gauges.UPTIME, self._uptime),
            (gauges.SLOTS, self._read_slots),
            (gauges.UNWRITTEN, self._read_outbox),
            (gauges.LEASE, self._read_lease),
            (gauges.CONNECTIONS, self._read_pool),
            (gauges.WAITERS, self._read_waiters),
            (gauges.PRESSURE, self._read_pressure),
            (gauges.BACK_OFF, self._read_factor),
        ):
            await self.enter(reading(gauge, ask))

    async def run(self) -> None:
        """Wait for the stop."""
        await self.sleep(math.inf)

    # --- read by whatever thread asks: each is one look at what the loop's thread writes ---------------

    def _uptime(self) -> Mapping[Labels, float]:
        return {(): time.monotonic() - self._began}

    def _read_slots(self) -> Mapping[Labels, float]:
        free, total = self._slots.free, self._slots.total
        return {("taken",): total - free, ("free",): max(free, 0)}

    def _read_outbox(self) -> Mapping[Labels, float]:
        return {(): len(self._outbox)}

    def _read_lease(self) -> Mapping[Labels, float]:
        left = self._lease.trusted_until - leases.now()
        return {(): left if math.isfinite(left) else 0.0}

    def _read_pool(self) -> Mapping[Labels, float]:
        use = self._database.use
        return {("lent",): use.lent, ("idle",): use.idle, ("most",): use.most}

    def _read_waiters(self) -> Mapping[Labels, float]:
        return {(): self._database.use.waiting}

    def _read_pressure(self) -> Mapping[Labels, float]:
        return {(cause.value,): ratio for cause, ratio in self._pressure.ratios.items()}

    def _read_factor(self) -> Mapping[Labels, float]:
        return {(): self._pressure.factor}
