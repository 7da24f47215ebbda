"""Switches flipped at random under load, by several hands, while several processes claim."""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import asyncpg

from supervisor import Client
from tests.soak import flip_app
from tests.soak.pause import pause
from tests.store.postgres import LIMIT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from supervisor import Job

TENANTS: Final = ("acme", "globex", "initech", None)
SCOPES: Final = {
    "kill_switch": ("",),
    "mode": ("",),
    "service": ("mail", "scan"),
    "tenant": ("acme", "globex", "initech"),
    "queue": ("post", "scans"),
    "kind": ("letter", "scan"),
}
MODES: Final = ("normal", "observe_only", "safe_mode")
HANDS: Final = 3
BACKLOG: Final = 2000
"""Jobs that wait while switches are flipped: nobody is idle, and nothing grows without end."""
LIVE: Final = "SELECT count(*) FROM (SELECT FROM supervisor.jobs WHERE claimed_by IS NULL LIMIT 4000) AS ready"
CHANGE: Final = """
    SELECT changed FROM supervisor.change_switch(
        scope => $1, name => $2, value => $3::text::jsonb, reason => 'a test', actor => $4, source => NULL,
        request_id => NULL, cancel_running => $5, expires_at => NULL, dry_run => false, if_epoch => NULL)
"""


@dataclass(slots=True)
class Flips:
    """What was done: `changed` counts the flips that changed something, `refused` those that could not be made."""

    seed: int
    count: int
    changed: int = 0
    refused: list[str] = field(default_factory=list)

    async def flip(self, dsn: str, hand: int) -> None:
        """Flip one switch after the other. What this hand has switched off, it is likely to switch on again soon."""
        rng = random.Random(self.seed * HANDS + hand)  # noqa: S311 - the same for the same seed
        connection = await asyncpg.connect(dsn, timeout=LIMIT)
        try:
            for _ in range(self.count // HANDS):
                scope = rng.choice(tuple(SCOPES))
                value = rng.choice(MODES) if scope == "mode" else rng.random() < 0.4
                name, cancel = rng.choice(SCOPES[scope]), rng.random() < 0.2
                try:
                    changed = await connection.fetchval(
                        CHANGE, scope, name, json.dumps(value), f"hand {hand}", cancel, timeout=LIMIT
                    )
                except asyncpg.PostgresError as error:
                    self.refused.append(f"{scope} {name}: {error}")
                else:
                    self.changed += bool(changed)
                await pause(rng.random() * 0.05)
        finally:
            await connection.close(timeout=LIMIT)

    async def run(self, dsn: str) -> None:
        """Flip with all hands, and leave everything on."""
        async with asyncio.TaskGroup() as group:
            feeding = group.create_task(feed(dsn, random.Random(self.seed)))  # noqa: S311 - the same
            async with asyncio.TaskGroup() as hands:
                for hand in range(HANDS):
                    hands.create_task(self.flip(dsn, hand))
            feeding.cancel()
        connection = await asyncpg.connect(dsn, timeout=LIMIT)
        for scope, names in SCOPES.items():
            for name in names:
                value = json.dumps("normal" if scope == "mode" else False)
                await connection.fetchval(CHANGE, scope, name, value, "the end", False, timeout=LIMIT)  # noqa: FBT003 - $5
        await connection.close(timeout=LIMIT)


async def feed(dsn: str, rng: random.Random) -> None:
    """Keep every sort of job waiting."""
    jobs: Sequence[Job[None]] = flip_app.app.jobs
    async with Client(dsn) as client:
        connection = await asyncpg.connect(dsn, timeout=LIMIT)
        try:
            while True:
                if await connection.fetchval(LIVE, timeout=LIMIT) < BACKLOG:
                    await client.enqueue_many(rng.choice(jobs), [None] * 200, tenant=rng.choice(TENANTS))
                await pause(0.02)
        finally:
            await connection.close(timeout=LIMIT)
