"""Five processes that all want to be the same singleton at the same moment, again and again."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
from asyncio.subprocess import PIPE, Process
from typing import TYPE_CHECKING, Final

import asyncpg

from tests.soak.contending import SINGLETON
from tests.source import ROOT
from tests.store.postgres import LIMIT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asyncpg import Connection, Record

CONTENDERS: Final = 5
ENDS: Final = ("STOPPING", "STOPPED", "silent")
"""What becomes of who was active: it says so, or falls silent until its lease is over."""
SHORT: Final = 0.2
"""Seconds: the lease of one that falls silent."""
_ACTIVE: Final = (
    "SELECT id FROM supervisor.workers WHERE active_singleton = $1 AND lease_expires_at > clock_timestamp()"
)
_OVER: Final = "SELECT lease_expires_at <= clock_timestamp() FROM supervisor.workers WHERE id = $1"


async def contest(dsn: str, rounds: int, seed: int) -> list[str]:
    """Let them contend in so many rounds; list every round that did not leave exactly one."""
    rng = random.Random(seed)  # noqa: S311 - repeatable, not secret
    connection = await asyncpg.connect(dsn, timeout=LIMIT)
    try:
        async with _contenders(dsn) as five:
            wrong = [told for number in range(rounds) for told in await _round(five, connection, number, rng)]
    finally:
        await connection.close(timeout=LIMIT)
    return wrong


async def _round(five: list[Process], connection: Connection[Record], number: int, rng: random.Random) -> list[str]:
    end = rng.choice(ENDS)
    lease = SHORT if end == "silent" else 60.0
    for process in rng.sample(five, len(five)):
        _tell(process, f"go {number} {lease}")
    answers = [await _answer(process) for process in five]
    won = [place for place, answer in enumerate(answers) if answer.startswith("won ")]
    if len(won) != 1 or sorted(answers).count("lost") != CONTENDERS - 1:
        return [f"round {number}: {answers}"]
    (place,) = won
    worker = int(answers[place].split()[1])
    active = [row["id"] for row in await connection.fetch(_ACTIVE, SINGLETON, timeout=LIMIT)]
    if end == "silent":
        async with asyncio.timeout(LIMIT):
            while not await connection.fetchval(_OVER, worker, timeout=LIMIT):
                await connection.execute("SELECT pg_sleep(0.02)", timeout=LIMIT)
        return [] if active in ([worker], []) else [f"round {number}: {worker} won, and {active} were active"]
    _tell(five[place], f"end {end}")
    if await _answer(five[place]) != "True" or active != [worker]:
        return [f"round {number}: {worker} won, and {active} were active"]
    return []


@contextlib.asynccontextmanager
async def _contenders(dsn: str) -> AsyncIterator[list[Process]]:
    five = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.soak.contending", dsn, f"host-{place}"), stdin=PIPE, stdout=PIPE, cwd=ROOT
        )
        for place in range(CONTENDERS)
    ]
    try:
        for process in five:
            assert await _answer(process) == "ready"
        yield five
    finally:
        for process in five:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def _tell(process: Process, line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{line}\n".encode())


async def _answer(process: Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(LIMIT):
        return (await process.stdout.readline()).decode().strip()
