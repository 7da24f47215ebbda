"""The command `python -m benchmarks.peers`: our queue beside others, in turn, on one server; a table and a picture."""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.bars import Bar, draw
from benchmarks.facts import facts
from benchmarks.peers.arena import SETTINGS, arena
from benchmarks.peers.contestants import CONTESTANTS, OURS
from benchmarks.peers.install import MissingTool, install

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.peers.arena import Arena, Costs
    from benchmarks.peers.contestants import Contestant

_BATCH: Final = 1000
_LATENCY_JOBS: Final = 200


@dataclass(slots=True)
class Result:
    """All rounds of one contestant."""

    contestant: Contestant
    jobs: int
    enqueues: list[Costs] = field(default_factory=list)
    drains: list[Costs] = field(default_factory=list)
    latency: Costs | None = None

    def rates(self) -> list[float]:
        """Jobs drained in a second, by round: ours until the last commit, the peers' until the last handler."""
        key = "committed" if self.contestant.runtime == OURS else "rate"
        return [costs.said[key] for costs in self.drains]

    def cells(self, ours: Result) -> tuple[str, ...]:
        """One line of the table."""
        jobs, rates = self.jobs, self.rates()
        ratios = [one / other for one, other in zip(ours.rates(), rates, strict=True)]
        drains = statistics.median(rates)
        latency = "–" if self.latency is None else f"{self.latency.said['p50']:.2f} / {self.latency.said['p99']:.2f}"
        return (
            self.contestant.label,
            _thousands(statistics.median(costs.said["rate"] for costs in self.enqueues)),
            f"{_thousands(drains)} ({_thousands(min(rates))} – {_thousands(max(rates))})",
            "–" if self is ours else f"{statistics.median(ratios):.2f} ×",
            f"{statistics.median(costs.wal / jobs for costs in self.drains):.0f}",
            f"{statistics.median(costs.said['cpu'] / jobs for costs in self.drains) * 1e6:.1f}",
            f"{statistics.median(costs.server_cpu / jobs for costs in self.drains) * 1e6:.1f}",
            latency,
        )

    def data(self) -> dict[str, object]:
        """Everything that was measured, for machines."""
        return {
            "label": self.contestant.label,
            "jobs": self.jobs,
            "order": dict(self.contestant.order),
            "enqueue": [dict(costs.said) for costs in self.enqueues],
            "drain": [{**costs.said, "server_cpu": costs.server_cpu, "wal_bytes": costs.wal} for costs in self.drains],
            "latency_ms": None if self.latency is None else dict(self.latency.said),
        }


HEADINGS: Final = (
    "queue",
    "enqueue /s",
    "drain /s (least – most)",
    "ours : it",
    "WAL B/job",
    "worker µs/job",
    "PostgreSQL µs/job",
    "start p50 / p99 ms",
)


async def measure(runs: int, scale: float, contestants: Sequence[Contestant], *, latency: bool) -> list[Result]:
    """Measure all contestants in turn, `runs` times."""
    results = [Result(each, max(1000, round(each.jobs * scale))) for each in contestants]
    async with arena() as server:
        for database in dict.fromkeys(contestant.database for contestant in contestants):
            await server.create(database)
            first = next(each for each in contestants if each.database == database)
            await server.round(first, "setup")
        for number in range(1, runs + 1):
            for result in results:
                _say(f"run {number} of {runs}: {result.contestant.label}")
                await _one(server, result)
        for result in results if latency else ():
            _say(f"latency: {result.contestant.label}")
            await server.clean(result.contestant)
            result.latency = await server.round(result.contestant, "latency", most=_LATENCY_JOBS)
    return results


async def _one(server: Arena, result: Result) -> None:
    contestant, jobs = result.contestant, result.jobs
    await server.clean(contestant)
    result.enqueues.append(await server.round(contestant, "enqueue", most=jobs, batch=_BATCH))
    await server.settle(contestant.database)
    result.drains.append(await server.round(contestant, "drain", most=jobs))


def table(results: Sequence[Result]) -> str:
    """Write the results as Markdown."""
    ours = next(result for result in results if result.contestant.runtime == OURS)
    rules = ["---", *["--:"] * (len(HEADINGS) - 1)]
    lines = [HEADINGS, rules, *(result.cells(ours) for result in results)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def picture(results: Sequence[Result], runs: int) -> str:
    """Draw how many jobs each queue drains in a second."""
    bars = []
    for result in results:
        median = statistics.median(result.rates())
        look = "ours" if result.contestant.runtime == OURS else "best" if result.contestant.is_best else "rest"
        bars.append(Bar(result.contestant.label, median, f"{_thousands(median)}/s", look))
    note = f"Median of {runs} runs in turn; one worker process and PostgreSQL share two cores; every commit is durable."
    return draw("No-op jobs drained in a second", note, bars)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    options = _parser().parse_args(argv)
    chosen = [each for each in CONTESTANTS if not options.only or any(word in each.label for word in options.only)]
    if not any(each.runtime == OURS for each in chosen):
        chosen = [CONTESTANTS[0], *chosen]
    try:
        install(_say)
    except MissingTool as error:
        sys.stderr.write(f"bench-peers: {error}\n")
        return 2
    results = asyncio.run(measure(options.runs, options.scale, chosen, latency=not options.no_latency))
    machine = {**facts(), "PostgreSQL settings": ", ".join(f"{name}={value}" for name, value in SETTINGS.items())}
    text = table(results) + "\n" + "\n".join(f"{name}: {value}" for name, value in machine.items()) + "\n"
    sys.stdout.write(text)
    if options.markdown:
        options.markdown.write_text(text, encoding="utf-8")
    if options.svg:
        options.svg.write_text(picture(results, options.runs), encoding="utf-8")
    if options.json:
        found = {"facts": machine, "results": [result.data() for result in results]}
        options.json.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description="Measure our queue beside others.")
    parser.add_argument("only", nargs="*", metavar="NAME", help="only queues with this in their label (all)")
    parser.add_argument("--runs", type=int, default=3, help="rounds of each (3)")
    parser.add_argument("--scale", type=float, default=1.0, help="part of the jobs, for a first look (1)")
    parser.add_argument("--no-latency", action="store_true", help="leave the start latency out")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every raw sample")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="write the picture")
    return parser


def _thousands(number: float) -> str:
    return f"{number / 1000:.1f}k"


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
