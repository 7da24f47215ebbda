"""After a switch commits, nothing in its scope starts anywhere, however many processes claim."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.soak.campaign import campaign
from tests.soak.flips import Flips
from tests.soak.server import server
from tests.soak.start_log import violations, watch

if TYPE_CHECKING:
    from pathlib import Path

APP: Final = {"SUPERVISOR_APP": "tests.soak.flip_app:app", "SUPERVISOR_QUARANTINE": "false"}
CHAIN: Final = "SELECT problem FROM supervisor.audit_verify(0, 1000000)"
ENTRIES: Final = "SELECT count(*) FROM supervisor.system_audit_log WHERE accepted"


async def flipped(folder: Path, *, seed: int, count: int, workers: int) -> None:
    """Flip switches under load and check every start against the switches of its moment."""
    flips = Flips(seed, count)
    async with server() as ours, campaign(ours.dsn, folder) as run:
        async with run.connected() as connection:
            await watch(connection)
        for place in range(workers):
            run.crew.hire(f"w{place}", f"h{place}", APP)
        await run.running(workers)
        await flips.run(ours.dsn)
        settled = await run.settle()
        left = await run.dismissed()
        async with run.connected() as connection:
            found = await violations(connection)
            starts = await connection.fetchval("SELECT count(*) FROM public.start_log")
            epochs = await connection.fetchval("SELECT count(*) FROM public.switch_log")
            told = f"seed {seed}: {count} flips, {epochs} changes, {starts} starts, settled in {settled:.1f} s"
            (folder / "verdict").write_text("\n".join([told, *found, *left, *flips.refused]))
            print(told)  # noqa: T201 - pytest shows it when the run fails, or with -s
            assert (found, left, flips.refused) == ([], [], []), told
            assert await connection.fetchval(CHAIN) is None
            assert await connection.fetchval(ENTRIES) == epochs
            assert starts > count, "void: hardly anything ran"
            assert flips.changed > count / 5, "void: hardly anything was switched"


@pytest.mark.timeout(120)
async def test_no_job_starts_after_a_switch(tmp_path: Path) -> None:
    """Of two processes under load none starts what was switched off before, over 60 changes."""
    await flipped(tmp_path, seed=1, count=60, workers=2)


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_no_job_starts_after_any_of_a_thousand_switches(soak_seed: int, tmp_path: Path) -> None:
    """The same holds for five processes and a thousand flips."""
    await flipped(tmp_path, seed=soak_seed, count=1000, workers=5)
