"""Stop jobs on two workers in every way there is, and count what starts afterwards.

It starts two workers with a PostgreSQL of their own and a few thousand jobs of two tenants, pauses one tenant, stops
everything, lets it go on while one of the workers stands still, and verifies the audit log. Whenever something was
stopped it counts what starts after the command has come back. Exit code: 0 if nothing did, else 1.
`python -m examples.control`; it takes half a minute and ends by itself.
"""

from __future__ import annotations

import argparse
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from examples.control.stage import Stage
from examples.orders.processes import Failed

if TYPE_CHECKING:
    from types import FrameType


def main() -> int:
    """Run the example; return the exit code."""
    argparse.ArgumentParser(
        prog="python -m examples.control", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    try:
        with Stage() as stage:
            _play(stage)
            return 0 if stage.verdict() else 1
    except Failed as failure:
        print(f"\n{failure}")
        return 1
    except KeyboardInterrupt:
        print("stopped")
        return 128 + signal.SIGINT


def _play(stage: Stage) -> None:
    stage.say("two workers, east and west; jobs of the tenants acme and globex")
    stage.start()

    stage.say("acme asks us to stop")
    stage.command("tenant", "pause", "acme", "--reason", "acme asked us to stop")
    stage.nothing_starts("acme", others=True)

    stage.say("something is wrong: stop everything, also what runs")
    stage.command("kill-switch", "activate", "--cancel-running", "--reason", "a page is scanned again and again")
    stage.nothing_starts()
    stage.command("kill-switch")

    stage.say("west stands still while we let the others go on")
    with stage.frozen():
        reason = ("--reason", "the loop is mended")
        stage.command("kill-switch", "deactivate", "--wait", "1s", *reason, code=1)
    stage.starts("globex")

    stage.say("west is back, and acme wants to go on")
    stage.command("tenant", "resume", "acme", "--reason", "acme called back")
    stage.starts("acme")

    stage.say("who did what")
    stage.command("audit", "list")
    stage.command("audit", "verify")


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
