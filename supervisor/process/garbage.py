"""Tells the garbage collector what kind of program this is: one with many small objects that live briefly."""

from __future__ import annotations

import gc
from typing import Final

YOUNG: Final = 10_000
"""New objects between two collections of the youngest; Python's own 700 are a few jobs, all of them still alive."""


def settle() -> None:
    """Put what exists now, modules and the tree, out of the collector's sight, and let it look less often.

    Without this it takes a good part of the time of a small job with a step (docs/performance.md). Cyclic garbage still
    goes; a few thousand objects later.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, *gc.get_threshold()[1:])
