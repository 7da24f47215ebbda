"""The workers of the fleet, what is wrong among them, and the tree of this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from supervisor.store import fleet
from supervisor.web.refusal import not_found
from supervisor.web.route import LOOK, get
from supervisor.web.structs import Answer, Count, Moment, Page, Params
from supervisor.web.switching import now

if TYPE_CHECKING:
    from collections.abc import Sequence

    from supervisor.tree.snapshot import NodeSnapshot
    from supervisor.web.call import Call
    from supervisor.web.route import AnyRoute
    from supervisor.web.structs import NoBody, NoParams


class WorkersWanted(Params, frozen=True, kw_only=True):
    """Which workers: those that live, with `ended` also the others."""

    ended: bool = False
    limit: Page = 100


class OneWorker(Params, frozen=True, kw_only=True):
    """A worker."""

    id: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]


class Worker(Answer, frozen=True, kw_only=True):
    """A worker. `drifts`: its version is not that of most; `silent`: seconds since its last heartbeat."""

    id: int
    name: str
    host: str
    pid: int
    worker_type: str
    status: str
    version: str
    drifts: bool
    singleton: str | None
    singletons: list[str]
    started_at: Moment
    last_heartbeat_at: Moment
    lease_expires_at: Moment
    stopping_at: Moment | None
    stopped_at: Moment | None
    uptime: float
    silent: float | None
    longest_gap: float
    running: Count
    confirmed_epoch: int
    metadata: dict[str, Any]


class Alert(Answer, frozen=True, kw_only=True):
    """Something that should not be among the workers."""

    alert: str
    subject: str
    since: Moment | None
    detail: str


class Workers(Answer, frozen=True, kw_only=True):
    """The workers, those that live first, with what is wrong; `epoch` is what they should have confirmed."""

    workers: list[Worker]
    alerts: list[Alert]
    versions: dict[str, int]
    epoch: int
    timestamp: Moment


class Node(Answer, frozen=True, kw_only=True):
    """A supervisor or an actor of this process. Ages are in seconds."""

    path: str
    name: str
    kind: str
    state: str
    restarts: Count
    age: float | None
    busy: bool
    last_progress: float | None
    mailbox: Count
    last_outcome: str | None
    children: list[Node]


class Process(Answer, frozen=True, kw_only=True):
    """The process that answers. `stillFor`: seconds for which its main loop has not turned."""

    name: str
    version: str
    worker: int | None
    started_at: float
    still_for: float
    holds_lease: bool
    draining: bool
    slots: Count
    free: Count
    unwritten: Count
    tree: Node | None
    timestamp: Moment


async def list_workers(call: Call[WorkersWanted, NoBody]) -> Workers:
    """List workers."""
    async with call.site.link() as link:
        found = await fleet.workers(link, ended=call.params.ended, most=call.params.limit)
        alerts = await fleet.alerts(link)
        versions = await fleet.versions(link)
    return Workers(
        workers=[_worker(one) for one in found.workers],
        alerts=[Alert(**one._asdict()) for one in alerts],
        versions=versions,
        epoch=found.epoch,
        timestamp=now(),
    )


async def show_worker(call: Call[OneWorker, NoBody]) -> Worker:
    """Show one worker, live or over."""
    async with call.site.link() as link:
        found = await fleet.workers(link, worker=call.params.id, most=1)
    if not found.workers:
        raise not_found(f"there is no worker {call.params.id}", "see /api/workers?ended=true")
    return _worker(found.workers[0])


async def show_process(call: Call[NoParams, NoBody]) -> Process:
    """Show the process that answers, with its tree."""
    board = call.site.board
    shown = board.shown
    return Process(
        name=board.name,
        version=board.version,
        worker=shown.worker or None,
        started_at=board.started_at,
        still_for=round(board.still_for, 3),
        holds_lease=board.holds_lease,
        draining=shown.draining,
        slots=shown.slots,
        free=max(0, shown.free),
        unwritten=shown.unwritten,
        tree=None if shown.tree is None else _node(shown.tree),
        timestamp=now(),
    )


def _worker(row: fleet.WorkerRow) -> Worker:
    return msgspec.convert(row, Worker, from_attributes=True)


def _node(node: NodeSnapshot) -> Node:
    return Node(
        path=node.path,
        name=node.name,
        kind=node.kind,
        state=node.state.value,
        restarts=node.restarts,
        age=node.age,
        busy=node.busy,
        last_progress=node.last_progress,
        mailbox=node.mailbox,
        last_outcome=node.last_outcome,
        children=[_node(child) for child in node.children],
    )


ROUTES: Final[Sequence[AnyRoute]] = (
    get("/api/workers", list_workers, Workers, "The workers of the fleet", access=LOOK, params=WorkersWanted),
    get("/api/workers/{id}", show_worker, Worker, "One worker", access=LOOK, params=OneWorker),
    get("/api/system/process", show_process, Process, "The process that answers, and its tree", access=LOOK),
)
