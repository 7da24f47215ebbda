"""Serves HTTP: from the bytes of a request to the handler of its route and back, with every error in one form."""

from __future__ import annotations

import asyncio
import logging
import math
import re
import secrets
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiohttp import hdrs, web
from aiohttp.web_exceptions import HTTPRequestEntityTooLarge

from supervisor.errors import DatabaseUnavailable, StatementRefused
from supervisor.store.tokens import Role
from supervisor.web.call import Call
from supervisor.web.decode import body_of, params_of
from supervisor.web.failures import no_database, refused_by_database, too_large, too_slow
from supervisor.web.gate import Gate, check_body_kind, epoch_of
from supervisor.web.identity import Identity
from supervisor.web.protocol import Connections
from supervisor.web.refusal import Refusal, answer_of, bad_request
from supervisor.web.refused_log import Refused, RefusedLog
from supervisor.web.route import ANYBODY, JSON, Reply
from supervisor.web.table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from supervisor.web.route import AnyRoute
    from supervisor.web.site import Site

LIMIT: Final = 10.0
"""Seconds for one request, with its body; what waits for confirmations has its own."""
LARGEST: Final = 1024 * 1024
"""Bytes of a body."""
PROTECTION: Final[Mapping[str, str]] = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; object-src 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Server": "supervisor",
}
"""Headers of every answer."""

_NOBODY: Final = Identity("nobody", Role.VIEWER, frozenset())
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_AUDITED: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})

_log = logging.getLogger(__name__)


class Server:
    """Answers what arrives at `connections`, on the event loop that it is made on."""

    def __init__(self, site: Site, routes: Sequence[AnyRoute]) -> None:
        self.site: Final = site
        self.table: Final = Table(routes)
        self.refused: Final = RefusedLog(site)
        self.connections: Final = Connections(self._answer, _refused)
        self._gate: Final = Gate(site)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        given = request.headers.get("X-Request-Id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        try:
            async with asyncio.timeout(LIMIT) as limit:
                return await self._serve(request, request_id)
        except Refusal as refusal:
            response = _refused(refusal, request_id)
            if refusal.status is HTTPStatus.METHOD_NOT_ALLOWED:
                response.headers[hdrs.ALLOW] = self.table.allowed(_path_of(request)[0])
        except TimeoutError:
            if not limit.expired():
                _log.exception("request %s failed", request_id)
            response = _refused(too_slow(), request_id)
        except DatabaseUnavailable as error:
            _log.warning("request %s: %s", request_id, error)
            response = _refused(no_database(error), request_id)
        except StatementRefused as error:
            response = _refused(refused_by_database(error, request_id), request_id)
        except Exception:  # noqa: BLE001 - whatever it is, the caller gets an answer, and the log the rest
            _log.exception("request %s failed", request_id)
            message = "something went wrong here; the log has it under the request's id"
            response = _refused(Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", message), request_id)
        return response

    async def _serve(self, request: web.BaseRequest, request_id: str) -> web.StreamResponse:
        source = request.remote or "?"
        self._gate.check_caller(request.method, request.headers, source)
        path, query = _path_of(request)
        identity: Identity | None = None
        try:
            found = self._found(request.method, path)
            anybody = not isinstance(found, Refusal) and found[0].access == ANYBODY
            if not anybody:
                identity = await self._gate.identify(request.headers, source)
            if isinstance(found, Refusal):
                raise found
            route, holes = found
            if identity is not None:
                self._gate.check_access(identity, route.access)
        except Refusal as refusal:
            self._note(refusal, request, path, identity, source, request_id)
            raise
        call: Call[Any, Any] = Call(
            site=self.site,
            params=params_of(holes, query, route.params),
            body=await self._body(request, route),
            identity=identity or _NOBODY,
            source=source,
            request_id=request_id,
            if_match=epoch_of(request.headers.get(hdrs.IF_MATCH)),
        )
        return _response(await route.handler(call), request_id)

    def _found(self, method: str, path: str) -> tuple[AnyRoute, dict[str, str]] | Refusal:
        try:
            return self.table.find(method, path)
        except Refusal as refusal:
            return refusal  # who asks comes first

    async def _body(self, request: web.BaseRequest, route: AnyRoute) -> Any:  # noqa: ANN401 - what the route takes
        check_body_kind(request.headers, has_body=request.body_exists and request.content_length != 0)
        if (request.content_length or 0) > LARGEST:
            raise too_large(LARGEST)
        if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue" and request.transport is not None:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            sent = await request.read()
        except HTTPRequestEntityTooLarge:
            raise too_large(LARGEST) from None
        except web.RequestPayloadError:
            raise bad_request("bad_http", "the body of the request cannot be read") from None
        return body_of(sent, route.body)

    def _note(  # noqa: PLR0913, PLR0917 - what the audit log wants to know
        self,
        refusal: Refusal,
        request: web.BaseRequest,
        path: str,
        identity: Identity | None,
        source: str,
        request_id: str,
    ) -> None:
        """Have it written down that somebody tried what they may not."""
        if refusal.status in _AUDITED:
            actor = "nobody" if identity is None else f"token {identity.name}"
            self.refused.note(Refused(f"{request.method} {path}"[:200], refusal.code, actor, source, request_id))


def _path_of(request: web.BaseRequest) -> tuple[str, str]:
    """Split what the request asks for, as it was sent. Raises Refusal for what is no path."""
    target = request.raw_path
    path, _, query = target.partition("?")
    if not path.startswith("/") or "#" in target:
        raise bad_request("bad_path", "the request is not for a path of this server")
    return path, query


def _response(outcome: msgspec.Struct | Reply, request_id: str) -> web.Response:
    reply = outcome if isinstance(outcome, Reply) else None
    answer = outcome if reply is None else reply.answer
    body = answer if isinstance(answer, bytes) else msgspec.json.encode(answer) + b"\n"
    kind = JSON if reply is None else reply.content_type
    headers = {**PROTECTION, hdrs.CONTENT_TYPE: kind, "X-Request-Id": request_id}
    if reply is None:
        return web.Response(body=body, headers=headers)
    return web.Response(status=reply.status, body=body, headers={**headers, **reply.headers})


def _refused(refusal: Refusal, request_id: str | None = None) -> web.Response:
    named = request_id or secrets.token_hex(8)
    headers = {**PROTECTION, hdrs.CONTENT_TYPE: JSON, "X-Request-Id": named}
    if refusal.status is HTTPStatus.UNAUTHORIZED:
        headers[hdrs.WWW_AUTHENTICATE] = "Bearer"
    if refusal.retry_after is not None:
        headers[hdrs.RETRY_AFTER] = str(math.ceil(refusal.retry_after))
    body = msgspec.json.encode(answer_of(refusal, named)) + b"\n"
    return web.Response(status=refusal.status, body=body, headers=headers)
