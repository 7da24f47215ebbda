"""Secrets that are known, put wherever a secret may be: afterwards no output of a worker has any of them."""

from __future__ import annotations

import json
import re
import secrets
import signal
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import pytest

from supervisor.store import tokens
from supervisor.store.link import connect
from supervisor.store.tokens import Role
from tests.process import canary_jobs
from tests.process.canary_jobs import Secretive
from tests.process.engine import QUICK, Engine, engine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.process.conftest import Start
    from tests.process.program import Program

LISTENING: Final = re.compile(r"listening at (http://[\w.:\[\]]+)")
OF_A_JOB: Final = re.compile(r"^/api/jobs/\d+$")  # shows the arguments of a job to whoever may read jobs
OF_THE_CALLER: Final = {"body", "query"}  # an error may name the field, or the value, that the caller just sent
LOOKED_AT: Final = {"stderr", "arguments", "the tree", "answer to GET /metrics", "table job_history", "table workers"}
TERMINATE: Final = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> $1"
)


def canary(what: str) -> str:
    """Make a secret that is found wherever it goes, in a URL too."""
    return f"canary{what}{secrets.token_hex(8)}"


@dataclass(slots=True)
class Canaries:
    """One secret for each place that may hold one, and what was seen of the worker, by where that was."""

    password: str = field(default_factory=lambda: canary("password"))
    token: str = ""
    guess: str = field(default_factory=lambda: canary("guess"))
    args: str = field(default_factory=lambda: canary("args"))
    header: str = field(default_factory=lambda: canary("header"))
    cookie: str = field(default_factory=lambda: canary("cookie"))
    basic: str = field(default_factory=lambda: canary("basic"))
    query: str = field(default_factory=lambda: canary("query"))
    body: str = field(default_factory=lambda: canary("body"))
    seen: list[tuple[str, str]] = field(default_factory=list)

    def secrets(self) -> dict[str, str]:
        """Name the secrets."""
        names = ("password", "token", "guess", "args", "header", "cookie", "basic", "query", "body")
        return {name: getattr(self, name) for name in names}

    def found(self) -> list[str]:
        """Say which secret was seen where, with what stands around it."""
        return list(dict.fromkeys(self._found()))

    def _found(self) -> Iterator[str]:
        for where, text in self.seen:
            for name, secret in self.secrets().items():
                assert len(secret) > 10, f"there is no {name}"
                told_back = where.startswith("answer") and name in OF_THE_CALLER
                if (at := text.find(secret)) >= 0 and not told_back:
                    yield f"{name} in {where}: …{text[max(0, at - 120) : at]}[{name}]"


async def test_no_secret_leaves_the_process(start: Start) -> None:
    """A worker that fails in many ways tells its log, its metrics, its callers and the database no secret."""
    async with engine(start) as jobs:
        birds = Canaries()
        dsn = jobs.dsn.replace("://postgres@", f"://postgres:{birds.password}@")
        assert birds.password in dsn
        token = await a_token(jobs)
        birds.token = token[17:]
        program = start(
            "tests.process.canary_jobs:app",
            *QUICK,
            "--drain-timeout",
            "0.2s",
            environ={"DATABASE_URL": dsn, "SUPERVISOR_HTTP_PORT": "0", "SUPERVISOR_HTTP_TOKENS": "true"},
            limit=120.0,
        ).ready()
        (url,) = LISTENING.findall(program.err.expect("listening at http"))
        await run_jobs(jobs, birds)
        routes = await all_routes(url, token)
        await ask_everything(url, token, routes, birds)
        await jobs.rows(TERMINATE, jobs.connection.get_server_pid())
        await ask_everything(url, token, routes, birds)  # some of them while the database is lost
        program.send(signal.SIGUSR1)
        program.dumped("root")
        birds.seen.append(("the tree", json.dumps(program.ask("tree"))))
        birds.seen += arguments_of(program)
        birds.seen += await rows_of_all_tables(jobs)
        program.end()
        birds.seen += streams_of(program)
        assert {where for where, _ in birds.seen} >= LOOKED_AT
        assert birds.found() == []


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:{0}@127.0.0.1:1/db",
        "postgresql://user:{0}@db/x@y",
        "postgresql://user:p@{0}@db:5432/x",
        "postgresql://user:{0}/x@db:port/x",
        "mysql://user:{0}@db/x",
        "{0}",
    ],
)
@pytest.mark.parametrize("command", [("run", "--app", "tests.process.canary_jobs:app"), ("jobs", "list")])
def test_a_wrong_database_url_is_not_quoted(start: Start, url: str, command: tuple[str, ...]) -> None:
    """Whatever is wrong with the URL of the database, the error has nothing of its password."""
    birds = Canaries()
    environ = {"DATABASE_URL": url.format(birds.password), "SUPERVISOR_DATABASE_WAIT": "0"}
    program = start.python("-m", "supervisor", *command, environ=environ)
    assert program.wait() != 0
    told = streams_of(program)
    assert any(text for _, text in told)
    assert not any(birds.password in text for _, text in told), told


async def a_token(jobs: Engine) -> str:
    """Make a token that opens everything."""
    link = await connect(jobs.dsn)
    try:
        return (await tokens.create(link, "test", role=Role.ADMIN, actor="test", reason="a test")).text
    finally:
        await link.close()


async def run_jobs(jobs: Engine, birds: Canaries) -> None:
    """Run jobs with a secret among their arguments that end in every way, some with arguments that do not fit."""
    good = Secretive(birds.args)
    ids = [
        (await jobs.client.enqueue(job, good)).id
        for job in (
            canary_jobs.keep,
            canary_jobs.fail,
            canary_jobs.dawdle,
            canary_jobs.fail_in_a_thread,
            canary_jobs.unstorable,
        )
    ]
    kind = canary_jobs.keep.kind
    for wrong in (
        {"secret": birds.args, "colour": birds.args},
        {"secret": birds.args, "count": birds.args},
        {"secret": [birds.args]},
        {"secret": {birds.args: 1}},
        [birds.args],
        birds.args,
    ):
        (row,) = await jobs.rows("SELECT id FROM supervisor.enqueue_many($1, $2)", [kind], [json.dumps(wrong)])
        ids.append(row["id"])
    await jobs.rows("UPDATE supervisor.jobs SET max_attempts = attempts + 1 WHERE kind = $1", kind)
    for job in ids:
        await jobs.ended(job)
    await jobs.client.enqueue(canary_jobs.hold, good)


async def all_routes(url: str, token: str) -> list[tuple[str, str]]:
    """List the methods and paths that the server has, with some value for each part of a path that varies."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{url}/openapi.json", headers={"Authorization": f"Bearer {token}"}) as response,
    ):
        document = await response.json()
    return [
        (method.upper(), url + re.sub(r"\{\w*\}", "1", path))
        for path, methods in document["paths"].items()
        for method in methods
    ]


async def ask_everything(url: str, token: str, routes: list[tuple[str, str]], birds: Canaries) -> None:
    """Ask for all there is, with the token and without, with secrets where they do not belong."""
    async with aiohttp.ClientSession() as session:
        headers = {"X-Secret": birds.header, "Cookie": f"session={birds.cookie}", "User-Agent": birds.header}
        right = {**headers, "Authorization": f"Bearer {token}"}
        wrong_tokens = [f"Bearer {birds.guess}", f"Bearer {token[:17]}{birds.guess.ljust(43, 'x')[:43]}", "Bearer"]
        for given in (*wrong_tokens, f"Basic {birds.basic}"):
            await answer(session, "GET", f"{url}/api/system/status", birds, headers={**headers, "Authorization": given})
        for method, at in routes:
            if method == "GET":
                await answer(session, "GET", at, birds, headers=right)
                await answer(session, "GET", f"{at}?token={birds.query}&limit={birds.query}", birds, headers=right)
                continue
            for body in (f'{{"{birds.body}": 1}}', f'{{"reason": ["{birds.body}"]}}', birds.body, f'"{birds.body}'):
                json_headers = {**right, "Content-Type": "application/json"}
                await answer(session, method, at, birds, headers=json_headers, data=body)


async def answer(session: aiohttp.ClientSession, method: str, url: str, birds: Canaries, **options: Any) -> str:  # noqa: ANN401 - aiohttp's
    """Send a request, and keep the answer among what was seen; a job shows its arguments, which is what it is for."""
    async with session.request(method, url, timeout=aiohttp.ClientTimeout(20), **options) as response:
        text = await response.text()
        path = response.url.path
        if not OF_A_JOB.match(path):
            birds.seen.append((f"answer to {method} {path}", f"{dict(response.headers)}\n{text}"))
        return text


def arguments_of(program: Program) -> list[tuple[str, str]]:
    """Read the arguments of the process and of its children, as everybody on the machine can."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = re.search(r"^PPid:\s+(\d+)", (folder / "status").read_text(encoding="ascii"), re.MULTILINE)
            if folder.name == str(program.pid) or (parent is not None and parent[1] == str(program.pid)):
                found.append(("arguments", (folder / "cmdline").read_text(encoding="utf-8", errors="replace")))
    assert found
    return found


async def rows_of_all_tables(jobs: Engine) -> list[tuple[str, str]]:
    """Read everything that the database has, but the arguments of jobs."""
    tables = await jobs.rows(
        "SELECT relname FROM pg_class WHERE relnamespace = 'supervisor'::regnamespace AND relkind IN ('r', 'p')"
    )
    found = []
    for table in (row["relname"] for row in tables):
        rows = await jobs.rows(f"SELECT (to_jsonb(item) - 'args')::text AS text FROM supervisor.{table} AS item")  # noqa: S608
        found += [(f"table {table}", row["text"]) for row in rows]
    sessions = await jobs.rows("SELECT application_name FROM pg_stat_activity")
    return [*found, *(("a session", str(row["application_name"])) for row in sessions)]


def streams_of(program: Program) -> list[tuple[str, str]]:
    """Return all that the process printed."""
    return [("stdout", line) for line in program.out.lines] + [("stderr", line) for line in program.err.lines]
