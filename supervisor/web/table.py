"""Finds the entry of the route table for a path, and everything that may be done to it."""

from __future__ import annotations

import difflib
from collections import defaultdict
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from supervisor.web.decode import unquoted
from supervisor.web.refusal import Refusal, not_found
from supervisor.web.route import Method

if TYPE_CHECKING:
    from collections.abc import Sequence

    from supervisor.web.route import AnyRoute

_QUOTED: Final = 200


class Table:
    """The routes of one server. Two must not have the same method and path."""

    def __init__(self, routes: Sequence[AnyRoute]) -> None:
        self.routes: Final = tuple(routes)
        self._plain: Final[dict[str, list[AnyRoute]]] = defaultdict(list)
        self._with_holes: Final[dict[int, list[AnyRoute]]] = defaultdict(list)
        seen: set[tuple[str, str]] = set()
        for route in routes:
            if (route.method, route.path) in seen:
                raise ValueError(f"two routes for {route.method} {route.path}")
            seen.add((route.method, route.path))
            if "{" in route.path:
                self._with_holes[len(route.segments)].append(route)
            else:
                self._plain[route.path].append(route)

    def find(self, method: str, path: str) -> tuple[AnyRoute, dict[str, str]]:
        """Return the route for a request, and what stands in its path. Raises Refusal."""
        fitting = self._fitting(path)
        if not fitting:
            raise not_found("there is nothing at this path", self._meant(path))
        wanted = Method.GET if method == "HEAD" else method
        for route, holes in fitting:
            if route.method == wanted:
                return route, {name: unquoted(text) for name, text in holes.items()}
        raise Refusal(
            HTTPStatus.METHOD_NOT_ALLOWED,
            "method_not_allowed",
            f"{method[:20]} cannot be done here",
            remedy=f"use {', '.join(sorted(route.method for route, _ in fitting))}",
        )

    def allowed(self, path: str) -> str:
        """List the methods for a path, for the header Allow."""
        methods = {route.method.value for route, _ in self._fitting(path)}
        return ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))

    def _fitting(self, path: str) -> list[tuple[AnyRoute, dict[str, str]]]:
        if path in self._plain:
            return [(route, {}) for route in self._plain[path]]
        segments = path.removeprefix("/").split("/")
        found = []
        for route in self._with_holes.get(len(segments), ()):
            holes = _holes(route.segments, segments)
            if holes is not None:
                found.append((route, holes))
        return found

    def _meant(self, path: str) -> str:
        close = difflib.get_close_matches(path[:_QUOTED], [route.path for route in self.routes], n=1)
        return f"did you mean {close[0]}?" if close else "see /openapi.json for what there is"


def _holes(pattern: Sequence[str], segments: Sequence[str]) -> dict[str, str] | None:
    """Return what stands in the holes of a pattern, None where it does not fit; a hole is never empty."""
    found: dict[str, str] = {}
    for part, segment in zip(pattern, segments, strict=True):
        if part.startswith("{"):
            if not segment:
                return None
            found[part[1:-1]] = segment
        elif part != segment:
            return None
    return found
