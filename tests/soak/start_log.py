"""Records in the database itself every start and end of a claim, and every state of the switches.

A claim reads the time while it holds the lock shared, a change while it holds it alone. So a start that is later than a
change was allowed by it, or is a violation, whatever clients and processes believe. A job that ends after a claim has
read the time may still give it its permit: `noted_at` is after all that a claim has looked at.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import asyncpg

SCRIPT: Final = """
    CREATE TABLE public.start_log (
        job bigint NOT NULL, fence integer NOT NULL, queue text NOT NULL, kind text NOT NULL, service text NOT NULL,
        tenant text, changes boolean NOT NULL, essential boolean NOT NULL, worker bigint NOT NULL,
        at timestamptz NOT NULL, noted_at timestamptz NOT NULL
    );
    CREATE TABLE public.end_log (job bigint NOT NULL, fence integer NOT NULL, at timestamptz NOT NULL);
    CREATE FUNCTION public.log_start() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO public.start_log VALUES (NEW.id, NEW.lock_version, NEW.queue, NEW.kind, NEW.service, NEW.tenant,
                                             NEW.changes, NEW.essential, NEW.claimed_by, NEW.claimed_at,
                                             clock_timestamp());
        RETURN NULL;
    END $$;
    CREATE TRIGGER log_claim AFTER UPDATE ON supervisor.jobs FOR EACH ROW
        WHEN (OLD.claimed_by IS NULL AND NEW.claimed_by IS NOT NULL) EXECUTE FUNCTION public.log_start();
    CREATE FUNCTION public.log_end() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO public.end_log VALUES (OLD.id, OLD.lock_version, clock_timestamp());
        RETURN NULL;
    END $$;
    CREATE TRIGGER log_release AFTER UPDATE ON supervisor.jobs FOR EACH ROW
        WHEN (OLD.claimed_by IS NOT NULL AND NEW.claimed_by IS NULL) EXECUTE FUNCTION public.log_end();
    CREATE TRIGGER log_delete AFTER DELETE ON supervisor.jobs FOR EACH ROW
        WHEN (OLD.claimed_by IS NOT NULL) EXECUTE FUNCTION public.log_end();
    CREATE TRIGGER log_insert AFTER INSERT ON supervisor.jobs FOR EACH ROW
        WHEN (NEW.claimed_by IS NOT NULL) EXECUTE FUNCTION public.log_start();

    CREATE TABLE public.switch_log (
        epoch bigint NOT NULL, killed boolean NOT NULL, mode text NOT NULL, services text[] NOT NULL,
        tenants text[] NOT NULL, queues text[] NOT NULL, kinds text[] NOT NULL, at timestamptz NOT NULL
    );
    CREATE FUNCTION public.log_switches() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO public.switch_log VALUES (NEW.epoch, NEW.killed, NEW.mode, NEW.off_services, NEW.off_tenants,
                                              NEW.off_queues, NEW.off_kinds, clock_timestamp());
        RETURN NULL;
    END $$;
    CREATE TRIGGER log_switches AFTER UPDATE ON supervisor.control FOR EACH ROW
        WHEN (OLD.epoch <> NEW.epoch) EXECUTE FUNCTION public.log_switches();
"""


async def watch(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """Record from now on."""
    await connection.execute(SCRIPT)


async def violations(connection: asyncpg.Connection[asyncpg.Record]) -> list[str]:
    """List every start that the switches of its moment forbade, and every epoch that did not follow on its former."""
    switches = await connection.fetch("SELECT * FROM public.switch_log ORDER BY at")
    starts = await connection.fetch("SELECT * FROM public.start_log ORDER BY at")
    return [*_disorder(switches), *_forbidden(switches, starts)]


def _disorder(switches: Sequence[asyncpg.Record]) -> Iterator[str]:
    for former, later in pairwise(switches):
        if later["epoch"] != former["epoch"] + 1:
            yield f"epoch {former['epoch']} was followed by {later['epoch']}"


def _forbidden(switches: Sequence[asyncpg.Record], starts: Sequence[asyncpg.Record]) -> Iterator[str]:
    times = [row["at"] for row in switches]
    for start in starts:
        place = bisect_right(times, start["at"]) - 1
        reason = None if place < 0 else forbids(switches[place], start)
        if reason is not None:
            since = (start["at"] - times[place]).total_seconds()
            yield f"job {start['job']} started {since:.6f} s after {reason} (epoch {switches[place]['epoch']})"


def forbids(switches: asyncpg.Record, start: asyncpg.Record) -> str | None:
    """Say what of these switches forbids such a job to start; written anew here, from what the switches promise."""
    if switches["killed"]:
        return "the kill switch was activated"
    if switches["mode"] == "observe_only" and start["changes"]:
        return "observe_only began"
    if switches["mode"] == "safe_mode" and not start["essential"]:
        return "safe_mode began"
    for scope in ("service", "tenant", "queue", "kind"):
        if start[scope] in switches[f"{scope}s"]:
            return f"{scope} {start[scope]} was switched off"
    return None
