"""`tenant`: pause a tenant on all hosts, resume it, and say how large its share of the workers is."""

from __future__ import annotations

from typing import Annotated

import typer

from supervisor.cli.change_options import Json, Reason, checked_name, terms
from supervisor.cli.default_command import Listing
from supervisor.cli.help_page import Command
from supervisor.cli.named_switch import Name, add_looks, add_switch

tenant = typer.Typer(cls=Listing, rich_markup_mode=None, help="Pause or resume a tenant, weigh it; list them.")
add_looks(tenant, "tenant")
add_switch(tenant, "tenant", "pause", "resume")


@tenant.command(cls=Command)
def weight(
    name: Name,
    weight: Annotated[float, typer.Argument(metavar="WEIGHT", min=0.01, max=100.0, help="1 is the usual.")],
    *,
    reason: Reason = None,
    as_json: Json = False,
) -> None:
    """Give a tenant a larger or a smaller share while several wait.

    A tenant of weight 2 gets twice as many of the free slots as one of weight 1. Nobody is held up by a
    weight while slots are free.
    """
    checked_name(name, "tenant")
    agreed = terms(reason=reason, as_json=as_json)
    from supervisor.cli.limit_changes import set_weight

    set_weight(name, weight, agreed)
