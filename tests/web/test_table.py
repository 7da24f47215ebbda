"""The route table as a whole: every route is classified, described, and answers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, get_args

import pytest

from supervisor.store.job_rows import JobStatus
from supervisor.store.tokens import SCOPES_OF, Role
from supervisor.web.route import ANYBODY, Method
from supervisor.web.routes import ROUTES
from supervisor.web.routes.jobs import Status
from supervisor.web.table import Table
from tests.pages import Page
from tests.source import ROOT

if TYPE_CHECKING:
    from supervisor.web.route import AnyRoute
    from tests.web.site import Site

ANONYMOUS = {"/livez", "/readyz"}
ADMIN_ONLY = re.compile(r"/api/(tokens|limits)")


def named(route: AnyRoute) -> str:
    """Name a route for the report of a test."""
    return f"{route.method} {route.path}"


@pytest.mark.parametrize("route", ROUTES, ids=named)
def test_every_route_is_classified(route: AnyRoute) -> None:
    """Only the two probes are for anybody, what changes something needs more than a viewer, and a scope of its role."""
    assert (route.access == ANYBODY) == (route.path in ANONYMOUS)
    if route.access.role is None:
        return
    assert route.access.scope is None or route.access.scope in SCOPES_OF[route.access.role]
    changes = not route.method.is_safe and route.path != "/api/system/safety-check"
    assert not changes or (route.access.role is not Role.VIEWER and route.access.scope is not None)
    if changes and ADMIN_ONLY.match(route.path):
        assert route.access.role is Role.ADMIN


async def test_the_description_has_every_route(web: Site) -> None:
    """The description names each path with its methods, and every schema that it refers to."""
    answer = await web.get("/openapi.json")
    described = {(method.upper(), path) for path, methods in answer.body["paths"].items() for method in methods}
    assert described == {(route.method.value, route.path) for route in ROUTES}
    refs = set(re.findall(r'"#/components/schemas/(\w+)"', str(answer.body).replace("'", '"')))
    assert refs <= set(answer.body["components"]["schemas"])


@pytest.mark.parametrize("route", [route for route in ROUTES if route.method is Method.GET], ids=named)
async def test_every_question_is_answered(web: Site, route: AnyRoute) -> None:
    """On an empty database each path answers, with 404 only where it names what is not there."""
    answer = await web.get(re.sub(r"\{\w+\}", "1", route.path))
    expected = {200, 404} if "{" in route.path else {200}
    assert answer.status in expected, answer.body
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")


def test_the_documentation_has_every_route() -> None:
    """The table of the page is the route table."""
    rows = [
        (
            route.method.value,
            f"`{route.path}`",
            "anybody" if route.access.role is None else route.access.role.value,
            "" if route.access.scope is None else f"`{route.access.scope.value}`",
            route.summary,
        )
        for route in ROUTES
    ]
    assert Page(ROOT / "docs/http.md").rows("method") == rows


def test_two_routes_of_one_path_are_refused() -> None:
    """A table with the same method and path twice cannot be made."""
    with pytest.raises(ValueError, match="two routes"):
        Table([ROUTES[0], ROUTES[0]])


def test_the_states_of_a_job_can_be_asked_for() -> None:
    """Lists of jobs can be asked for each state that a job can be in."""
    assert set(get_args(Status)) == {"live", *get_args(JobStatus)}
