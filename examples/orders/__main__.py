"""Charge 3,000 orders against a payment service that fails, kill the worker in the middle, and count the charges.

It starts the payment service and `python -m supervisor run` with a PostgreSQL of its own, enqueues `orders.jsonl` with
`python -m supervisor enqueue --file`, kills the worker with SIGKILL while it works, starts it again, and at the end
holds the books of the payment service against the orders. Exit code: 0 if each order was charged exactly once, else 1.
`make run`, or `python -m examples.orders`; run it again and it makes another batch.
"""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from examples.orders.batch import Batch
from examples.orders.processes import Failed
from examples.orders.screen import Screen

if TYPE_CHECKING:
    from types import FrameType


def main() -> int:
    """Run the example; return the exit code."""
    options = _options()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    screen = Screen()
    is_over = False
    try:
        with Batch(screen, options.data, options.orders, options.seed) as batch:
            batch.start()
            batch.enqueue()
            batch.work(kills=options.kills)
            is_right = batch.report()
            is_over = True
            if not options.once:
                batch.stay()
    except Failed as failure:
        screen.say(f"\n{failure}")
        return 1
    except KeyboardInterrupt:
        screen.say("stopped")
        if not is_over:
            return 128 + signal.SIGINT
    return 0 if is_right else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m examples.orders", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--once", action="store_true", help="end after the table instead of running on")
    parser.add_argument(
        "--data", type=Path, default=_data(), help="folder of the database and of all files [%(default)s]"
    )
    parser.add_argument("--orders", type=int, default=3000, metavar="N", help="only the first N of the orders")
    parser.add_argument("--kills", type=int, default=1, metavar="N", help="kill the worker so often [%(default)s]")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1000), help="of what goes wrong [random]")
    return parser.parse_args()


def _data() -> Path:
    """A folder of the example's own, where a PostgreSQL can be: that does not run as root, nor below root's home."""
    given = os.environ.get("SUPERVISOR_DATA_DIR")
    if given:
        return Path(given)
    base = Path("/var/lib") if os.geteuid() == 0 else Path.home() / ".local/share"
    return base / "supervisor-orders"


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
