"""Wraps the typed statements of a worker, before its actors import them: what was claimed and accepted is recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from supervisor.store import jobs

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.soak.ledger import Ledger

    Statement = Callable[..., Awaitable[Any]]


def trace(ledger: Ledger) -> None:
    """Record each claim, and each end that the database accepted."""
    for name in ("claim", "claim_suspects"):
        setattr(jobs, name, _claiming(getattr(jobs, name), ledger))
    jobs.complete = _completing(jobs.complete, ledger)  # type: ignore[assignment]
    for name in ("finish", "hand_back"):
        setattr(jobs, name, _ending(name, getattr(jobs, name), ledger))


def _claiming(statement: Statement, ledger: Ledger) -> Statement:
    async def traced(*args: Any, **options: Any) -> Any:  # noqa: ANN401
        rows = await statement(*args, **options)
        for row in rows:
            ledger.write("claimed", row.id, row.lock_version, f"{row.attempts} {row.losses}")
        return rows

    return traced


def _completing(statement: Statement, ledger: Ledger) -> Statement:
    async def traced(link: Any, ids: Any, fences: Any, **options: Any) -> Any:  # noqa: ANN401
        accepted = await statement(link, ids, fences, **options)
        for job, fence in zip(ids, fences, strict=True):
            # Inside a handler's transaction nothing is decided yet.
            what = "refused" if job not in accepted else "holding" if link.is_in_transaction else "completed"
            ledger.write(what, job, fence)
        return accepted

    return traced


def _ending(name: str, statement: Statement, ledger: Ledger) -> Statement:
    async def traced(link: Any, rows: Any, **options: Any) -> Any:  # noqa: ANN401
        rows = list(rows)
        accepted = await statement(link, rows, **options)
        for row in rows:
            text = f"{name} {getattr(row, 'status', '') or getattr(row, 'reason', '')}"
            ledger.write("ended" if row.id in accepted else "refused", row.id, row.lock_version, text)
        return accepted

    return traced
