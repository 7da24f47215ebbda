"""Builds the tree of an application that has jobs, out of the ready-made actors."""

from __future__ import annotations

import importlib
import os
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import supervisor
from supervisor.config import Config, Lane
from supervisor.errors import ConfigError
from supervisor.process.lane import VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from supervisor.app import App
    from supervisor.tree.supervisor import Supervisor

_OURS: Final = Path(supervisor.__file__).resolve().parents[1] / "actors"


def job_tree(app: App, settings: Config) -> Supervisor:
    """Return the tree that does the jobs of this application. Raises ConfigError for one that cannot work."""
    lane = _lane(os.environ.get(VARIABLE))
    refuse_hidden_actors()
    from actors.standard import standard_tree

    return standard_tree(app, replace(settings, lane=lane), lane=lane)


def refuse_hidden_actors() -> None:
    """Raise ConfigError if files of the user stand before the ready-made actors, which have a folder of that name.

    `actors` has no `__init__.py`, so that a user's folder `actors` is merged with ours as long as it has none either,
    and no file of the same name as one of ours.
    """
    for mine, theirs in _hidden():
        if theirs.name == "__init__.py":
            remedy = (
                f"delete it: a folder {theirs.parent.name} without that file works the same, and is merged with ours"
            )
        else:
            remedy = "rename it"
        raise ConfigError(f"{str(theirs)!r} hides {mine} of supervisor-runtime\n  remedy: {remedy}")


def _hidden() -> Iterator[tuple[str, Path]]:
    """List the modules of ours that an import would not find, each with the file that it would find."""
    package = importlib.import_module("actors")
    if package.__file__ is not None:
        yield "the package `actors`", Path(package.__file__)
        return
    for path in sorted(_OURS.glob("*.py")):
        found = find_spec(f"actors.{path.stem}")
        if found is not None and found.origin is not None and Path(found.origin).resolve() != path:
            yield f"the module `actors.{path.stem}`", Path(found.origin)


def _lane(given: str | None) -> Lane:
    try:
        return Lane(given or Lane.MAIN)
    except ValueError:
        raise ConfigError(
            f"{VARIABLE} = {given!r}: is no setting, and set only by the runtime for processes that it starts\n"
            "  remedy: remove it from the environment"
        ) from None
