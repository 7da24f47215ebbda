"""One run of the example: its processes, its orders, and what became of them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING

from examples.orders.audit import audit
from examples.orders.gateway import URL
from examples.orders.ledger import Ledger
from examples.orders.order import FILE, of_run, read, write
from examples.orders.processes import CHECKOUT, Failed, Process, end_leftover, hold, until

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from examples.orders.screen import Screen

APP = "examples.orders.app:app"
KIND = "charge_order"
START = 120.0
"""Seconds in which the worker must be ready; the first start makes a database, on a machine that may be slow."""
BAR = 24
"""Signs for all orders."""
STUCK = 120.0
"""Seconds without any progress after which the example gives up."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the payment service has seen since its start."""

    requests: int = 0
    charges: int = 0
    receipts: int = 0
    replays: int = 0
    error: int = 0
    slow: int = 0
    lost: int = 0
    none: int = 0

    @property
    def retried(self) -> int:
        """Requests beyond the first for each charge."""
        return self.requests - self.charges


class Batch:
    """So many orders, charged by processes that live in `folder`. A context manager: its end ends the processes."""

    def __init__(self, screen: Screen, folder: Path, count: int, seed: int) -> None:
        self.screen = screen
        self.folder = folder.resolve()
        self.run = time.strftime("%y%m%d-%H%M%S")
        self.orders = of_run(read(FILE)[:count], self.run)
        self.seed = seed
        self.environ = {"SUPERVISOR_DATA_DIR": str(self.folder), "SUPERVISOR_APP": APP}
        self.kills = 0
        self.began = self.ended = 0.0
        self._payments: Process | None = None
        self._worker: Process | None = None
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.screen.clear()
        if self._worker is not None and self._worker.is_running:
            self.screen.say(f"stopping the worker (pid {self._worker.pid})")
        self._stack.close()

    # --- what happens ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the payment service and the worker."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._stack.callback(os.close, hold(self.folder / "example.lock"))
        for mark in self.folder.glob("worker-*.lock"):
            if (pid := end_leftover(mark)) is not None:
                self.screen.say(f"ended the worker of an earlier run (pid {pid})")
        arguments = ["-m", "examples.orders.payments", "--ledger", str(self._ledger), "--seed", str(self.seed)]
        self._payments = Process(arguments, {}, self.folder / "payments.log", is_service=True)
        self._stack.callback(self._payments.end)
        self.environ[URL] = self._payments.first_line()
        if not self.environ[URL]:
            raise Failed(f"the payment service did not start:\n{self._payments.last_words()}")
        self.screen.title(f"{len(self.orders):,} orders, run {self.run}")
        self.screen.say(f"  data     {self.folder}")
        self.screen.say(f"  payments {self.environ[URL]} (pid {self._payments.pid}), with faults of seed {self.seed}")
        self._start_worker()

    def enqueue(self) -> None:
        """Put the orders into the queue."""
        path = self.folder / f"orders-{self.run}.jsonl"
        write(path, self.orders)
        self._stack.callback(path.unlink)
        if (left := self._left()) > 0:
            self.screen.say(f"  {left:,} orders of an earlier run come first")
        self.screen.say(f"\n$ python -m supervisor enqueue {KIND} --file {path}")
        self.began = time.monotonic()
        command = [sys.executable, "-m", "supervisor", "enqueue", KIND, "--file", str(path)]
        if subprocess.run(command, cwd=CHECKOUT, env=self._environ, check=False).returncode != 0:  # noqa: S603 - ours
            raise Failed("the orders could not be enqueued")
        self.screen.say()

    def work(self, kills: int) -> None:
        """Watch the worker work, kill it `kills` times on the way, and wait until nothing is left to do."""
        for number in range(1, kills + 1):
            goal = len(self.orders) * number // (kills + 1)
            self._watch(goal)
            self._kill()
        self._watch(len(self.orders))
        self.screen.live("  every order has its receipt; waiting for the queue to be empty")
        until(lambda: self._left() == 0, STUCK, pause=0.5)
        self.ended = time.monotonic()

    def report(self) -> bool:
        """Show what became of the orders; return whether it is right."""
        seen, seconds = self._seen(), self.ended - self.began
        ledger = Ledger(self._ledger)
        found = audit(self.orders, ledger.charges(self.run), ledger.receipts(self.run))
        ledger.close()
        self.screen.say()
        self.screen.title(f"what the payment service's books say about run {self.run}")
        self.screen.table(found.rows())
        self.screen.say(
            f"\n  requests to charge {seen.requests:,}: {seen.error} answered with an error, {seen.slow} too slowly, "
            f"{seen.lost} charged and not answered"
        )
        self.screen.say(
            f"  retried {seen.retried}, of which {seen.replays} had been charged already and were not again"
        )
        times = {0: "never", 1: "once"}.get(self.kills, f"{self.kills} times")
        self.screen.say(
            f"  worker killed {times}; {seconds:.1f} s, {len(self.orders) / seconds:,.0f} orders a second\n"
        )
        for name, ids in (("twice", found.twice), ("never", found.missing), ("wrongly", found.wrong)):
            if ids:
                self.screen.say(f"  charged {name}: {', '.join(ids[:10])}")
        self.screen.title("each order was charged exactly once" if found.is_right else "this is WRONG")
        return found.is_right

    def stay(self) -> None:
        """Leave the worker running, until Ctrl-C."""
        worker, python = self._running_worker(), os.path.relpath(sys.executable)
        self.screen.say(
            f"\nThe worker goes on (pid {worker.pid}). Look at it from another terminal:\n"
            f"  export SUPERVISOR_DATA_DIR={self.folder} SUPERVISOR_APP={APP}\n"
            f"  {python} -m supervisor tree\n"
            f"  {python} -m supervisor queue stats\n"
            f"  {python} -m supervisor jobs list\n"
            "Ctrl-C stops it."
        )
        while worker.is_running:
            time.sleep(0.5)
        raise Failed(f"the worker ended by itself, with code {worker.exit_code}:\n{worker.last_words()}")

    # --- the worker -----------------------------------------------------------------------------------

    def _start_worker(self) -> None:
        log = self.folder / "supervisor.log"
        log.touch()
        start = log.stat().st_size
        mark = self.folder / f"worker-{self.kills}.lock"
        worker = Process(["-m", "supervisor", "run", "--log-format", "human"], self.environ, log, mark=mark)
        self._worker = worker
        self._stack.callback(worker.end)

        def is_ready() -> bool:
            self.screen.live(f"  worker   pid {worker.pid} starts")
            return not worker.is_running or b"process_ready" in log.read_bytes()[start:]

        if not until(is_ready, START) or not worker.is_running:
            raise Failed(f"the worker did not start:\n{worker.last_words()}")
        self.screen.say(f"  worker   pid {worker.pid}, log {log}")

    def _kill(self) -> None:
        worker = self._running_worker()
        worker.kill()
        killed, done = time.monotonic(), self._seen().receipts
        self.kills += 1
        self.screen.say(f"  killed the worker (pid {worker.pid}) with SIGKILL after {done:,} orders")
        self._start_worker()
        if not until(lambda: self._seen().receipts > done or done == len(self.orders), STUCK, pause=0.02):
            raise Failed(f"the worker does nothing after its restart:\n{self._running_worker().last_words()}")
        self.screen.say(f"  back at work {time.monotonic() - killed:.1f} s after the kill")

    def _running_worker(self) -> Process:
        if self._worker is None or not self._worker.is_running:
            code = None if self._worker is None else self._worker.exit_code
            words = "" if self._worker is None else self._worker.last_words()
            raise Failed(f"the worker ended by itself, with code {code}:\n{words}")
        return self._worker

    # --- how far it is --------------------------------------------------------------------------------

    def _watch(self, goal: int) -> None:
        """Wait until so many orders have a receipt, or nothing more happens."""
        last, since = Seen(), time.monotonic()
        while (seen := self._seen()).receipts < goal:
            self._running_worker()
            self.screen.live(self._line(seen))
            if seen != last:
                last, since = seen, time.monotonic()
            elif time.monotonic() - since > STUCK:
                self.screen.say(f"  nothing has happened for {STUCK:g} s")
                return
            time.sleep(0.1)

    def _line(self, seen: Seen) -> str:
        seconds, whole = time.monotonic() - self.began, len(self.orders)
        bar = "#" * (BAR * seen.receipts // whole)
        return (
            f"  [{bar:.<{BAR}}] {seen.receipts:,} of {whole:,} done | {seen.charges:,} charged,"
            f" {seen.retried} retried, {seen.replays} of them charged before | {seconds:.0f} s"
        )

    def _seen(self) -> Seen:
        with urllib.request.urlopen(f"{self.environ[URL]}/summary?run={self.run}", timeout=10.0) as answer:  # noqa: S310
            return Seen(**json.load(answer))

    def _left(self) -> int:
        """How many jobs are not over."""
        command = [sys.executable, "-m", "supervisor", "queue", "stats", "--fresh", "--json"]
        found = subprocess.run(command, cwd=CHECKOUT, env=self._environ, capture_output=True, check=False)  # noqa: S603
        if found.returncode != 0:
            raise Failed(f"the queue cannot be read:\n{found.stderr.decode()}")
        states = ("waiting", "active", "delayed", "retrying", "suspects")
        return sum(row[state] for row in json.loads(found.stdout)["queues"] for state in states)

    @property
    def _environ(self) -> dict[str, str]:
        return {**os.environ, **self.environ}

    @property
    def _ledger(self) -> Path:
        return self.folder / "payments.sqlite"
