"""Holds the house rules over the project's own source, and proves that each rule catches what it forbids."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests import rules
from tests.source import PRODUCT, PROGRAMS, ROOT, TESTS, Finding, Source, parse, read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Rule = Callable[[Source], Iterator[Finding]]

CODE = (*PRODUCT, *PROGRAMS)
EVERYTHING = (*CODE, *TESTS)


@pytest.mark.parametrize(
    ("rule", "folders"),
    [
        pytest.param(rules.bare_tasks, EVERYTHING, id="tasks"),
        pytest.param(rules.shields, EVERYTHING, id="shields"),
        pytest.param(rules.blocking_sleeps, (*PRODUCT, *TESTS), id="blocking sleeps"),
        pytest.param(rules.timed_sleeps, TESTS, id="timed sleeps"),
        pytest.param(rules.vague_names, EVERYTHING, id="names"),
        pytest.param(rules.swallowed, CODE, id="swallowed errors"),
        pytest.param(rules.stray_imports, PRODUCT, id="imports"),
        pytest.param(rules.long_files, PRODUCT, id="length"),
        pytest.param(rules.tests_without_promise, TESTS, id="promises"),
    ],
)
def test_the_source_keeps_the_rule(rule: Rule, folders: tuple[str, ...]) -> None:
    """No file of the project breaks the house rule."""
    assert [str(found) for source in read(*folders) for found in rule(source)] == []


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (rules.bare_tasks, "import asyncio\nasyncio.create_task(f())"),
        (rules.bare_tasks, "import asyncio as aio\nspawn = aio.ensure_future"),
        (rules.bare_tasks, "from asyncio import create_task as spawn\nspawn(f())"),
        (rules.bare_tasks, "import asyncio\nasyncio.get_running_loop().create_task(f())"),
        (rules.bare_tasks, "self._loop.create_task(f())"),
        (rules.shields, "from asyncio import shield\nawait shield(f())"),
        (rules.blocking_sleeps, "import time\ntime.sleep(0)"),
        (rules.blocking_sleeps, "from time import sleep\nrun_in_thread(sleep, 1)"),
        (rules.timed_sleeps, "import asyncio\nawait asyncio.sleep(0.1)"),
        (rules.timed_sleeps, "from anyio import sleep as nap\nawait nap(delay)"),
        (rules.timed_sleeps, "import asyncio\nawait asyncio.sleep(delay=1)"),
        (rules.swallowed, "try: f()\nexcept BaseException: log()"),
        (rules.swallowed, "try: f()\nexcept: pass"),
        (rules.swallowed, "try: f()\nexcept (ValueError, asyncio.CancelledError): return None"),
        (rules.swallowed, "try: f()\nexcept anyio.get_cancelled_exc_class(): pass"),
        (rules.swallowed, "try: f()\nexcept BaseException as error: raise Other from error"),
        (rules.swallowed, "try: f()\nexcept Exception: pass"),
        (rules.swallowed, "for x in y:\n try: f()\n except Exception: continue"),
        (rules.swallowed, "import contextlib\nwith contextlib.suppress(Exception): f()"),
        (rules.swallowed, "from contextlib import suppress\nwith suppress(OSError, CancelledError): f()"),
        (rules.stray_imports, "import structlog"),
        (rules.stray_imports, "from opentelemetry import trace"),
        (rules.stray_imports, "def f():\n    from rich.table import Table"),
        (rules.stray_imports, "import importlib\nimportlib.import_module('typer')"),
        (rules.long_files, "x = 1\n" * (rules.MAX_LINES + 1)),
    ],
)
def test_a_broken_rule_is_caught(rule: Rule, text: str) -> None:
    """The rule finds the one place that breaks it."""
    assert len(list(rule(parse("supervisor/tree/actor.py", text)))) == 1


@pytest.mark.parametrize(
    ("rule", "path", "text"),
    [
        (rules.bare_tasks, "supervisor/tree/incarnation.py", "import asyncio\nasyncio.create_task(f())"),
        (
            rules.bare_tasks,
            "tests/tree/test_stop.py",
            "async with asyncio.TaskGroup() as group: group.create_task(f())",
        ),
        (rules.blocking_sleeps, "supervisor/testing.py", "import time\ntime.sleep(1)"),
        (rules.timed_sleeps, "tests/tree/test_stop.py", "import asyncio\nawait asyncio.sleep(0)"),
        (rules.timed_sleeps, "tests/tree/test_stop.py", "import anyio\nawait anyio.sleep_forever()"),
        (rules.swallowed, "supervisor/tree/incarnation.py", "try: f()\nexcept BaseException: pass"),
        (rules.swallowed, "supervisor/app.py", "try: f()\nexcept BaseException:\n    log()\n    raise"),
        (rules.swallowed, "supervisor/app.py", "try: f()\nexcept BaseException as error:\n    raise error"),
        (rules.swallowed, "supervisor/app.py", "try: f()\nexcept Exception as error: record(error)"),
        (rules.swallowed, "supervisor/app.py", "try: f()\nexcept OSError: pass"),
        (rules.stray_imports, "supervisor/telemetry/logs.py", "import structlog"),
        (rules.stray_imports, "supervisor/cli/top.py", "from rich.live import Live"),
        (rules.long_files, "supervisor/app.py", "x = 1\n" * rules.MAX_LINES),
    ],
)
def test_a_kept_rule_is_quiet(rule: Rule, path: str, text: str) -> None:
    """The rule says nothing about code that keeps it, nor about the files that may break it."""
    assert list(rule(parse(path, text))) == []


@pytest.mark.parametrize(
    ("path", "count"),
    [("supervisor/utils.py", 1), ("tests/helpers/common.py", 2), ("actors/manager.py", 1), ("supervisor/app.py", 0)],
)
def test_a_vague_name_is_caught(path: str, count: int) -> None:
    """The rule finds a vague name of a file or of a folder."""
    assert len(list(rules.vague_names(parse(path, "")))) == count


@pytest.mark.parametrize(
    ("docstring", "count"),
    [
        ('"""The promise."""', 0),
        ('"""A promise that goes on\n    over two lines."""', 0),
        ("pass", 1),
        ('"""No end"""', 1),
        ('"""One promise. Another promise."""', 1),
        ('"""One promise.\n\n    And its story.\n    """', 1),
    ],
)
@pytest.mark.parametrize("keyword", ["def", "async def"])
def test_a_test_without_a_promise_is_caught(keyword: str, docstring: str, count: int) -> None:
    """The rule asks each test for exactly one sentence."""
    source = parse("tests/unit/test_x.py", f"class TestX:\n  {keyword} test_x(self):\n    {docstring}\n")
    assert len(list(rules.tests_without_promise(source))) == count


@pytest.mark.parametrize("lock", ["run.lock", "dev.lock"])
def test_a_lock_names_no_place(lock: str) -> None:
    """A lock file holds names, versions and hashes only, so it installs from whichever index its user has."""
    allowed = re.compile(r"[a-z0-9.-]+==[\w.]+( ; [\w' =!.<>]+)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?")
    lines = (ROOT / "requirements" / lock).read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not allowed.fullmatch(line)] == []


def test_every_locked_package_has_its_licence_on_record() -> None:
    """The list of licences names each locked package at the version that is locked."""
    lock = (ROOT / "requirements/dev.lock").read_text(encoding="utf-8")
    licences = (ROOT / "docs/licences.md").read_text(encoding="utf-8")
    locked = re.findall(r"^([a-z0-9.-]+)==([\w.]+)", lock, re.MULTILINE)
    listed = re.findall(r"^\| ([a-z0-9.-]+) \| (\d[\w.]*) \| [^|]+ \|", licences, re.MULTILINE)
    assert sorted(listed) == sorted(locked)
