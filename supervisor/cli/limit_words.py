"""Says in words what a limit is: `never more than 10 in any hour, for each tenant, of service scans`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from supervisor.cli.limit_options import amount_text
from supervisor.cli.text_table import plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from supervisor.store.limit_rows import LimitRow

_PLACES: Final[Mapping[str, str]] = {
    "start": "",
    "enqueue": "; more are refused at the enqueue",
    "call": "; for what handlers ask for by its name",
}


def amount(limit: LimitRow) -> str:
    """Write how much in which time, as `limits set` reads it: `10/h`."""
    return amount_text(limit.form, limit.amount, limit.period_s, limit.unit)


def whom(limit: LimitRow) -> str:
    """Name the jobs that it is for: `service scans, tenant acme`; empty for all."""
    chosen = {"service": limit.service, "kind": limit.kind, "queue": limit.queue, "tenant": limit.tenant}
    return ", ".join(f"{field} {plain(name)}" for field, name in chosen.items() if name is not None)


def sentence(limit: LimitRow) -> str:
    """Say all of it."""
    size = amount(limit)
    match limit.form:
        case "window":
            text = f"never more than {size.partition('/')[0]} in any {_long(size.partition('/')[2])}"
        case "rate":
            text = f"evenly {size}" + (f", up to {limit.burst} at once" if (limit.burst or 1) > 1 else "")
        case "concurrency":
            text = f"{size} at the same time"
        case "quota" | "budget":
            what = "" if limit.form == "quota" else " to spend"
            zone = f" ({plain(limit.zone)})" if limit.zone else ""
            text = f"{limit.amount:.15g}{what} in each {limit.unit}{zone}"
    if limit.by:
        text += f", for each {' and '.join(map(plain, limit.by))}"
    chosen = whom(limit)
    text += (f", of {chosen}" if chosen else "") + _PLACES[limit.place]
    if limit.on_spent == "pause":
        text += "; when it is spent, what it is for is paused until the period turns"
    return text + ("; in the shadow: it only counts" if limit.shadow else "")


def document(limit: LimitRow) -> Mapping[str, object]:
    """Return it for programs."""
    period = None if limit.period_s is None else float(limit.period_s)
    return {**asdict(limit), "by": list(limit.by), "amount": float(limit.amount), "period_s": period}


def _long(period: str) -> str:
    return {"s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week"}.get(period, period)
