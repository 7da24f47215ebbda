"""`kind`: pause one kind of jobs on all hosts, and resume it."""

from __future__ import annotations

import typer

from supervisor.cli.default_command import Listing
from supervisor.cli.named_switch import add_looks, add_switch

kind = typer.Typer(cls=Listing, rich_markup_mode=None, help="Pause or resume a kind of jobs; list them.")
add_looks(kind, "kind")
add_switch(kind, "kind", "pause", "resume")
