"""Rules on effects: what a step did outside or inside of the database, it did once."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.soak.history import History
    from tests.soak.judgement import Judgement, Rule

CALLS: Final[Mapping[str, tuple[str, ...]]] = {"order": ("reserve", "charge"), "ship": ("ship",), "crunch": ("crunch",)}
"""The steps of each kind that call the service outside."""
ROWS: Final[Mapping[str, tuple[str, ...]]] = {"ledger": ("entry", "end"), "entry": ("entry",)}
"""Those that write to the database."""


def _nothing_on_record_is_repeated(history: History, _: Judgement) -> Iterator[str]:
    """A step on record is not called again by a later run."""
    on_record: dict[tuple[int, str], int] = {}
    for entry in history.of("called", "passed"):
        name = entry.text.partition(" ")[0]
        place = entry.job, name
        if entry.what == "passed":
            on_record[place] = max(on_record.get(place, 0), entry.fence)
        elif entry.fence > on_record.get(place, entry.fence):
            yield f"job {entry.job}: step {name} was called under fence {entry.fence}, and it was on record"


def _one_order_each(history: History, judgement: Judgement) -> Iterator[str]:
    """A step has one key in all runs, its order is placed, and what may be called once is."""
    keys: dict[tuple[int, str], set[str]] = defaultdict(set)
    calls: Counter[tuple[int, str]] = Counter()
    kinds = {row["id"]: row["kind"] for row in (*history.live, *history.past)}
    for entry in history.of("called"):
        name, _, key = entry.text.partition(" ")
        keys[entry.job, name].add(key)
        calls[entry.job, name] += 1
    for (job, name), found in keys.items():
        if len(found) > 1:
            yield f"job {job}: step {name} has {len(found)} idempotency keys"
        if kinds.get(job) == "ship" and calls[job, name] > 1:
            yield f"job {job}: step {name} may be called once and was called {calls[job, name]} times"
    for row in history.past:
        for name in CALLS.get(row["kind"], ()):
            if row["status"] == "completed" and not keys[row["id"], name] & history.orders:
                yield f"job {row['id']} is completed, and there is no order of its step {name}"


def _one_row_each(history: History, _: Judgement) -> Iterator[str]:
    """What is written together with the record, or with the end of the job, is there exactly as often as they are."""
    for row in history.past:
        for name in ROWS.get(row["kind"], ()):
            rows = history.effects.get((row["id"], name), 0)
            if row["status"] == "completed" and rows != 1:
                yield f"job {row['id']} is completed, and step {name} wrote {rows} rows"
    for (job, name), times in history.effects.items():
        if times > 1:
            yield f"job {job}: step {name} wrote {times} rows"


EFFECTS: Final[tuple[Rule, ...]] = (_nothing_on_record_is_repeated, _one_order_each, _one_row_each)
