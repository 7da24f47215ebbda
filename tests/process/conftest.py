"""What the process tests share: a way to start programs, each test's in one folder of its own."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.process.program import APPS, LIMIT, RUN, Program

if TYPE_CHECKING:
    from collections.abc import Iterator


class Start:
    """Starts programs that all have their sockets in `folder`; the end of the test ends them."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self.folder = folder
        self._stack = stack

    def __call__(self, app: str, *options: str, environ: dict[str, str] | None = None, limit: float = LIMIT) -> Program:
        """Run an application: a name in `tests.process.apps`, or `module:name`."""
        where = app if ":" in app else f"{APPS}:{app}"
        return self.python(
            *RUN, "--app", where, "--runtime-dir", str(self.folder), *options, environ=environ, limit=limit
        )

    def python(self, *arguments: str, environ: dict[str, str] | None = None, limit: float = LIMIT) -> Program:
        """Run Python with these arguments."""
        program = Program(arguments, self.folder, environ or {}, limit)
        self._stack.callback(program.close)
        return program


def _starting() -> Iterator[Start]:
    # Not pytest's own folder, whose path may be too long for a socket.
    with tempfile.TemporaryDirectory(prefix="sv-") as folder, contextlib.ExitStack() as stack:
        yield Start(Path(folder), stack)


@pytest.fixture
def start() -> Iterator[Start]:
    """Start programs that end with the test."""
    yield from _starting()


@pytest.fixture(scope="module")
def start_module() -> Iterator[Start]:
    """Start programs that the tests of a module share."""
    yield from _starting()
