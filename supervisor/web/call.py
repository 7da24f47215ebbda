"""One request as its handler sees it: read, checked, and allowed as far as the route table can say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from supervisor.web.refusal import forbidden, not_found
from supervisor.web.structs import Body, Params

if TYPE_CHECKING:
    from supervisor.web.identity import Identity
    from supervisor.web.site import Site

P = TypeVar("P", bound=Params)
B = TypeVar("B", bound=Body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[P, B]):
    """`source` is the address that it came from; `if_match` the epoch in an If-Match header, None without one."""

    site: Site
    params: P
    body: B
    identity: Identity
    source: str
    request_id: str
    if_match: int | None = None

    def actor(self, person: str | None = None) -> str:
        """Name who is behind this, for the audit log: the person that the request names, and the token for proof."""
        by = self.identity
        proof = by.name if by.token is None else f"token {by.name} {by.token}"
        return f"{person} ({proof})" if person else proof

    def must_cover(self, *, tenant: str | None = None, queue: str | None = None) -> None:
        """Raise Refusal if the token is not for this tenant and queue."""
        if not self.identity.covers(tenant=tenant, queue=queue):
            raise forbidden("not_covered", "the token is for other tenants or queues", "use one that covers this")

    def must_see(self, what: str, *, tenant: str | None, queue: str | None) -> None:
        """Raise Refusal as if it did not exist, for something that is none of the token's business."""
        if not self.identity.covers(tenant=tenant, queue=queue):
            raise not_found(f"there is no {what}")
