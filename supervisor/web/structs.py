"""What requests and answers are made of: names in camelCase, times with a zone, texts that can be kept."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, TypeAlias

import msgspec


class Body(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Base of what is sent with a request."""


class Params(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Base of what stands in the path and after the question mark."""


class Answer(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of what is answered."""


class NoBody(Body, frozen=True, kw_only=True):
    """Nothing, or an empty object."""


class NoParams(Params, frozen=True, kw_only=True):
    """Nothing."""


_PRINTED = r"^[^\x00-\x1f\x7f-\x9f]+$"
_SAID = r"^[^\x00]*[^\s\x00][^\x00]*$"

Name: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=128, pattern=_PRINTED)]
"""Of a service, a tenant, a queue, a kind, a limit."""
Reason: TypeAlias = Annotated[
    str, msgspec.Meta(min_length=1, max_length=1000, pattern=_SAID, description="Why; kept in the audit log.")
]
Person: TypeAlias = Annotated[
    str, msgspec.Meta(min_length=1, max_length=200, pattern=_PRINTED, description="Who; kept in the audit log.")
]
JobId: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
Moment: TypeAlias = Annotated[datetime, msgspec.Meta(tz=True)]
Page: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=200, description="How many at most.")]
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]
