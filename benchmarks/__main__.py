"""The command `python -m benchmarks`: measure, show the table, and write it where asked."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks import ask, idle, metering, population, restart, shutdown, startup, storm, tell
from benchmarks.control import crowd, fleet, flips, http, pausing
from benchmarks.facts import facts
from benchmarks.queue import adverse, drain, enqueue, latency, recovery, steps
from benchmarks.sampling import FULL_RUNS, Plan
from benchmarks.tables import markdown, show

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks.results import Row

FIGURES: Final[Mapping[str, Callable[[Plan], list[Row]]]] = {
    "tell": tell.measure,
    "ask": ask.measure,
    "population": population.measure,
    "restart": restart.measure,
    "idle": idle.measure,
    "storm": storm.measure,
    "startup": startup.measure,
    "shutdown": shutdown.measure,
    "drain": drain.measure,
    "latency": latency.measure,
    "enqueue": enqueue.measure,
    "steps": steps.measure,
    "metering": metering.measure,
    "adverse": adverse.measure,
    "recovery": recovery.measure,
    "crowd": crowd.measure,
    "pausing": pausing.measure,
    "flips": flips.measure,
    "fleet": fleet.measure,
    "http": http.measure,
}

_QUICK_RUNS: Final = 3
_QUICK_SCALE: Final = 0.1


class Progress:
    """Says on stderr what is being measured: one changing line on a terminal, one line per figure elsewhere."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._figure = ""
        self._began = 0.0

    def begin(self, figure: str) -> None:
        """A figure is about to be measured."""
        self._figure, self._began = figure, time.monotonic()
        self.step("…")

    def step(self, text: str) -> None:
        """Something about the present figure."""
        if self._live:
            sys.stderr.write(f"\r\x1b[K{self._figure}: {text}")
            sys.stderr.flush()

    def end(self) -> None:
        """The present figure is done."""
        start = "\r\x1b[K" if self._live else ""
        sys.stderr.write(f"{start}{self._figure}: done in {time.monotonic() - self._began:.1f} s\n")
        sys.stderr.flush()


def main(argv: Sequence[str] | None = None) -> int:
    """Return 1 if `--check` was given and a target was missed."""
    parser = _parser()
    options = parser.parse_args(argv)
    if unknown := set(options.figures) - set(FIGURES):
        parser.error(f"no figure called {', '.join(sorted(unknown))}; there are {', '.join(FIGURES)}")
    progress = Progress()
    quick: bool = options.quick
    runs: int = options.runs or (_QUICK_RUNS if quick else FULL_RUNS)
    plan = Plan(runs, _QUICK_SCALE if quick else 1.0, progress.step)
    rows: list[Row] = []
    for figure in options.figures or FIGURES:
        progress.begin(figure)
        rows += FIGURES[figure](plan)
        progress.end()
    machine = {**facts(), "runs": f"{runs}, quick" if quick else str(runs)}
    show(rows, machine, sys.stdout)
    if options.json is not None:
        report = {"facts": machine, "rows": [row.data() for row in rows]}
        options.json.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    if options.markdown is not None:
        options.markdown.write_text(markdown(rows, machine), encoding="utf-8")
    return int(options.check and not all(row.reached for row in rows))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure the runtime and its peers.")
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help=f"which to measure: {', '.join(FIGURES)} (all)")
    parser.add_argument("--runs", type=_positive, help=f"runs of each variant ({FULL_RUNS}, quick {_QUICK_RUNS})")
    parser.add_argument("--quick", action="store_true", help="a tenth of the size and fewer runs, for a first look")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results with every raw sample")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table as Markdown")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number}: must be 1 or more")
    return number


if __name__ == "__main__":
    sys.exit(main())
