"""What a program writes down once: its kinds, and which database this is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg
import pytest

from tests.store.sql_session import connected, schema, session, together

if TYPE_CHECKING:
    from tests.store.sql_session import Connection

Kind = tuple[str, str, str, int, float, bool, bool]

MAIL: Kind = ("mail", "slow", "post", 5, 1.5, True, False)
SCAN: Kind = ("scan", "fast", "lab", 1, 60.0, False, True)


async def offer(opened: Connection, *kinds: Kind, replace: bool = True) -> int:
    """Offer kinds; return how many rows that changed."""
    columns = [list(column) for column in zip(*kinds, strict=True)] or [[]] * 7
    statement = "SELECT supervisor.offer_kinds($1, $2, $3, $4, $5, $6, $7, $8)"
    return int(await opened.fetchval(statement, *columns, replace))


async def known(opened: Connection) -> dict[str, Kind]:
    """Return what is known of each kind but `noop`."""
    rows = await opened.fetch("SELECT * FROM supervisor.job_kinds WHERE kind <> 'noop'")
    return {row["kind"]: (*row.values(),)[:7] for row in rows}


async def test_a_worker_replaces_what_differs() -> None:
    """What is offered with `replace` is what the table has then, and only rows that differ are written."""
    async with connected() as opened:
        assert await offer(opened, MAIL, SCAN) == 2
        assert await known(opened) == {"mail": MAIL, "scan": SCAN}
        before = await opened.fetch("SELECT xmin::text, xmax::text FROM supervisor.job_kinds ORDER BY kind")
        assert await offer(opened, SCAN, MAIL) == 0
        assert await opened.fetch("SELECT xmin::text, xmax::text FROM supervisor.job_kinds ORDER BY kind") == before
        changed: Kind = (*SCAN[:3], 2, *SCAN[4:])
        assert await offer(opened, MAIL, changed) == 1
        assert await known(opened) == {"mail": MAIL, "scan": changed}
        assert await offer(opened) == 0


async def test_a_client_adds_what_is_missing() -> None:
    """Without `replace` a kind that is known stays as its worker wrote it."""
    async with connected() as opened:
        await offer(opened, MAIL)
        assert await offer(opened, ("mail", "other", "other", 1, 1.0, False, True), SCAN, replace=False) == 1
        assert await known(opened) == {"mail": MAIL, "scan": SCAN}


async def test_a_kind_offered_twice_is_one() -> None:
    """A kind that is twice in one offer makes one row."""
    async with connected() as opened:
        assert await offer(opened, MAIL, MAIL) == 1
        assert await known(opened) == {"mail": MAIL}


async def test_many_offer_the_same_at_once() -> None:
    """Workers that start together with the same kinds, in any order, all succeed, and the table has each once."""

    async def work(opened: Connection) -> None:
        for attempts in range(1, 20):
            kinds = [(*MAIL[:3], attempts, *MAIL[4:]), (*SCAN[:3], attempts, *SCAN[4:])]
            await offer(opened, *(kinds if opened.get_server_pid() % 2 else kinds[::-1]), replace=attempts % 3 > 0)

    async with schema() as dsn, session(dsn) as opened:
        await together(dsn, 6, work)
        assert sorted(await known(opened)) == ["mail", "scan"]


@pytest.mark.parametrize("change", [{3: 0}, {4: 0.0}, {4: float("nan")}, {4: 3.2e8}])
async def test_a_kind_that_cannot_be_is_refused(change: dict[int, float]) -> None:
    """A kind with limits that no job could have is not written."""
    kind = [change.get(place, value) for place, value in enumerate(MAIL)]
    async with connected() as opened:
        with pytest.raises(asyncpg.CheckViolationError):
            await offer(opened, tuple(kind))  # type: ignore[arg-type]  # wrong on purpose
        assert await known(opened) == {}


async def test_each_database_is_one_installation() -> None:
    """A database has one id of its own, which stays, and cannot get a second."""
    async with connected() as opened, connected() as other:
        (row,) = await opened.fetch("SELECT id FROM supervisor.installation")
        assert row["id"].version == 4
        with pytest.raises(asyncpg.UniqueViolationError):
            await opened.execute("INSERT INTO supervisor.installation DEFAULT VALUES")
        assert await other.fetchval("SELECT count(*) FROM supervisor.installation") == 1
