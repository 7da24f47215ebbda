"""The tree as JSON: for SIGUSR1, one line for each child on stderr; for the `tree` command, nested."""

from __future__ import annotations

import sys
from dataclasses import asdict
from enum import Enum
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from supervisor.tree.snapshot import NodeSnapshot
    from supervisor.tree.tree import Tree


def encode(value: object) -> bytes:
    """JSON, on one line; enums by value, and anything unknown as text."""
    import orjson  # noqa: PLC0415 - only when somebody looks

    return orjson.dumps(value, default=lambda odd: odd.value if isinstance(odd, Enum) else str(odd))


def as_json(snapshot: NodeSnapshot) -> dict[str, object]:
    """A snapshot as plain data."""
    return asdict(snapshot)


def dump(tree: Tree, stream: TextIO | None = None) -> None:
    """Write one line for each node, with its stack."""
    stream = stream or sys.stderr
    for node in tree.snapshot(stacks=True).walk():
        row = as_json(node)
        del row["children"]
        stream.write(encode(row).decode() + "\n")
    stream.flush()
