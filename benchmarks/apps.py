"""Applications that the benchmarks run as whole processes: `python -m supervisor run --app benchmarks.apps:idle`."""

from __future__ import annotations

import atexit
import json
import os
import time
from pathlib import Path
from typing import Final, Never

from benchmarks.processes import REPORT
from supervisor import Actor, App, Child

IDLE_ACTORS: Final = 100


class Quiet(Actor[Never]):
    """Waits for messages that never come."""


class Doomed(Actor[Never]):
    """Crashes right after every start."""

    async def run(self) -> None:
        """Crash."""
        raise RuntimeError("crashed on purpose")


class Meter:
    """Makes the doomed actors, and measures the process from the first of them to its exit."""

    def __init__(self) -> None:
        self._began: tuple[float, float] | None = None

    def __call__(self) -> Doomed:
        """Make an actor; the storm begins with the first."""
        if self._began is None:
            self._began = time.process_time(), time.monotonic()
            atexit.register(self._report)
        return Doomed()

    def _report(self) -> None:
        if self._began is None or REPORT not in os.environ:
            return
        cpu, wall = self._began
        found = {"cpu": time.process_time() - cpu, "wall": time.monotonic() - wall}
        Path(os.environ[REPORT]).write_text(json.dumps(found), encoding="utf-8")


idle = App([Child(f"quiet-{number}", Quiet) for number in range(IDLE_ACTORS)])
storm = App([Child("doomed", Meter())])
