"""`service`: disable a service on all hosts, and enable it."""

from __future__ import annotations

import typer

from supervisor.cli.default_command import Listing
from supervisor.cli.named_switch import add_looks, add_switch

service = typer.Typer(cls=Listing, rich_markup_mode=None, help="Disable or enable a service; list them.")
add_looks(service, "service")
add_switch(service, "service", "disable", "enable")
