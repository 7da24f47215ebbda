"""The settings of one process: every one that there is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path  # noqa: TC003 - the types of the fields are read at run time
from typing import TYPE_CHECKING, Annotated, Final

from supervisor.config import forms
from supervisor.config.table import Conflict, Secret, Setting, SettingsTable

if TYPE_CHECKING:
    from collections.abc import Iterator


class LogLevel(StrEnum):
    """The least severe events that are logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """How log lines look; `auto` is human on a terminal and json elsewhere."""

    AUTO = "auto"
    HUMAN = "human"
    JSON = "json"


class Lane(StrEnum):
    """Which jobs a process runs: those that no process died with, or the suspects."""

    MAIN = "main"
    QUARANTINE = "quarantine"


_WHY_10: Final = "7 s of it are reserved for the steps after the drain"
_DIRECT: Final = "the database without a pooler between, for what needs a connection of its own"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(SettingsTable):
    """The settings of one process; durations are in seconds.

    `lane` is none: the command `run` sets it, in the process that was started for suspect jobs.
    """

    app: Annotated[str | None, Setting("the application to run", pattern=forms.APP, form=forms.APP_FORM)] = None
    shutdown_timeout: Annotated[
        float, Setting("all the time that a shutdown may take, to the end of the process", ge=10, unit="s", why=_WHY_10)
    ] = 60.0
    loop_block_warn: Annotated[float, Setting("log the stack of a loop blocked for so long", gt=0, unit="s")] = 0.5
    loop_block_limit: Annotated[float, Setting("end a process blocked for so long; 0 means never", unit="s")] = 20.0
    log_level: Annotated[LogLevel, Setting("the least severe events that are logged")] = LogLevel.INFO
    log_format: Annotated[LogFormat, Setting("auto is human on a terminal and json elsewhere")] = LogFormat.AUTO
    runtime_dir: Annotated[Path | None, Setting("the folder of the local introspection socket")] = None
    name: Annotated[str | None, Setting("name in logs and sockets", pattern=forms.NAME, form=forms.NAME_FORM)] = None
    trace_messages: Annotated[bool, Setting("trace every message between actors")] = False

    concurrency: Annotated[int, Setting("how many jobs run at once", ge=1, le=10_000)] = 100
    threads: Annotated[int, Setting("how many of them may be plain functions, in threads", ge=1, le=1000)] = 32
    queues: Annotated[
        tuple[str, ...],
        Setting("only these queues; none means all of the app", pattern=forms.QUEUE, form=forms.QUEUE_FORM),
    ] = ()
    until_empty: Annotated[bool, Setting("end when no job is left to run")] = False
    drain_timeout: Annotated[
        float, Setting("how long jobs may go on at a stop; shutdown_timeout cuts it short", unit="s")
    ] = 30.0
    poll: Annotated[float, Setting("look for jobs so often without being told", ge=0.01, le=60, unit="s")] = 1.0
    idle_poll: Annotated[float, Setting("the same after a minute without jobs", ge=0.01, le=600, unit="s")] = 5.0
    lease: Annotated[float, Setting("how long a silent process keeps its jobs", ge=1, le=3600, unit="s")] = 30.0
    heartbeat: Annotated[float, Setting("how often a process renews its lease", ge=0.1, le=1200, unit="s")] = 10.0
    max_losses: Annotated[int, Setting("a job that so many processes died with is put away", ge=1, le=100)] = 3
    quarantine: Annotated[bool, Setting("run jobs that a process died with in a process of their own")] = True
    history_days: Annotated[int, Setting("how many days of ended jobs are kept", ge=1, le=36_600)] = 14

    singleton: Annotated[
        str | None,
        Setting("of all processes with this name only one works", pattern=forms.SINGLETON, form=forms.SINGLETON_FORM),
    ] = None
    singleton_wait: Annotated[bool, Setting("stand by for the place of another; off: leave with exit code 69")] = True

    http: Annotated[bool, Setting("answer HTTP")] = True
    http_host: Annotated[
        str, Setting("the address to answer HTTP at", pattern=forms.HTTP_HOST, form=forms.HTTP_HOST_FORM)
    ] = "127.0.0.1"
    http_port: Annotated[int, Setting("its port; 0 means any that is free", ge=0, le=65_535)] = 8420
    http_tokens: Annotated[bool, Setting("ask for tokens on the loopback address too")] = False
    http_hosts: Annotated[
        tuple[str, ...],
        Setting("further names to answer to", pattern=forms.HTTP_HOST, form=forms.HTTP_HOST_FORM),
    ] = ()
    http_rate: Annotated[
        float, Setting("requests a second of one token or address; 0 means no limit", ge=0, le=1e6)
    ] = 1000.0

    database_url: Annotated[
        Secret | None,
        Setting(
            "the database; without it the process starts its own PostgreSQL",
            pattern=forms.DATABASE_URL,
            form=forms.DATABASE_URL_FORM,
            env="DATABASE_URL",
        ),
    ] = None
    direct_database_url: Annotated[
        Secret | None, Setting(_DIRECT, pattern=forms.DATABASE_URL, form=forms.DATABASE_URL_FORM)
    ] = None
    database_wait: Annotated[
        float, Setting("how long a start waits for a database that is not there yet", le=3600, unit="s")
    ] = 60.0
    schema: Annotated[
        str, Setting("the schema of all tables and functions", pattern=forms.SCHEMA, form=forms.SCHEMA_FORM)
    ] = "supervisor"
    migrate: Annotated[bool, Setting("bring the schema to what this release needs at the start")] = True
    data_dir: Annotated[Path | None, Setting("the folder of the process's own PostgreSQL")] = None
    pg_bindir: Annotated[Path | None, Setting("the programs of that PostgreSQL; none means: look for them")] = None

    lane: Lane = Lane.MAIN

    def conflicts(self) -> Iterator[Conflict]:
        """Yield what is wrong between settings: the one place for checks of more than one field."""
        if 0 < self.loop_block_limit <= self.loop_block_warn:
            remedy = "raise the limit, lower loop_block_warn, or set the limit to 0 for none"
            yield Conflict(("loop_block_limit", "loop_block_warn"), "must be above loop_block_warn", remedy)
        if self.heartbeat * 2 >= self.lease:
            remedy = "lower heartbeat, or raise lease: one heartbeat may get lost without harm"
            yield Conflict(("heartbeat", "lease"), "must be below half of lease", remedy)
        if self.idle_poll < self.poll:
            yield Conflict(("idle_poll", "poll"), "must not be below poll", "raise it, or lower poll")
        if len(set(self.queues)) < len(self.queues):
            yield Conflict(("queues",), "has a queue twice", "name each queue once")
        if self.direct_database_url is not None and self.database_url is None:
            remedy = "set DATABASE_URL too, or that alone if no pooler stands between"
            yield Conflict(("direct_database_url", "database_url"), "is nothing without database_url", remedy)
