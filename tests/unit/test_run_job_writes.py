"""`run_job` for handlers that write to the job's own database, with a connection of the test."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from supervisor.errors import ConfigError, LeaseLost
from supervisor.jobs.outcomes import Action
from tests.unit.made_job import handler

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from supervisor.jobs.context import Connection, JobContext, Row, StepMode


@dataclass
class Paper:
    """A connection of paper, with transactions of paper."""

    said: list[str] = field(default_factory=list)

    async def execute(self, query: str, *args: object) -> str:
        self.said.append(query)
        return "OK"

    async def fetch(self, query: str, *args: object) -> Sequence[Row]:
        raise NotImplementedError

    async def fetchrow(self, query: str, *args: object) -> Row | None:
        raise NotImplementedError

    async def fetchval(self, query: str, *args: object, column: int = 0) -> object:
        raise NotImplementedError

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        self.said.append("BEGIN")
        try:
            yield
        except BaseException:
            self.said.append("ROLLBACK")
            raise
        self.said.append("COMMIT")


@pytest.mark.parametrize("mode", ["transactional", "transaction"])
async def test_a_transaction_needs_a_connection(mode: StepMode) -> None:
    """It is the test that is told, not the handler."""

    async def write(connection: Connection) -> None:
        await connection.execute("INSERT")

    async def transact(ctx: JobContext) -> None:
        if mode == "transactional":
            await ctx.step("write", write, mode="transactional")
        else:
            async with ctx.transaction() as connection:
                await write(connection)

    with pytest.raises(ConfigError, match=r"needs a connection: write run_job\(…, conn=connection\)"):
        await handler(transact)()
    paper = Paper()
    ran = await handler(transact)(conn=paper)
    assert ran.decision.action is Action.COMPLETE
    assert paper.said == ["BEGIN", "INSERT", "COMMIT"]


async def test_a_committed_transaction_has_completed_the_job() -> None:
    """What the handler does after the block changes nothing any more; what fails inside it commits nothing."""

    async def late(ctx: JobContext) -> None:
        async with ctx.transaction() as connection:
            await connection.execute("INSERT")
            if ctx.attempt == 2:
                with pytest.raises(ConfigError, match=r"inside ctx.transaction\(\)"):
                    await ctx.progress(1)
                raise ValueError("no")
        with pytest.raises(LeaseLost):
            await ctx.progress(1)
        raise ValueError("too late")

    paper = Paper()
    assert (await handler(late)(conn=paper)).decision.action is Action.COMPLETE
    assert (await handler(late)(conn=paper, attempt=2)).decision.action is Action.RETRY
    assert paper.said == ["BEGIN", "INSERT", "COMMIT", "BEGIN", "INSERT", "ROLLBACK"]
