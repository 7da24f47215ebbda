"""The house rules as functions: each takes one file and lists where the file breaks the rule."""

from __future__ import annotations

import ast
import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from tests.source import Finding, Source, calls, dotted, imports, references

if TYPE_CHECKING:
    from collections.abc import Iterator

INCARNATION: Final = "supervisor/tree/incarnation.py"
HOSTILE: Final = "supervisor/testing.py"
LOOP: Final = "supervisor/process/loop.py"
STUBBORN: Final = "examples/stubborn.py"
HANDLERS: Final = "supervisor/jobs/handler_tasks.py"
THREADS: Final = "supervisor/jobs/threads.py"
BARE_LOOP: Final = "benchmarks/queue/bare.py"
PEERS: Final = frozenset(f"benchmarks/peers/python/{name}_contest.py" for name in ("pgqueuer", "procrastinate"))

# Own tasks and record how they end; start the first one; measure what a program without supervision would do.
MAY_SPAWN: Final = frozenset({INCARNATION, HANDLERS, LOOP, BARE_LOOP}) | PEERS
# Record every outcome; misbehave on purpose; end with the program.
MAY_CATCH_ALL: Final = frozenset({INCARNATION, HANDLERS, THREADS, HOSTILE, STUBBORN}) | PEERS
MAY_BLOCK: Final = frozenset({HOSTILE})  # blocks the loop on purpose

MAX_LINES: Final = 400
VAGUE_NAMES: Final = frozenset({"common", "helper", "helpers", "manager", "managers", "util", "utils"})
ONLY_IN: Final = {
    "asyncpg": "supervisor/store/",
    "opentelemetry": "supervisor/telemetry/",
    "prometheus_client": "supervisor/telemetry/",
    "rich": "supervisor/cli/",
    "structlog": "supervisor/telemetry/",
    "typer": "supervisor/cli/",
}

_SPAWN: Final = re.compile(r"^asyncio\.(create_task|ensure_future)$|(^|[._])loop(\(\))?\.create_task$")
_TIMED_SLEEPS: Final = frozenset({"anyio.sleep", "asyncio.sleep"})
_CATCH_ALL: Final = frozenset({"BaseException", "CancelledError", "get_cancelled_exc_class()"})
_SENTENCE_END: Final = re.compile(r"[.!?]\s+[A-Z]")


def bare_tasks(source: Source) -> Iterator[Finding]:
    """Tasks are created where their end is watched, and nowhere else."""
    if source.path not in MAY_SPAWN:
        yield from (found for found in references(source) if _SPAWN.search(found.what))


def shields(source: Source) -> Iterator[Finding]:
    """`asyncio.shield` leaves a task that nobody owns; a shielded cancel scope does the same without one."""
    yield from (found for found in references(source) if found.what == "asyncio.shield")


def blocking_sleeps(source: Source) -> Iterator[Finding]:
    """`time.sleep` stops the event loop and everything in it."""
    if source.path not in MAY_BLOCK:
        yield from (found for found in references(source) if found.what == "time.sleep")


def timed_sleeps(source: Source) -> Iterator[Finding]:
    """A sleep of some seconds makes a test slow or flaky; `sleep(0)` and `sleep_forever` do neither."""
    for found, node in calls(source):
        if found.what in _TIMED_SLEEPS and not (node.args and _is_zero(node.args[0])):
            yield found


def vague_names(source: Source) -> Iterator[Finding]:
    """A module is named after the one idea it holds."""
    parts = PurePosixPath(source.path).with_suffix("").parts
    yield from (Finding(source.path, 1, f"vague name {part}") for part in parts if part in VAGUE_NAMES)


def swallowed(source: Source) -> Iterator[Finding]:
    """No handler swallows cancellation, and none drops every error without a word."""
    if source.path in MAY_CATCH_ALL:
        return
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ExceptHandler):
            names = _caught(node.type)
            if names & _CATCH_ALL and not _raises_again(node):
                yield Finding(source.path, node.lineno, f"except {', '.join(sorted(names))} without raise")
            elif "Exception" in names and all(_says_nothing(statement) for statement in node.body):
                yield Finding(source.path, node.lineno, "except Exception that drops the error")
    for found, call in calls(source):
        if found.what == "contextlib.suppress":
            names = {name for argument in call.args for name in _caught(argument)}
            if names & (_CATCH_ALL | {"Exception"}):
                yield Finding(source.path, found.line, f"suppress({', '.join(sorted(names))})")


def stray_imports(source: Source) -> Iterator[Finding]:
    """Some libraries belong to one folder, so that they can be replaced in one folder."""
    for found in imports(source):
        folder = ONLY_IN.get(found.what.partition(".")[0])
        if folder is not None and not source.path.startswith(folder):
            yield Finding(source.path, found.line, f"imports {found.what}; only {folder} may")


def long_files(source: Source) -> Iterator[Finding]:
    """A file that one cannot read in one go holds more than one idea."""
    if source.line_count > MAX_LINES:
        yield Finding(source.path, source.line_count, f"has {source.line_count} lines; the limit is {MAX_LINES}")


def tests_without_promise(source: Source) -> Iterator[Finding]:
    """A test states in one sentence what it promises."""
    if not PurePosixPath(source.path).name.startswith("test_"):
        return
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            text = ast.get_docstring(node) or ""
            if not text.endswith(".") or "\n\n" in text or _SENTENCE_END.search(text):
                yield Finding(source.path, node.lineno, f"{node.name} needs a docstring of one sentence")


def _is_zero(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value == 0


def _caught(node: ast.expr | None) -> set[str]:
    """Name the classes a handler catches, without their modules; a bare `except` is `BaseException`."""
    if node is None:
        return {"BaseException"}
    elements = node.elts if isinstance(node, ast.Tuple) else [node]
    return {dotted(element).rpartition(".")[2] for element in elements}


def _raises_again(handler: ast.ExceptHandler) -> bool:
    match handler.body[-1]:
        case ast.Raise(exc=None):
            return True
        case ast.Raise(exc=ast.Name(id=name)):
            return name == handler.name
        case _:
            return False


def _says_nothing(statement: ast.stmt) -> bool:
    match statement:
        case ast.Pass() | ast.Continue() | ast.Break() | ast.Expr(value=ast.Constant()):
            return True
        case ast.Return(value=value):
            return value is None or isinstance(value, ast.Constant)
        case _:
            return False
