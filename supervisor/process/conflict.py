"""Refuse to start where another package would quietly take the place of ours.

Two names are shared. The PyPI distribution `supervisor` (supervisord) installs the same import package: in one
environment the two directories are merged without an error and break each other. And `actors` is a namespace
package, so a project's own `actors/` folder adds to the ready-made actors, unless it has an `__init__.py`, which
hides them.
"""

from __future__ import annotations

from supervisor.errors import ConfigError


def check() -> None:
    """Raise `ConfigError` with one clear line when either name is taken; meant to run before anything else."""
    check_supervisord()
    check_actors()


def check_supervisord() -> None:
    """Raise `ConfigError` when the distribution `supervisor` is installed and ships the import package `supervisor`.

    Looks up that one name; `importlib.metadata.packages_distributions()` would read every distribution's file list.
    """
    from importlib import metadata  # noqa: PLC0415 - it loads the email package; only this check needs it

    try:
        found = metadata.distribution("supervisor")
    except metadata.PackageNotFoundError:
        return
    if _ships_supervisor(found.read_text("top_level.txt"), found.read_text("RECORD")):
        raise ConfigError(
            f"the distribution 'supervisor' {found.version} (supervisord) in {found.locate_file('')} installs the same"
            " import package as supervisor-runtime, and both break; run 'pip uninstall supervisor' and reinstall"
            " supervisor-runtime, or give each its own virtual environment"
        )


def check_actors() -> None:
    """Raise `ConfigError` when a module or regular package `actors` hides the namespace package of that name.

    Python prefers a regular package anywhere on `sys.path`, so this need not be the first entry.
    """
    from importlib.util import find_spec  # noqa: PLC0415 - only this check needs it

    try:
        spec = find_spec("actors")
    except ValueError:  # a module without a spec was put into sys.modules; its maker knows what they do
        return
    if spec is not None and spec.origin is not None:
        remedy = (
            "delete that file (the folder works without it) or rename the folder"
            if spec.submodule_search_locations is not None
            else "rename that module"
        )
        raise ConfigError(f"{spec.origin} hides the ready-made actors of supervisor-runtime: {remedy}")


def _ships_supervisor(top_level: str | None, record: str | None) -> bool:
    """Tell from a distribution's metadata whether it installs `supervisor/`.

    setuptools writes `top_level.txt`, every wheel installer writes `RECORD`; an editable install has its files in
    neither, but its `top_level.txt` names the package.
    """
    if top_level is not None and "supervisor" in top_level.split():
        return True
    return record is not None and any(line.startswith("supervisor/") for line in record.splitlines())
