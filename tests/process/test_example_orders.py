"""The orders example charges each order exactly once: whatever dies in between, and however it is ended itself."""

from __future__ import annotations

import json
import os
import re
import signal
import urllib.error
import urllib.request
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from examples.orders.audit import audit
from examples.orders.faults import Fault, FaultPlan
from examples.orders.gateway import CRASH_ONCE, URL
from examples.orders.ledger import Charge, Ledger
from examples.orders.make_orders import COUNT, orders
from examples.orders.order import FILE, Item, Order, of_run, read, write
from supervisor.process.exit_code import ExitCode
from tests.store.postgres import open_folder, remove_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.process.conftest import Start
    from tests.process.program import Program

APP = "examples.orders.app:app"
LONG = 120.0
FEW = of_run(read(FILE)[:3], "test")


@pytest.fixture
def data() -> Iterator[Path]:
    """A data folder, which a PostgreSQL can use that does not run as root."""
    folder = open_folder()
    yield folder
    remove_folder(folder)


class Service:
    """A payment service with books in `folder`."""

    def __init__(self, start: Start, folder: Path) -> None:
        self.books = folder / "payments.sqlite"
        self.program = start.python("-m", "examples.orders.payments", "--ledger", str(self.books), limit=LONG)
        self.url = self.program.out.expect("http://")

    def post(self, path: str, key: str | None, **body: object) -> tuple[int, dict[str, Any]]:
        """Send a request; an error of the plan is sent again."""
        headers = {"Content-Type": "application/json"} | ({} if key is None else {"Idempotency-Key": key})
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), headers)  # noqa: S310 - our own
        try:
            with urllib.request.urlopen(request, timeout=10.0) as answer:  # noqa: S310 - our own
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, {}

    def charges(self) -> list[Charge]:
        """What is in the books."""
        ledger = Ledger(self.books)
        try:
            return ledger.charges("test")
        finally:
            ledger.close()

    def summary(self) -> dict[str, int]:
        """What it has seen."""
        with urllib.request.urlopen(f"{self.url}/summary?run=test", timeout=10.0) as answer:  # noqa: S310 - our own
            found: dict[str, int] = json.load(answer)
            return found


@pytest.fixture
def service(start: Start, data: Path) -> Service:
    """A payment service that runs."""
    return Service(start, data)


# --- the pieces -------------------------------------------------------------------------------------


def test_the_orders_are_those_of_the_script() -> None:
    """The file in the repository is what its seeded script makes, and each amount is the sum of its items."""
    made = orders()
    assert read(FILE) == made
    assert len({order.id for order in made}) == COUNT
    assert all(order.amount == sum(item.quantity * item.cents for item in order.items) for order in made)


def test_faults_are_planned() -> None:
    """The same seed plans the same faults for each run, about as many as asked for, and another seed others."""

    def planned(seed: int, run: str) -> list[Fault]:
        plan = FaultPlan(seed)
        return [plan.next(order.id).fault for order in of_run(read(FILE), run)]

    faults = planned(7, "a")
    assert faults == planned(7, "b")
    assert faults != planned(8, "a")
    counts = Counter(faults)
    assert 60 < counts[Fault.ERROR] < 120
    assert 35 < counts[Fault.SLOW] < 85
    assert 10 < counts[Fault.LOST] < 50


def test_one_key_is_one_charge(service: Service) -> None:
    """A request that comes again under its key is answered with the same charge, and no money moves."""
    order = {"order": FEW[0].id, "amount": 100, "currency": "EUR"}
    assert service.post("/charges", "k1", **order) == (201, {"charge": 1, "replayed": False})
    assert service.post("/charges", "k1", **order) == (200, {"charge": 1, "replayed": True})
    assert [charge.amount for charge in service.charges()] == [100]
    assert service.summary()["replays"] == 1


@pytest.mark.parametrize(
    ("key", "body", "status"),
    [
        (None, {"order": "SO-1.test", "amount": 100, "currency": "EUR"}, 400),
        ("k1", {"order": "SO-1.test", "amount": "much", "currency": "EUR"}, 400),
        ("k1", {"order": "SO-1.test"}, 400),
        ("known", {"order": "SO-1.test", "amount": 101, "currency": "EUR"}, 422),
    ],
)
def test_a_wrong_request_moves_no_money(
    service: Service, key: str | None, body: dict[str, object], status: int
) -> None:
    """Without a key, with a wrong body, or with the key of another charge, nothing is charged."""
    ledger = Ledger(service.books)
    ledger.charge("known", "SO-1.test", 100, "EUR")
    ledger.close()
    assert service.post("/charges", key, **body)[0] == status
    assert len(service.charges()) == 1


def _order(name: str, amount: int = 100) -> Order:
    return Order(name, "Ada", (Item("A", "a", 1, amount),), amount, "EUR")


@pytest.mark.parametrize(
    ("charges", "receipts", "wrong"),
    [
        ([("a", 100), ("b", 100)], ["a", "b"], []),
        ([("a", 100), ("b", 100), ("b", 100)], ["a", "b"], ["exactly once", "twice", "in EUR"]),
        ([("a", 100)], ["a"], ["exactly once", "never", "one receipt", "in EUR"]),
        ([("a", 100), ("b", 90)], ["a", "b"], ["wrong amount", "in EUR"]),
        ([("a", 100), ("b", 100), ("c", 5)], ["a", "b"], ["unknown", "in EUR"]),
        ([("a", 100), ("b", 100)], ["a", "b", "b"], ["one receipt"]),
    ],
)
def test_the_audit_finds_what_is_wrong(charges: list[tuple[str, int]], receipts: list[str], wrong: list[str]) -> None:
    """Each way in which the books can differ from the orders is seen, and only that."""
    booked = [Charge(number, name, amount, "EUR") for number, (name, amount) in enumerate(charges, 1)]
    found = audit([_order("a"), _order("b")], booked, receipts)
    assert found.is_right is (not wrong)
    names = [row.name for row in found.rows() if not row.is_right]
    assert len(names) == len(wrong)
    assert all(part in name for part, name in zip(wrong, names, strict=True))


# --- the whole --------------------------------------------------------------------------------------


def example(start: Start, data: Path, *options: str) -> Program:
    """Run the example."""
    environ = {"SUPERVISOR_RUNTIME_DIR": str(start.folder)}
    return start.python(
        "-m", "examples.orders", "--data", str(data), "--seed", "7", *options, environ=environ, limit=LONG
    )


def left(program: Program) -> list[int]:
    """Those processes named in its output that still live; there were a payment service and a worker at least."""
    named = {int(pid) for line in program.out.lines for pid in re.findall(r"\bpid (\d+)", line)}
    assert len(named) >= 2
    return sorted(pid for pid in named if is_alive(pid))


def is_alive(pid: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.timeout(180)
def test_each_order_is_charged_once_though_the_worker_is_killed(start: Start, data: Path) -> None:
    """The example says so itself with exit code 0, twice on one data folder, and leaves no process behind."""
    for _ in range(2):
        program = example(start, data, "--once", "--orders", "250")
        assert program.process.wait(LONG) == 0, "\n".join(program.out.lines + program.err.lines)
        program.wait()
        text = "\n".join(program.out.lines)
        assert "each order was charged exactly once" in text
        assert "killed the worker" in text
        assert "\x1b" not in text
        assert left(program) == []


@pytest.mark.timeout(180)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_cleans_up_when_it_is_stopped(start: Start, data: Path, number: signal.Signals) -> None:
    """A stop in the middle ends the worker and the payment service too."""
    program = example(start, data, "--orders", "3000")
    program.out.find(lambda line: "enqueued 3000 in" in line, "enqueue", LONG)
    assert program.end(number) == 128 + number
    assert left(program) == []


@pytest.mark.timeout(180)
def test_it_runs_on_until_it_is_stopped(start: Start, data: Path) -> None:
    """After its table it says how to look at the worker, which goes on until Ctrl-C and then stops in order."""
    program = example(start, data, "--orders", "50", "--kills", "0")
    program.out.find(lambda line: "Ctrl-C stops it" in line, "hint", LONG)
    assert program.process.poll() is None
    assert program.end(signal.SIGINT) == 0
    assert left(program) == []


@pytest.mark.timeout(180)
def test_a_job_killed_between_its_effect_and_its_record(start: Start, data: Path, service: Service) -> None:
    """A worker dies after a charge and before the record of it: the job is replayed, and nobody is charged twice."""
    path, mark = data / "few.jsonl", data / "crashed"
    write(path, FEW)
    environ = {"SUPERVISOR_DATA_DIR": str(data), "SUPERVISOR_APP": APP, URL: service.url, CRASH_ONCE: str(mark)}
    worker = start(APP, environ=environ, limit=LONG).ready()
    told = start.python("-m", "supervisor", "enqueue", "charge_order", "--file", str(path), environ=environ)
    assert told.wait() == ExitCode.CLEAN, told.err.lines
    assert worker.wait() == -signal.SIGKILL
    assert mark.exists()
    before = service.charges()
    assert before

    again = start(APP, environ=environ, limit=LONG).ready()
    again.until(lambda: service.summary().get("receipts") == len(FEW), "the receipts")
    assert again.end() == ExitCode.CLEAN
    after = service.charges()
    assert sorted(charge.order_id for charge in after) == sorted(order.id for order in FEW)
    assert after[: len(before)] == before
    assert service.summary()["replays"] >= 1
