"""Everything that HTTP answers, in one table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from supervisor.web.routes import audit, jobs, limits, monitoring, probes, protection, switches, system, tokens, workers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from supervisor.web.route import AnyRoute

ROUTES: Final[Sequence[AnyRoute]] = (
    *probes.ROUTES,
    *system.ROUTES,
    *switches.ROUTES,
    *audit.ROUTES,
    *monitoring.ROUTES,
    *protection.ROUTES,
    *jobs.ROUTES,
    *workers.ROUTES,
    *limits.ROUTES,
    *tokens.ROUTES,
)
"""The routes; a path with holes must not hide one without."""
