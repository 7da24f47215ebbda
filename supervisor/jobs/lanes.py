"""Which lanes a claimer turns over: for each queue the jobs without a tenant, those of tenants, those behind gates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor.jobs.claim_lane import ClaimLane
from supervisor.jobs.fair_lane import FairLane
from supervisor.jobs.gated_lane import GatedLane

if TYPE_CHECKING:
    from collections.abc import Sequence

    from supervisor.jobs.catalog import Catalog
    from supervisor.jobs.claim_lane import Lane
    from supervisor.jobs.switches import Switches


def lanes(queues: Sequence[str], catalog: Catalog, switches: Switches, *, scarce_threads: bool) -> list[Lane]:
    """Make the lanes, in the order in which they are asked when nothing has come for a while.

    `scarce_threads`: there are fewer threads than slots, so that handlers in threads have lanes of their own, and
    neither kind waits for the other.
    """
    if scarce_threads:
        on_loop = [job.kind for job in catalog if job.is_async]
        in_thread = [job.kind for job in catalog if not job.is_async]
        parts = [(kinds, threaded) for kinds, threaded in ((on_loop, False), (in_thread, True)) if kinds]
    else:
        parts = [(catalog.kinds, False)]
    plain = [ClaimLane(queue, kinds, threaded=threaded) for queue in queues for kinds, threaded in parts]
    fair = [FairLane(queue, kinds, threaded=threaded) for queue in queues for kinds, threaded in parts]
    gated = [GatedLane(queue, kinds, switches, threaded=threaded) for queue in queues for kinds, threaded in parts]
    return [*plain, *fair, *gated]
