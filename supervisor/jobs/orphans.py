"""Jobs that the database holds for ours and that nobody here knows: a claim whose answer was lost, a crash between."""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor.store import jobs
from supervisor.store.job_rows import HandedBack

if TYPE_CHECKING:
    from supervisor.jobs.handler_tasks import HandlerTasks
    from supervisor.jobs.outbox import Outbox
    from supervisor.store.link import Link


async def hand_back_orphans(link: Link, worker: int, tasks: HandlerTasks, outbox: Outbox) -> int:
    """Give such jobs back, at no cost to them; returns how many. Only for whoever claims, while no claim is under way.

    It reads all live jobs once.
    """
    held = await jobs.orphans(link, worker)
    # Known as of now: what ended while the answer was on its way has left the list, or stands in it for nothing.
    known = {(run.id, run.lock_version) for run in tasks.runs} | outbox.jobs
    strangers = [each for each in held if each not in known]
    return len(await jobs.hand_back(link, [HandedBack(*each, "interrupted") for each in strangers]))
