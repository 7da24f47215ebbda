"""Judges what a client was told about its enqueues: by the tokens in the journal, against what is in the tables."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.soak.history import History


def check_enqueues(history: History) -> list[str]:
    """List what is wrong with the keys and the batches; the rest is for the checker of whole campaigns.

    Nothing was run meanwhile, so that a key that was ever used has one job.
    """
    return [*_keys(history), *_batches(history)]


def _keys(history: History) -> Iterator[str]:
    """A key has one job, and every answer about it names that one."""
    holders: dict[str, int] = {}
    for row in history.live:
        key = row["unique_key"]
        if key is None:
            continue
        if key in holders:
            yield f"key {key} has the jobs {holders[key]} and {row['id']}"
        holders[key] = row["id"]
    keys = {entry.text.split(" ")[0]: entry.text.split(" ")[2] for entry in history.of("asked")}
    for entry in history.of("acked", "standing", "batched"):
        key = keys[entry.text]
        if key != "-" and holders.get(key) != entry.job:
            yield f"token {entry.text} with key {key} was told of job {entry.job}; it is {holders.get(key)}"
        if key == "-" and entry.what != "acked":
            yield f"token {entry.text} has no key, and was told of an older job"


def _batches(history: History) -> Iterator[str]:
    """What was given together is there as a whole or not at all."""
    there = Counter(row["token"] for row in history.live)
    batches: dict[str, list[str]] = defaultdict(list)
    for entry in history.of("asked"):
        token, _, key, batch = entry.text.split(" ")
        if batch != "-" and key == "-":
            batches[batch].append(token)
    for batch, tokens in batches.items():
        found = sum(there[token] for token in tokens)
        if found not in {0, len(tokens)}:
            yield f"of the batch from token {batch} there are {found} jobs of {len(tokens)}"
