"""A child process with a limit: what a test does to a whole process it must not do to its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from typing import IO, TYPE_CHECKING

from tests.source import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT = 20.0
"""Seconds after which a child is killed, so that a test that waits for it fails instead of hanging."""


@contextlib.contextmanager
def child(script: str, *arguments: str, stderr: int | IO[str] = subprocess.PIPE) -> Iterator[subprocess.Popen[str]]:
    """Run a Python script with this project on its path and all streams as text pipes; it never outlives the test."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", script, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    limit = threading.Timer(LIMIT, process.kill)
    limit.start()
    with process:
        try:
            yield process
        finally:
            limit.cancel()
            process.kill()


def line(stream: IO[str] | None) -> str:
    """Read the next line of a child's stream; empty when the child has ended."""
    assert stream is not None
    return stream.readline().rstrip("\n")


def say(stream: IO[str] | None, text: str) -> None:
    """Write one line to a child."""
    assert stream is not None
    stream.write(text + "\n")
    stream.flush()
