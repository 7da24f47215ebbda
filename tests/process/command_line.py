"""The command line with a database of its own: run within this process, or as one that can be killed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from supervisor.cli import main
from supervisor.config import settings
from tests.process.program import LIMIT
from tests.source import ROOT
from tests.store.sql_session import schema, session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    import pytest

    from tests.store.sql_session import Connection

SHOP = """
from dataclasses import dataclass
from supervisor.app import App
from supervisor.jobs.job import job

@dataclass(frozen=True)
class Welcome:
    user_id: int

@job(queue="mail")
async def welcome(args: Welcome) -> None:
    pass

app = App(jobs=[welcome])
"""
"""A program with one kind of job, `welcome`, in the file `shop.py` of the working directory."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:  # noqa: ANN401 - any JSON
        """The answer of a command with --json."""
        return json.loads(self.out)


class CommandLine:
    """Runs commands on the database `dsn`; `opened` is a connection to it, `folder` the working directory."""

    def __init__(self, dsn: str, opened: Connection, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.dsn = dsn
        self.opened = opened
        self.folder = folder
        self._capsys = capsys

    async def __call__(self, *words: str) -> Answer:
        """Run a command, which has an event loop of its own."""
        self._capsys.readouterr()
        code = await asyncio.to_thread(main, words)
        printed = self._capsys.readouterr()
        return Answer(code, printed.out, printed.err)

    async def value(self, statement: str, *args: object) -> Any:  # noqa: ANN401 - whatever the database says
        """Return one value."""
        return await self.opened.fetchval(statement, *args)

    async def statuses(self) -> dict[int, str]:
        """Return the status of every job, also of those that are over."""
        rows = await self.opened.fetch(
            "SELECT job_id, status FROM supervisor.job_queue "
            "UNION ALL SELECT job_id, status FROM supervisor.job_history"
        )
        return {row["job_id"]: row["status"] for row in rows}

    @contextlib.contextmanager
    def process(self, *words: str, **streams: Any) -> Iterator[subprocess.Popen[str]]:  # noqa: ANN401 - Popen's
        """Run a command as a process that never outlives the test."""
        pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        running = subprocess.Popen(
            [sys.executable, "-m", "supervisor", *words],
            text=True,
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "DATABASE_URL": self.dsn, "PYTHONUNBUFFERED": "1"},
            **{**pipes, **streams},
        )
        limit = threading.Timer(LIMIT, running.kill)
        limit.start()
        with running:
            try:
                yield running
            finally:
                limit.cancel()
                running.kill()


@contextlib.asynccontextmanager
async def command_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> AsyncIterator[CommandLine]:
    """Give a command line whose settings are those of a fresh database with the kind `noop`, and nothing else."""
    monkeypatch.chdir(folder)
    for variable in [row.env for row in settings()]:
        monkeypatch.delenv(variable, raising=False)
    (folder / "shop.py").write_text(SHOP, encoding="utf-8")
    async with schema() as dsn, session(dsn) as opened:
        monkeypatch.setenv("DATABASE_URL", dsn)
        yield CommandLine(dsn, opened, folder, capsys)
    sys.modules.pop("shop", None)


async def line_with(stream: Any, text: str) -> str:  # noqa: ANN401 - a text pipe
    """Read a process's lines up to one that has this text."""
    seen: deque[str] = deque(maxlen=20)
    while line := await asyncio.to_thread(stream.readline):
        seen.append(line)
        if text in line:
            return str(line)
    raise AssertionError(f"no line with {text!r} among {list(seen)}")
