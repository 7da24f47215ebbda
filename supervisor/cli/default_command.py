"""A group of commands that shows something when no command of it is named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from supervisor.cli.help_page import Group

if TYPE_CHECKING:
    from typer._click.core import Context

_OF_ITS_OWN: Final = frozenset({"-h", "--help"})


class Status(Group):
    """A group whose command `status` is the default."""

    default = "status"

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """Put the default before options without a command."""
        if not args or (args[0].startswith("-") and args[0] not in _OF_ITS_OWN):
            args = [self.default, *args]
        return super().parse_args(ctx, args)


class Listing(Status):
    """A group whose command `list` is the default."""

    default = "list"
