"""Runs an application as the command line does, with a shutdown of one second where ten are the least that is allowed.

`python -m tests.process.hasty module:name folder`. What is tested is what follows a deadline, not its length.
"""

from __future__ import annotations

import sys
from pathlib import Path

from supervisor.cli.load_app import load_app
from supervisor.config import Config, LogFormat, LogLevel
from supervisor.process import budget
from supervisor.process.runner import run

TOTAL = 1.0


def main(app: str, folder: str) -> int:
    """Run it, and return its exit code."""
    for name, seconds in (("LEAST_TOTAL", TOTAL), ("RESERVE", 0.5), ("OVERRUN", 0.5)):
        setattr(budget, name, seconds)
    config = Config(
        shutdown_timeout=TOTAL, runtime_dir=Path(folder), log_format=LogFormat.JSON, log_level=LogLevel.DEBUG
    )
    return run(load_app(app).root, config)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
