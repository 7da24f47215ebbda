"""The settings of a process that runs jobs: the database's URL and schema, the lease, the queues."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from supervisor.config import Lane, load
from tests.unit.setting_sources import HIDDEN, NOWHERE, env, loaded, refusal, written

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://",
        "postgres://host/shop",
        "postgresql://shop:h%40rd@host:5432/shop?sslmode=require&application_name=till",
        "postgresql://shop@/shop?host=/run/postgresql&port=5432",
        "postgresql://a:1,b:2,c/shop?target_session_attrs=primary",
        "postgresql://shop@[::1]:5432/shop",
        "postgresql://%2Frun%2Fpostgresql/shop?",
    ],
)
def test_the_forms_of_a_database_url(url: str) -> None:
    """Sockets, several hosts, options and escapes are all understood; both URLs are secrets."""
    config = load(environ={"DATABASE_URL": url, "SUPERVISOR_DIRECT_DATABASE_URL": url}, directory=NOWHERE)
    assert config.database_url is not None
    assert config.direct_database_url is not None
    assert config.database_url.reveal() == config.direct_database_url.reveal() == url
    assert url not in repr(config)


@pytest.mark.parametrize("schema", ["jobs", "_", "shop_2", "s" * 40, "orders", "supervisor"])
def test_a_schema_needs_no_quotes(schema: str) -> None:
    """Any name will do that works in SQL as it is."""
    assert loaded(schema=schema).schema == schema


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        (env(lease="20s"), "heartbeat = 10.0 (default): must be below half of lease; here lease = 20.0 (environment"),
        (env(heartbeat="15"), "heartbeat = 15.0 (environment SUPERVISOR_HEARTBEAT): must be below half of lease"),
        (env(poll="6"), "idle_poll = 5.0 (default): must not be below poll; here poll = 6.0"),
        (env(queues="a,b,a"), "queues = ('a', 'b', 'a') (environment SUPERVISOR_QUEUES): has a queue twice"),
        (
            {"SUPERVISOR_DIRECT_DATABASE_URL": f"postgresql://u:{HIDDEN}@h/d"},
            "direct_database_url = ****** (environment SUPERVISOR_DIRECT_DATABASE_URL): is nothing without",
        ),
    ],
)
def test_settings_of_jobs_that_do_not_go_together_are_refused(environ: dict[str, str], told: str) -> None:
    """A lease must outlast a lost heartbeat, and so on; a URL stays hidden here too."""
    message = refusal(environ=environ)
    assert f"(1):\n- {told}" in message
    assert HIDDEN not in message


@pytest.mark.parametrize(
    "url",
    [
        HIDDEN,
        f"mysql://u:{HIDDEN}@h/d",
        f"postgresql+asyncpg://u:{HIDDEN}@h/d",
        f"postgresql:/u:{HIDDEN}@h/d",
        f"host=h password={HIDDEN}",
        f"postgresql://u:{HIDDEN}@h:port/d",
        f"postgresql://u:{HIDDEN}@h:543210/d",
        f"postgresql://u:{HIDDEN}/x@h/d",
        f"postgresql://u:{HIDDEN}#x@h/d",
        f"postgresql://u:{HIDDEN}?x@h/d",
        f"postgresql://u:12/{HIDDEN}@h/d",
        f"postgresql://u:{HIDDEN}@x@h/d",
        f"postgresql://u:{HIDDEN}@[::1/d",
        f"postgresql://u:{HIDDEN}@h/d?sslmode",
        f"postgresql://u:{HIDDEN}@h/d?a=1&&b=2",
        f"postgresql://u:{HIDDEN}@h/d ",
        f"postgresql://u:{HIDDEN}@h/d\n",
    ],
)
@pytest.mark.parametrize("variable", ["DATABASE_URL", "SUPERVISOR_DIRECT_DATABASE_URL"])
def test_a_database_url_that_cannot_be_is_refused_unseen(variable: str, url: str) -> None:
    """What PostgreSQL's clients would misread is refused at the start, and no part of it is shown."""
    message = refusal(environ={variable: url})
    assert f"= ****** (environment {variable}): does not have the required form\n" in message
    assert "allowed: postgresql://user:password@host:port/database, special characters written as %XX" in message
    assert HIDDEN not in message


def test_the_environment_has_one_name_for_the_database() -> None:
    """Who takes the variable for one of ours is told the name, and not the value."""
    message = refusal(environ=env(database_url=f"postgresql://u:{HIDDEN}@h/d"))
    assert "SUPERVISOR_DATABASE_URL = (not shown)" in message
    assert "did you mean DATABASE_URL?" in message
    assert HIDDEN not in message


def test_the_lane_is_no_setting(tmp_path: Path) -> None:
    """Nobody can send a whole process into quarantine by a file or an option."""
    written(tmp_path, "lane = 'quarantine'")
    message = refusal(flags={"lane": "quarantine"}, directory=tmp_path)
    assert message.count("is not a setting") == 2
    assert load(environ={"SUPERVISOR_LANE": "quarantine"}, directory=NOWHERE).lane is Lane.MAIN
