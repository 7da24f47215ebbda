"""The standard tree: its order is the order of a shutdown, and its limits fit into one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from actors.standard import standard_tree
from supervisor import Actor, App, AutoShutdown, Child, Restart, job
from supervisor.config import Config, Lane, Secret
from supervisor.tree.supervisor import Supervisor

if TYPE_CHECKING:
    from supervisor.tree.child import Node


@job()
async def mail() -> None:
    """Do nothing."""


@job(queue="slow")
async def report() -> None:
    """Do nothing."""


class Own(Actor[object]):
    pass


JOBS = [mail, report]
CONFIG = Config(app="shop:app", database_url=Secret("postgresql://localhost/shop"))


def names(tree: Supervisor) -> list[str]:
    """List the actors of a tree, in start order."""

    def leaves(node: Node) -> list[str]:
        return (
            [leaf for each in node.children for leaf in leaves(each)] if isinstance(node, Supervisor) else [node.name]
        )

    return leaves(tree)


def test_the_order_of_the_tree() -> None:
    """What others need starts first; what claims stops first, and the user's actors outlive the last job."""
    tree = standard_tree(App([Child("own", Own)], jobs=JOBS), CONFIG)
    assert [child.name for child in tree.children] == ["database", "core", "edge", "app", "work"]
    assert names(tree) == [
        *("database", "listener", "registrar", "heartbeater", "switchboard", "singletons"),
        *("meter", "surveyor", "slow_watch", "version_watch"),
        *("reaper", "promoter", "parker", "pruner", "limit_upkeep"),
        *("web", "quarantine"),
        "own",
        *("completer", "executor", "claimer"),
    ]


def test_a_lane_has_no_upkeep() -> None:
    """The process for suspects watches its parent, and neither listens nor does the upkeep nor starts a lane."""
    tree = standard_tree(App([Child("own", Own)], jobs=JOBS), CONFIG, lane=Lane.QUARANTINE)
    assert names(tree) == [
        *("parent_watch", "database", "registrar", "heartbeater", "switchboard", "singletons"),
        "own",
        *("completer", "executor", "claimer"),
    ]


@pytest.mark.parametrize(
    ("config", "present", "name"),
    [
        pytest.param(CONFIG, True, "quarantine", id="quarantine by default"),
        pytest.param(Config(app="shop:app", quarantine=False), False, "quarantine", id="quarantine off"),
        pytest.param(Config(), False, "quarantine", id="an app that no other process could find"),
        pytest.param(CONFIG, False, "until_empty", id="for ever by default"),
        pytest.param(Config(app="shop:app", until_empty=True), True, "until_empty", id="until empty"),
    ],
)
def test_what_settings_add(config: Config, present: bool, name: str) -> None:
    """Some actors are there only where the settings ask for them."""
    assert (name in names(standard_tree(App(jobs=JOBS), config))) is present


@pytest.mark.parametrize(
    "config",
    [CONFIG, Config(app="shop:app"), Config(app="shop:app", until_empty=True)],
    ids=["database", "own database", "until empty"],
)
def test_a_stop_fits_into_its_limit(config: Config) -> None:
    """With the default settings no part of a stop can be cut short by the parts before it."""
    assert standard_tree(App(jobs=JOBS), config).stop_limit <= config.shutdown_timeout


def test_the_start_of_the_database_is_not_cut_short() -> None:
    """The database may take as long as the settings allow, and its own server and the migrations besides."""
    tree = standard_tree(App(jobs=JOBS), Config(database_wait=600.0))
    assert tree.children[0].limits.start > 600.0 + 60.0


def test_an_app_that_ends_ends_the_process() -> None:
    """Where the user's actors end the program by ending, the tree around them ends too."""
    own = Child("own", Own, restart=Restart.TRANSIENT, significant=True)
    app = App([own], jobs=JOBS, auto_shutdown=AutoShutdown.ANY)
    assert standard_tree(app, CONFIG).auto_shutdown is AutoShutdown.ANY
    assert standard_tree(App(jobs=JOBS), CONFIG).auto_shutdown is AutoShutdown.NEVER


@pytest.mark.parametrize(("lane", "name"), [(Lane.MAIN, "process:shop"), (Lane.QUARANTINE, None)])
def test_a_process_that_is_a_singleton(lane: Lane, name: str | None) -> None:
    """The actors of a process that is a singleton run only while it is active; those of its helper in any case."""
    tree = standard_tree(App([Child("own", Own)], jobs=JOBS), Config(singleton="shop"), lane=lane)
    (app,) = [child for child in tree.children if child.name == "app"]
    assert app.singleton == name
