"""Describes the route table in OpenAPI 3.1; the schemas are those that requests are checked against."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from supervisor.web.refusal import ErrorAnswer
from supervisor.web.route import ANYBODY, JSON
from supervisor.web.structs import NoBody

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from supervisor.web.route import AnyRoute

_REF: Final = "#/components/schemas/{name}"
_HOLE: Final = re.compile(r"\{(\w+)\}")


def document(routes: Sequence[AnyRoute], *, version: str, tokens: bool) -> bytes:
    """Return the description as JSON; `tokens` says whether the server asks for them."""
    kinds = _structs(routes)
    found, schemas = msgspec.json.schema_components(kinds, ref_template=_REF)
    refs = dict(zip(kinds, found, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, refs, tokens=tokens)
    used = {name: schema for name, schema in schemas.items() if name not in _param_names(routes)}
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {"title": "supervisor", "version": version, "description": _ABOUT},
            "paths": paths,
            "components": {
                "schemas": used,
                "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "sup_<id>_<secret>"}},
            },
        }
    )


_ABOUT: Final = "What runs, what may run, and who said so. Every answer that is no success is an ErrorAnswer."


def _structs(routes: Iterable[AnyRoute]) -> list[type[msgspec.Struct]]:
    found: dict[type[msgspec.Struct], None] = {ErrorAnswer: None}
    for route in routes:
        several = [route.body, *route.others.values()]
        for kind in several if isinstance(route.answer, str) else [*several, route.answer]:
            found[kind] = None
    return list(found)


def _param_names(routes: Iterable[AnyRoute]) -> set[str]:
    return {NoBody.__name__, *(route.params.__name__ for route in routes)}


def _operation(route: AnyRoute, refs: dict[type[msgspec.Struct], dict[str, Any]], *, tokens: bool) -> dict[str, Any]:
    in_path = set(_HOLE.findall(route.path))
    described: dict[str, Any] = {
        "operationId": "_".join([route.method.lower(), *re.findall(r"\w+", route.path)]),
        "summary": route.summary,
        "tags": [route.path.split("/")[2] if route.path.startswith("/api/") else "probes"],
        "parameters": [_parameter(name, schema, in_path) for name, schema in _fields(route)],
        "responses": {
            "200": {"description": "Done.", "content": _content(route, refs)},
            **{
                str(int(status)): {"description": status.phrase, "content": {JSON: {"schema": refs[kind]}}}
                for status, kind in route.others.items()
            },
            "default": {"description": "Not done.", "content": {JSON: {"schema": refs[ErrorAnswer]}}},
        },
    }
    if route.body is not NoBody:
        schema = refs[route.body]
        needed = any(each.required for each in msgspec.structs.fields(route.body))
        described["requestBody"] = {"required": needed, "content": {JSON: {"schema": schema}}}
    if tokens and route.access != ANYBODY:
        described["security"] = [{"token": []}]
    return described


def _content(route: AnyRoute, refs: dict[type[msgspec.Struct], dict[str, Any]]) -> dict[str, Any]:
    if isinstance(route.answer, str):
        return {route.answer: {"schema": {"type": "object" if route.answer == JSON else "string"}}}
    return {JSON: {"schema": refs[route.answer]}}


def _fields(route: AnyRoute) -> list[tuple[msgspec.structs.FieldInfo, dict[str, Any]]]:
    """List the parameters with their schemas."""
    whole = msgspec.json.schema(route.params)
    properties = whole["$defs"][route.params.__name__]["properties"]
    return [(each, properties[each.encode_name]) for each in msgspec.structs.fields(route.params)]


def _parameter(field: msgspec.structs.FieldInfo, schema: dict[str, Any], in_path: set[str]) -> dict[str, Any]:
    name = field.encode_name
    place = "path" if name in in_path else "query"
    return {"name": name, "in": place, "required": place == "path" or field.required, "schema": schema}
