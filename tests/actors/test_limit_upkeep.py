"""The upkeep of limits: declared ones are made, spent ones pause, and what is over is forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING, Never

from actors.limit_upkeep import LimitUpkeep
from supervisor import Limit
from supervisor.testing import running
from supervisor.tree.child import Child
from tests.actors.parts import Parts, parts
from tests.store.limiting import set_limit
from tests.store.sql_session import session

if TYPE_CHECKING:
    from supervisor.store.limit_rows import LimitRow


def child(shared: Parts, *declared: LimitRow) -> Child[Never]:
    """Make one."""
    return Child("limit_upkeep", lambda: LimitUpkeep(shared.database, declared))


async def test_declared_limits_hold_before_it_is_running() -> None:
    """What an app declares is there when the actor has started, and one that cannot be keeps no other from it."""
    good, broken = Limit.concurrency("a", 3), Limit.quota("b", 1, "day", zone="Mars/Olympus")
    async with parts() as shared, running(child(shared, broken.row, good.row)):
        assert await shared.rows("SELECT name, amount::int FROM supervisor.limits") == [{"name": "a", "amount": 3}]


async def test_what_is_spent_is_paused_and_what_is_over_given_back() -> None:
    """Within some seconds a spent limit pauses its service, and what a dead run had reserved is back."""
    async with parts() as shared, session(shared.dsn) as opened:
        await set_limit(opened, "money", form="budget", amount=1, on_spent="pause", service="s")
        await opened.execute("SELECT supervisor.reserve('money', '', 1, NULL, NULL, 300, at_once => true)")
        await opened.execute(
            "INSERT INTO supervisor.reservations (limit_id, key, name, amount, held, expires_at) "
            "SELECT id, '', 'gone', 1, true, clock_timestamp() FROM supervisor.limits"
        )
        async with running(child(shared)):
            await shared.until("SELECT FROM supervisor.control WHERE off_services = '{s}'")
            await shared.until("SELECT count(*) FROM supervisor.reservations HAVING count(*) = 0")


async def test_jobs_are_put_into_their_lines() -> None:
    """After a limit began to count by something else, the jobs that wait are sorted anew."""
    async with parts() as shared, session(shared.dsn) as opened:
        await set_limit(opened, "none", amount=0)
        await shared.enqueue(3)
        await set_limit(opened, "each", amount=1, by=["args.host"])
        async with running(child(shared)):
            await shared.until("SELECT FROM supervisor.jobs_waiting WHERE line LIKE '%args.host%' HAVING count(*) = 3")
            await shared.until("SELECT FROM supervisor.gate_shape WHERE done_id IS NULL")
