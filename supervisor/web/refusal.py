"""What a request gets that is not served: one form for every error, whoever found it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

import msgspec


class Refusal(Exception):
    """A request that is not served.

    `code` is for programs and stays the same, `message` is for people; `field` names what of the request is wrong,
    `remedy` says what to do. `retry_after` is in seconds. None of them may quote a secret.
    """

    def __init__(  # noqa: PLR0913 - the parts of an error, as the answer has them
        self,
        status: HTTPStatus,
        code: str,
        message: str,
        *,
        field: str | None = None,
        remedy: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.field, self.remedy, self.retry_after = field, remedy, retry_after


class ErrorDetail(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What was wrong. `code` is for programs; `requestId` finds the request in the log."""

    code: str
    message: str
    field: Annotated[str | None, msgspec.Meta(description="The part of the request that is wrong.")] = None
    remedy: Annotated[str | None, msgspec.Meta(description="What to do about it.")] = None
    request_id: str


class ErrorAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to every request that is not served."""

    error: ErrorDetail


def answer_of(refusal: Refusal, request_id: str) -> ErrorAnswer:
    """Return what is sent."""
    return ErrorAnswer(
        error=ErrorDetail(
            code=refusal.code,
            message=refusal.message,
            field=refusal.field,
            remedy=refusal.remedy,
            request_id=request_id,
        )
    )


def bad_request(code: str, message: str, *, field: str | None = None, remedy: str | None = None) -> Refusal:
    """Return the refusal of a request that cannot be understood."""
    return Refusal(HTTPStatus.BAD_REQUEST, code, message, field=field, remedy=remedy)


def invalid(field: str | None, message: str, remedy: str | None = None) -> Refusal:
    """Return the refusal of a request that is understood, but has a value that cannot be."""
    return Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid", message, field=field, remedy=remedy)


def not_found(what: str, remedy: str | None = None) -> Refusal:
    """Return the refusal of a request for what is not there."""
    return Refusal(HTTPStatus.NOT_FOUND, "not_found", what, remedy=remedy)


def forbidden(code: str, message: str, remedy: str | None = None) -> Refusal:
    """Return the refusal of a request by somebody who may not."""
    return Refusal(HTTPStatus.FORBIDDEN, code, message, remedy=remedy)
