"""Help pages: the plain ones of typer, with colours on a terminal."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, Final

from typer.core import TyperCommand, TyperGroup

if TYPE_CHECKING:
    from typer._click.core import Context

_TITLE: Final = re.compile(r"^(\w[\w ]*:)", re.MULTILINE)
# What is explained: options, or one word at the margin of a list.
_TERM: Final = re.compile(r"^(  )(--?[\w-]+(?:[,/ ]+--?[\w-]+)*|[\w-]+(?=  ))", re.MULTILINE)


class Command(TyperCommand):
    """A command with a coloured help page."""

    def get_help(self, ctx: Context) -> str:
        """Return the page; colours are left out where they cannot be seen."""
        return _coloured(super().get_help(ctx))


class Group(TyperGroup):
    """A group of commands with a coloured help page."""

    def get_help(self, ctx: Context) -> str:
        """Return the page; colours are left out where they cannot be seen."""
        return _coloured(super().get_help(ctx))


def _coloured(page: str) -> str:
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return page
    return _TERM.sub("\\1\033[36m\\2\033[0m", _TITLE.sub("\033[1m\\1\033[0m", page))
