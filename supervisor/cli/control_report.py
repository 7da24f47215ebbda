"""Shows what a change of a switch did: what holds now, who has confirmed it, what it stopped and what to do next."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import typer

from supervisor.cli import switch_words, times
from supervisor.cli.json_answer import show_json
from supervisor.cli.text_table import colours_wanted, counted, plain, styled

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from supervisor.cli.control_change import Outcome
    from supervisor.store.control import Confirmation, Switches, Unconfirmed

_SHOWN: Final = 10
_LABEL: Final = 10
_MILLISECONDS_BELOW: Final = 1.0


def show_outcome(outcome: Outcome) -> None:
    """Print it, for people or for programs."""
    if outcome.terms.as_json:
        show_json(_document(outcome))
        return
    for line in _lines(outcome):
        typer.echo(line)
    note = _note(outcome)
    if note is not None:
        typer.echo(note, err=True)


def confirmation_lines(found: Confirmation, *, waited: bool, off: bool) -> Iterator[str]:
    """Say how many live workers have confirmed, and name the others; `off`: with what holds for them all the same."""
    colours = colours_wanted()
    if not found.of:
        yield row("confirmed", "no worker is live; one that starts reads the switches first")
        return
    count = f"{found.confirmed}/{found.of} workers"
    if not found.missing:
        took = f" in {_took(found.seconds)}" if waited else ""
        yield row("confirmed", styled(f"{count}{took}", "green", colours=colours))
        return
    after = f" after {_took(found.seconds)}" if waited else ""
    yield row("confirmed", styled(f"{count}{after}; not yet:", "yellow", colours=colours))
    for one in found.missing[:_SHOWN]:
        yield row("", f"worker {one.worker}, {plain(one.host)} ({plain(one.name)})")
    if len(found.missing) > _SHOWN:
        yield row("", f"and {len(found.missing) - _SHOWN} more; --json lists all")
    if off:
        yield row("", "what is off starts there neither: each claim asks the database; what runs there may go on")
        yield row("", "until the worker hears of it, or until its lease is over")
    else:
        yield row("", "they go on by themselves: each looks anew every few seconds")
    yield row("", f"how they are: {switch_words.PROGRAM} workers")


def confirmation_document(found: Confirmation) -> Mapping[str, object]:
    """Return the same for programs."""
    return {
        "confirmed": found.confirmed,
        "of": found.of,
        "seconds": round(found.seconds, 6),
        "missing": [_missing(one) for one in found.missing],
    }


def row(label: str, text: str) -> str:
    """Write a line of a report: an indented label, and the text in one column with the others."""
    return f"  {label:{_LABEL}}  {text}".rstrip()


def _lines(outcome: Outcome) -> Iterator[str]:
    wanted, change, terms = outcome.wanted, outcome.change, outcome.terms
    head = switch_words.headline(wanted.scope.value, wanted.name, wanted.value)
    if terms.dry_run:
        head = f"dry run, nothing was changed; it would be: {head}"
    elif not change.changed:
        head = f"{head}; it was so before, nothing was changed"
    yield styled(head, "bold", colours=colours_wanted())
    if change.before.get("value") == wanted.value:
        yield from _before(outcome)
    if outcome.stops:
        yield from _effect(outcome)
    if outcome.stops and (change.changed or terms.dry_run) and outcome.expires_at is not None:
        left = times.relative(outcome.expires_at, outcome.now)
        yield row("turns back", f"by itself {left} ({_utc(outcome.expires_at)})")
    if outcome.confirmation is not None:
        yield from confirmation_lines(outcome.confirmation, waited=bool(terms.wait), off=outcome.stops)
    if terms.dry_run:
        yield row("next", "the same without --dry-run does it")
    elif outcome.stops:
        yield row("undo", switch_words.back(wanted.scope.value, wanted.name))
    elif others := still_off(outcome.switches):
        yield row("still off", f"{others}; see: {switch_words.PROGRAM} kill-switch")


def _before(outcome: Outcome) -> Iterator[str]:
    """Say who had set it so before, and until when."""
    before = outcome.change.before
    if before.get("since") is None:
        return
    age = times.short((outcome.now - datetime.fromisoformat(str(before["since"]))).total_seconds())
    ends = before.get("expires_at")
    until = "" if ends is None else f", until {_utc(datetime.fromisoformat(str(ends)))}"
    who, why = plain(str(before.get("actor"))), plain(str(before.get("reason")))
    yield row("so for", f"{age}{until}, by {who}: {why}")


def _effect(outcome: Outcome) -> Iterator[str]:
    terms, effect = outcome.terms, outcome.effect
    if terms.cancel_running and not terms.dry_run:
        if outcome.cancelled is None:
            yield row("running", "not all are stopped yet; the workers go on with it")
        else:
            yield row("running", f"{counted(outcome.cancelled, 'job')} stopped, at the cost of no attempt")
        return
    if effect is None or effect.stopped_running is None:
        return
    about = "" if effect.exact else "about "
    if terms.dry_run and effect.stopped_waiting is not None:
        yield row("waiting", f"{about}{counted(effect.stopped_waiting, 'job')} would not start")
    running = f"{about}{counted(effect.stopped_running, 'job')}"
    if not effect.stopped_running:
        yield row("running", "nothing in its scope runs")
    elif terms.dry_run and terms.cancel_running:
        yield row("running", f"{running} would be stopped")
    else:
        would = "would go on" if terms.dry_run else "goes on" if effect.stopped_running == 1 else "go on"
        them = "it" if effect.stopped_running == 1 else "them"
        yield row("running", f"{running} {would}; the same with --cancel-running stops {them}")
    for job in effect.running[: _SHOWN if terms.dry_run else 0]:
        tenant = "" if job.tenant is None else f", tenant {plain(job.tenant)}"
        yield row("", f"job {job.id} {plain(job.kind)}{tenant}, on worker {job.worker}")
    if terms.dry_run and effect.stopped_running > _SHOWN:
        yield row("", f"and {effect.stopped_running - _SHOWN} more; --json lists up to 100")


def still_off(switches: Switches) -> str:
    """Name what is off, in one line: `mode safe_mode, tenants acme, beta`."""
    groups = (
        ("services", switches.off_services),
        ("tenants", switches.off_tenants),
        ("queues", switches.off_queues),
        ("kinds", switches.off_kinds),
    )
    parts = ["kill switch"] if switches.killed else []
    parts += [] if switches.mode == "normal" else [f"mode {switches.mode}"]
    for title, names in groups:
        if names:
            more = "" if len(names) <= _SHOWN else f" and {len(names) - _SHOWN} more"
            parts.append(f"{title} {', '.join(map(plain, names[:_SHOWN]))}{more}")
    return "; ".join(parts)


def _note(outcome: Outcome) -> str | None:
    if outcome.hints is None:
        return None
    scope, name = outcome.wanted.scope.value, outcome.wanted.name
    meant = f"did you mean {' or '.join(map(plain, outcome.hints))}?" if outcome.hints else "is it spelt right?"
    return f"supervisor: no worker has ever offered a job of {scope} {plain(name or '')!r}; {meant}"


def _took(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < _MILLISECONDS_BELOW else times.short(seconds)


def _utc(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _missing(one: Unconfirmed) -> Mapping[str, object]:
    return {"worker": one.worker, "name": one.name, "host": one.host, "confirmed_epoch": one.confirmed_epoch}


def _document(outcome: Outcome) -> Mapping[str, object]:
    wanted, change, terms = outcome.wanted, outcome.change, outcome.terms
    found, effect = outcome.confirmation, outcome.effect
    return {
        "scope": wanted.scope.value,
        "name": wanted.name,
        "value": wanted.value,
        "changed": change.changed,
        "dry_run": terms.dry_run,
        "epoch": change.epoch,
        "before": change.before,
        "after": change.after,
        "reason": terms.reason,
        "expires_at": times.absolute(outcome.expires_at),
        "stops_waiting": effect.stopped_waiting if effect and terms.dry_run else None,
        "runs_on": None if effect is None else effect.stopped_running,
        "is_exact": None if effect is None else effect.exact,
        "running": [] if effect is None else [asdict(job) for job in effect.running],
        "cancelled_running": outcome.cancelled,
        "is_known": outcome.hints is None,
        "confirmation": None if found is None else confirmation_document(found),
    }
