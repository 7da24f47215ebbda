"""Prints the answer of a command for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def show_json(answer: Mapping[str, object] | Sequence[object]) -> None:
    """Print one JSON document."""
    import orjson

    typer.echo(orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode())
