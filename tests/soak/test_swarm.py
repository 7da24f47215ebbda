"""Several workers under random faults: no job is lost, none runs twice at once, and no effect doubles."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pytest

from tests.soak.campaign import CLEAN, campaign
from tests.soak.checker import overlaps
from tests.soak.judgement import Judgement
from tests.soak.nemesis import FAULTS, Nemesis
from tests.soak.pause import pause
from tests.soak.server import server
from tests.store.fault_proxy import proxied

if TYPE_CHECKING:
    from pathlib import Path

    from tests.soak.campaign import Campaign
    from tests.soak.history import History

SEEDS: Final = 10
"""Runs of the soak."""
OVERLAP: Final = 1.0
"""Seconds for which a handler may go on beside its successor, after its process was paused or cut off."""
GOING: Final = frozenset({"pause_worker", "blink_worker", "silence", "half_silence", "slowness", "kill_server"})
"""Faults after which a process lives and does not know yet that it has lost its jobs."""
ABANDONED: Final = 75
SIGTERMED: Final = 143
KILLS: Final = ("kill_worker", "kill_everybody", "kill_lane")
"""Faults that end processes which have done nothing."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run does: its faults, and for how many seconds there are some."""

    seed: int
    faults: list[str]
    seconds: float
    furies: int = 1
    """So many faults at once."""

    @property
    def judgement(self) -> Judgement:
        """By what the run is judged."""
        faults = set(self.faults)
        return Judgement(overlap=OVERLAP if GOING & faults else 0.0, is_just=not faults & {*KILLS, *GOING})

    @property
    def exit_codes(self) -> frozenset[int]:
        """What workers may end with when they are asked to stop; one with a deaf thread may be leaving already."""
        return frozenset({0, ABANDONED, SIGTERMED}) if "ignore_every_cancel" in self.faults else CLEAN


def planned(seed: int) -> Plan:
    """Pick the faults of a seed."""
    rng = random.Random(seed)  # noqa: S311 - repeatable, not secret
    return Plan(seed, rng.sample(sorted(FAULTS), rng.randint(4, 8)), 20.0, furies=rng.choice((1, 2)))


async def swarm(plan: Plan, folder: Path) -> None:
    """Run a plan, and judge it."""
    rng = random.Random(plan.seed + 1)  # noqa: S311 - the same
    async with server() as ours, proxied(ours.dsn) as proxy, campaign(ours.dsn, folder) as run:
        run.crew.hire("one", "here")
        run.crew.hire("two", "here")
        run.crew.hire("far", "there", {"DATABASE_URL": proxy.dsn})
        await run.running(3)
        nemesis = Nemesis(run, ours, proxy, rng)
        async with asyncio.TaskGroup() as group:
            keeper = group.create_task(run.crew.keep())
            clients = [group.create_task(keep_enqueuing(run, random.Random(plan.seed + 2)))]  # noqa: S311 - the same
            await pause(2.0)
            async with asyncio.TaskGroup() as furies:
                for place in range(plan.furies):
                    furies.create_task(nemesis.rage(plan.faults[place :: plan.furies], plan.seconds))
            await nemesis.heal()
            await pause(1.0)
            for client in clients:
                client.cancel()
            settled = await run.settle()
            keeper.cancel()
        left = await run.dismissed(plan.exit_codes)
        history, found = await run.judge(plan.judgement)
    told = summary(plan, nemesis, history, settled)
    (folder / "verdict").write_text("\n".join([told, *found, *left]))
    print(told)  # noqa: T201 - pytest shows it when the run fails, or with -s
    assert (found, left) == ([], []), told
    assert void(plan, nemesis, history) == [], told


async def keep_enqueuing(run: Campaign, rng: random.Random) -> None:
    """Enqueue jobs of all harmless sorts."""
    while True:
        await run.enqueue.usual(rng)
        await pause(rng.uniform(0.0, 0.06))


def void(plan: Plan, nemesis: Nemesis, history: History) -> list[str]:
    """List what should have happened at least once; without it, the run has proven nothing."""
    found = [f"{name} never happened" for name in plan.faults if not nemesis.happened.get(name)]
    if history.count("acked") < 100:
        found.append("hardly anything was enqueued")
    if set(KILLS[:2]) & set(plan.faults) and not any(row["losses"] for row in history.past):
        found.append("no job was lost with a worker")
    if "pause_worker" in plan.faults and not (history.count("fenced") or history.count("refused")):
        found.append("no late write was refused")
    return found


def summary(plan: Plan, nemesis: Nemesis, history: History, settled: float) -> str:
    """Say in a line what a run did."""
    counts = {
        what: history.count(what) for what in ("acked", "unknown", "claimed", "refused", "fenced", "resolved", "died")
    }
    losses = sum(row["losses"] for row in history.past)
    convicted = sum(row["status"] == "quarantined" and row["kind"] != "poison" for row in history.past)
    overlap = max((seconds for seconds, _ in overlaps(history, plan.judgement)), default=0.0)
    return (
        f"seed {plan.seed}: {nemesis.happened} {counts} losses={losses} convicted={convicted} past={len(history.past)} "
        f"overlap={overlap:.3f} s, settled in {settled:.1f} s"
    )


@pytest.mark.timeout(180)
async def test_a_small_swarm_keeps_every_promise(tmp_path: Path) -> None:
    """Kills, a pause beyond the lease and cut sessions cost no job and double no effect."""
    await swarm(Plan(7, ["kill_worker", "pause_worker", "terminate_some"], 3.0), tmp_path)


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_after_kills_alone_nothing_overlaps(soak_seed: int, tmp_path: Path) -> None:
    """Where processes only die, no two handlers of one job ever run at once."""
    await swarm(Plan(soak_seed, ["kill_worker", "stop_worker", "poison"], 15.0), tmp_path)


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", range(SEEDS))
async def test_a_swarm_keeps_every_promise(number: int, soak_seed: int, tmp_path: Path) -> None:
    """The same holds for any mixture of all faults."""
    await swarm(planned(soak_seed + number), tmp_path)
