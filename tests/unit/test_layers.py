"""Holds the layers: which part of the project may import which.

`__main__, cli` -> `actors` -> `app` -> `web, process, jobs` -> `store, telemetry, tree` -> `config, errors`
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.source import PRODUCT, Finding, Source, imports, parse, read

if TYPE_CHECKING:
    from collections.abc import Iterator

# What each layer may import besides itself. A part of the house that is not named here must be added first.
GROUND: Final = frozenset({"config", "errors", "safety"})
WINGS: Final = GROUND | {"store", "telemetry", "tree"}
FLOOR: Final = WINGS | {"web", "process", "jobs"}
FACADE: Final = "supervisor"  # supervisor/__init__.py: the public names
MAY_IMPORT: Final[dict[str, frozenset[str]]] = {
    "errors": frozenset(),
    "config": frozenset({"errors"}),
    "safety": frozenset({"errors"}),
    "tree": frozenset({"errors"}),
    "store": GROUND,
    "telemetry": GROUND | {"tree"},  # it subscribes to the events of the tree
    "web": WINGS,
    "process": WINGS,
    "jobs": WINGS,
    "app": FLOOR,
    FACADE: FLOOR | {"app"},
    "actors": FLOOR | {"app", FACADE},
    "testing": FLOOR | {"app", FACADE},  # for users' tests: nothing of ours imports it
    "cli": FLOOR | {"app", FACADE, "actors"},
    "__main__": FLOOR | {"app", FACADE, "actors", "cli"},
}


def layer_of(name: str) -> str | None:
    """Name the layer of a dotted module name; None for code that is not ours."""
    top, _, rest = name.partition(".")
    if top == "actors":
        return "actors"
    if top != "supervisor":
        return None
    part = rest.partition(".")[0]
    # `supervisor.Actor` is a public name, not a module: it comes from the facade.
    return part if part in MAY_IMPORT else FACADE


def home_of(source: Source) -> str:
    """Name the layer a file stands in; a part that no layer names gives that part's own name."""
    parts = source.path.removesuffix(".py").split("/")
    if parts[0] == "actors":
        return "actors"
    return FACADE if parts[1] == "__init__" else parts[1]


def violations(source: Source) -> Iterator[Finding]:
    """List the imports of a file that its layer forbids."""
    home = home_of(source)
    if home not in MAY_IMPORT:
        yield Finding(source.path, 1, f"{home} belongs to no layer: name it in MAY_IMPORT")
        return
    for found in imports(source):
        target = layer_of(found.what)
        if target is not None and target != home and target not in MAY_IMPORT[home]:
            allowed = ", ".join(sorted(MAY_IMPORT[home])) or "nothing of ours"
            yield Finding(source.path, found.line, f"{home} imports {found.what}; it may import {allowed}")


def test_imports_go_down_only() -> None:
    """No file of the project imports from a layer that stands above its own."""
    assert [str(found) for source in read(*PRODUCT) for found in violations(source)] == []


def test_the_layers_have_no_cycle() -> None:
    """No two layers may import each other, directly or through others."""
    reached: set[str] = set()
    while ready := {layer for layer, below in MAY_IMPORT.items() if below <= reached} - reached:
        reached |= ready
    assert reached == set(MAY_IMPORT)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        pytest.param("supervisor/tree/actor.py", "import supervisor.config", id="plain import"),
        pytest.param("supervisor/tree/actor.py", "from supervisor.store.pool import Pool", id="the other wing"),
        pytest.param("supervisor/tree/actor.py", "from supervisor import config", id="module of the root"),
        pytest.param("supervisor/tree/actor.py", "from .. import config", id="relative, the root"),
        pytest.param("supervisor/tree/actor.py", "from ..store import pool", id="relative, a folder"),
        pytest.param("supervisor/tree/__init__.py", "from ..app import App", id="relative, from a package"),
        pytest.param("supervisor/store/pool.py", "def f():\n    from supervisor.tree import actor", id="in a function"),
        pytest.param(
            "supervisor/store/pool.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from supervisor.tree import actor",
            id="for types only",
        ),
        pytest.param("supervisor/process/loop.py", "from supervisor import Actor", id="the facade from below"),
        pytest.param("supervisor/app.py", "from supervisor import *", id="star import"),
        pytest.param("supervisor/app.py", "import actors.claimer", id="actors from below"),
        pytest.param("supervisor/app.py", "from importlib import import_module\nimport_module('actors')", id="dynamic"),
        pytest.param("supervisor/config/table.py", "import supervisor.tree.clock as clock", id="up from the ground"),
        pytest.param("supervisor/errors.py", "from supervisor.config import Config", id="errors import nothing"),
        pytest.param("supervisor/safety/url.py", "from supervisor.store.url import read_url", id="checks stand alone"),
        pytest.param("supervisor/cli/run.py", "from supervisor.testing import running", id="test support"),
        pytest.param("actors/claimer.py", "from supervisor.cli import run", id="actors upwards"),
        pytest.param("supervisor/extra.py", "", id="a part without a layer"),
    ],
)
def test_a_forbidden_import_is_caught(path: str, text: str) -> None:
    """The rule sees a forbidden import in whatever form it is written."""
    assert [found.path for found in violations(parse(path, text))] == [path]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        pytest.param(
            "supervisor/tree/actor.py", "from supervisor.errors import Stop\nfrom . import mailbox", id="tree"
        ),
        pytest.param(
            "supervisor/tree/actor.py", "import supervisord\nimport asyncio", id="a name that only begins alike"
        ),
        pytest.param("supervisor/telemetry/logs.py", "from supervisor.tree.events import Event", id="telemetry"),
        pytest.param("supervisor/process/loop.py", "from ..tree import supervisor", id="process"),
        pytest.param(
            "supervisor/__init__.py", "from supervisor.app import App\nfrom .tree.actor import Actor", id="facade"
        ),
        pytest.param("supervisor/__main__.py", "from supervisor.cli import main", id="main"),
        pytest.param("supervisor/cli/run.py", "def f():\n    import actors.standard", id="cli"),
        pytest.param("actors/claimer.py", "from supervisor import Actor\nfrom actors import reaper", id="actors"),
    ],
)
def test_an_allowed_import_passes(path: str, text: str) -> None:
    """The rule says nothing about an import that goes down or stays in its folder."""
    assert list(violations(parse(path, text))) == []
