"""Transactions in which a handler writes to the job's own database, together with what becomes of the job.

A commit whose answer is lost may have happened. It is never guessed: the job's row, which the transaction held until
its end, tells when it is over, and the record tells how.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from supervisor.errors import DatabaseUnavailable
from supervisor.store import fence, jobs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from supervisor.jobs.context import Connection
    from supervisor.jobs.run_context import Run
    from supervisor.store.link import Link


@asynccontextmanager
async def own_transaction(run: Run) -> AsyncIterator[Connection]:
    """Complete the job in the transaction of the block; see JobContext.transaction."""
    run.check_open()

    async def complete(link: Link) -> bool:
        return run.id in await jobs.complete(link, [run.id], [run.lock_version], steps=True)

    async def written(link: Link) -> bool:
        return run.id in await fence.written(link, [run.id], [run.lock_version])

    run.in_transaction = True
    try:
        async with fenced(run, complete, written, first=True) as connection:
            yield connection
    finally:
        run.in_transaction = False
    run.is_settled = True


@asynccontextmanager
async def fenced(
    run: Run,
    record: Callable[[Link], Awaitable[bool]],
    recorded: Callable[[Link], Awaitable[bool]],
    *,
    first: bool = False,
) -> AsyncIterator[Connection]:
    """Commit the block's writes with what `record` writes, or raise and commit nothing.

    `record` returns false if the fence did not hold; `recorded` says in another transaction whether it was written.
    `first`: also hold the job's row from the beginning, so that nothing is done in vain. Raises LeaseLost,
    DatabaseUnavailable.
    """
    committing = False
    refused, doubt = False, None
    async with run.tasks.connection(run) as link:
        try:
            async with link.transaction():
                if first:
                    _require(await fence.hold(link, run.id, run.lock_version))
                yield link.raw  # the run's own deadline bounds what the handler does with it
                run.check()
                _require(await record(link))
                committing = True
        except _Refused:
            refused = True
        except DatabaseUnavailable as error:
            if not (committing and error.unknown):
                raise
            doubt = error
    if refused:
        raise run.lost()  # not inside: it cancels the handler, which would cut the rollback short
    if doubt is not None and not await _settle(run, recorded):
        raise doubt


class _Refused(Exception):
    """The fence did not hold."""


def _require(held: bool) -> None:  # noqa: FBT001 - what it is about
    if not held:
        raise _Refused


async def _settle(run: Run, recorded: Callable[[Link], Awaitable[bool]]) -> bool:
    """Find out whether a commit without an answer happened. It ends with the run, whose deadline cancels it."""
    database = run.tasks.database
    while True:
        try:
            async with run.tasks.connection(run) as link:
                mine = await fence.hold(link, run.id, run.lock_version)  # waits for the end of the transaction
                happened = await recorded(link)
        except DatabaseUnavailable as error:
            await asyncio.sleep(database.outage.failed(error))
            continue
        database.outage.recovered()
        if not (mine or happened):
            raise run.lost()
        return happened
