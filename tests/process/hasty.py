"""Runs an application as the command line does, but in a hurry: a shutdown of one second where ten are the least.

`python -m tests.process.hasty module:name folder`. What is tested is what follows a limit, not its length.
"""

from __future__ import annotations

import sys
from pathlib import Path

from supervisor.cli.load_app import load_app
from supervisor.config import Config, LogFormat, LogLevel
from supervisor.process import budget, inspector, runner

TOTAL = 1.0


def main(app: str, folder: str) -> int:
    """Run it, and return its exit code."""
    vars(budget).update(LEAST_TOTAL=TOTAL, RESERVE=0.5, OVERRUN=2.0)
    vars(inspector).update(PATIENCE=TOTAL)
    vars(runner).update(THREADS=0.2)
    config = Config(
        shutdown_timeout=TOTAL, runtime_dir=Path(folder), log_format=LogFormat.JSON, log_level=LogLevel.DEBUG
    )
    return runner.run(load_app(app).root, config)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
