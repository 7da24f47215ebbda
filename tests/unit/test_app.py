"""An App: what it is made of, and what it refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from supervisor.app import App
from supervisor.errors import ConfigError
from supervisor.jobs.job import job
from supervisor.testing import running
from supervisor.tree.actor import Actor
from supervisor.tree.child import Child, Restart
from supervisor.tree.strategy import AutoShutdown, Strategy
from supervisor.tree.supervisor import Supervisor

if TYPE_CHECKING:
    from supervisor.jobs.events import JobEvent


class Till(Actor[int]):
    pass


@job(queue="mail")
async def send_welcome() -> None:
    """Do nothing."""


@job("send_welcome")
async def another() -> None:
    """Have the kind of another."""


async def watch(_event: JobEvent) -> None:
    """Watch in vain: nobody awaits it."""


TILL = Child("till", Till)


def test_without_jobs_the_actors_are_under_the_root() -> None:
    """The root has the actors in start order, and the strategy and patience of the app."""
    pair = [Child("a", Till), Supervisor("b")]
    app = App(actors=pair, strategy=Strategy.ONE_FOR_ALL, max_restarts=2, within=30.0)
    assert (app.root.name, list(app.root.children)) == ("root", pair)
    assert (app.root.strategy, app.root.max_restarts, app.root.within) == (Strategy.ONE_FOR_ALL, 2, 30.0)
    assert (len(app.catalog), app.jobs, app.on_job) == (0, (), None)


def test_with_jobs_the_actors_have_a_supervisor_of_their_own() -> None:
    """The tree of the jobs gets a supervisor `app` with the app's strategy, and none if there are no actors."""
    seen: list[JobEvent] = []
    app = App(jobs=[send_welcome], actors=[TILL], on_job=seen.append, strategy=Strategy.REST_FOR_ONE, max_restarts=3)
    above = app.actors_supervisor()
    assert above is not None
    assert (above.name, above.children, above.strategy, above.max_restarts) == (
        "app",
        (TILL,),
        Strategy.REST_FOR_ONE,
        3,
    )
    assert (above.restart, above.significant) == (Restart.PERMANENT, False)
    assert app.jobs == (send_welcome,)
    assert app.catalog["send_welcome"] is send_welcome
    assert app.on_job == seen.append
    assert App(jobs=[send_welcome]).actors_supervisor() is None


def test_actors_that_may_end_the_process_are_significant() -> None:
    """With an auto_shutdown the supervisor of the actors can end, and its end counts."""
    last = Child("till", Till, restart=Restart.TRANSIENT, significant=True)
    above = App(jobs=[send_welcome], actors=[last], auto_shutdown=AutoShutdown.ANY).actors_supervisor()
    assert above is not None
    assert (above.restart, above.significant, above.auto_shutdown) == (Restart.TRANSIENT, True, AutoShutdown.ANY)


async def test_the_actors_can_be_tested_without_the_jobs() -> None:
    """The root of an app with jobs runs its actors alone, without a database."""
    app = App(jobs=[send_welcome], actors=[Child("till", Till)])
    async with running(app.root) as tree:
        assert [node.path for node in tree.snapshot().walk()] == ["root", "root/till"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"jobs": send_welcome}, r"App: jobs=<Job 'send_welcome'.*is one Job: write jobs=\[…\] around it"),
        ({"jobs": "send_welcome"}, r"App: jobs='send_welcome' is no list: write jobs=\[…\]"),
        ({"jobs": 5}, r"App: jobs=5 is no list"),
        ({"jobs": [send_welcome, another]}, "two jobs of kind 'send_welcome': give one of them another kind"),
        (
            {"jobs": [send_welcome.function]},
            r"App: jobs\[0\] is <function send_welcome.*put @job\(\) above the function",
        ),
        ({"jobs": [send_welcome, TILL]}, r"App: jobs\[1\] is <Child till>, which is no job: put it into actors"),
        ({"actors": TILL}, r"App: actors=<Child till> is one Child: write actors=\[…\] around it"),
        ({"actors": None}, "App: actors=None is no list"),
        ({"actors": [Till]}, r"App: actors\[0\] is <class .*Till'>: write Child\('till', Till\), or a Supervisor"),
        ({"actors": [TILL, send_welcome]}, r"App: actors\[1\] is <Job 'send_welcome'.*put it into jobs"),
        ({"actors": [TILL, TILL]}, "two children are named 'till'"),
        ({"strategy": "one_for_one"}, "App: strategy='one_for_one': must be one of Strategy.ONE_FOR_ONE, "),
        ({"auto_shutdown": True}, "App: auto_shutdown=True: must be one of AutoShutdown.NEVER, "),
        ({"max_restarts": 0}, "max_restarts = 0; must be 1 or more"),
        ({"on_job": "log"}, "App: on_job='log': must be a function of one event"),
        ({"on_job": watch}, "App: on_job=<function watch.*must be a plain `def`"),
    ],
)
def test_an_app_that_cannot_work_is_refused(options: dict[str, Any], told: str) -> None:
    """The error names the field, what was given, and the remedy."""
    with pytest.raises(ConfigError, match=told):
        App(**options)


def test_a_singleton_needs_jobs() -> None:
    """Without jobs there is no database that could say where a singleton runs, so it is refused, however deep."""
    child = Child("own", Till, singleton="own")
    with pytest.raises(ConfigError, match="child 'own' has singleton='own', and an app without jobs has no database"):
        App([Supervisor("group", [child])])
