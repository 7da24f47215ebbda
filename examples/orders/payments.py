"""A payment service as the world has them: mostly quick, now and then broken, and it may charge and not say so.

`POST /charges` and `POST /receipts` honour an Idempotency-Key; `GET /summary?run=…` tells what there was. The first
line that it prints is its URL, and it runs until its standard input ends:
`python -m examples.orders.payments --ledger payments.sqlite`.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import TypeVar

import msgspec
from aiohttp import web

from examples.orders.faults import Fault, FaultPlan
from examples.orders.ledger import KeyReused, Ledger
from examples.orders.order import run_of

KEY = "Idempotency-Key"
T = TypeVar("T")


class ChargeRequest(msgspec.Struct, frozen=True):
    """The body of `POST /charges`; the amount is in cents."""

    order: str
    amount: int
    currency: str


class ReceiptRequest(msgspec.Struct, frozen=True):
    """The body of `POST /receipts`."""

    order: str
    charge: int


class Payments:
    """The service's two doors, and what passed through them."""

    def __init__(self, ledger: Ledger, plan: FaultPlan) -> None:
        self._ledger = ledger
        self._plan = plan
        self._seen: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def app(self) -> web.Application:
        """Make the application."""
        app = web.Application(client_max_size=16 * 1024)
        app.add_routes([web.post("/charges", self.charge), web.post("/receipts", self.receipt)])
        app.add_routes([web.get("/summary", self.summary)])
        return app

    async def charge(self, request: web.Request) -> web.Response:
        """Charge an order: 201, or 200 if that happened before under this key."""
        key, wanted = await _read(request, ChargeRequest)
        answer, seen = self._plan.next(wanted.order), self._seen[run_of(wanted.order)]
        seen["requests"] += 1
        seen[answer.fault.value] += 1
        if answer.fault is Fault.ERROR:
            raise web.HTTPInternalServerError(text="the payment service has a bad moment")
        try:
            # A commit takes some 50 µs here, so it may stand on the event loop.
            charge, is_new = self._ledger.charge(key, wanted.order, wanted.amount, wanted.currency)
        except KeyReused as error:
            raise web.HTTPUnprocessableEntity(text=str(error)) from None
        seen["charges" if is_new else "replays"] += 1
        await asyncio.sleep(answer.seconds)
        if answer.fault is Fault.LOST and request.transport is not None:
            request.transport.abort()
        return web.json_response({"charge": charge.id, "replayed": not is_new}, status=201 if is_new else 200)

    async def receipt(self, request: web.Request) -> web.Response:
        """Send the receipt of a charge."""
        key, wanted = await _read(request, ReceiptRequest)
        is_new = self._ledger.receipt(key, wanted.order, wanted.charge)
        self._seen[run_of(wanted.order)]["receipts"] += is_new
        return web.json_response({"sent": is_new})

    async def summary(self, request: web.Request) -> web.Response:
        """Tell what there was since the start, for the orders of one run."""
        return web.json_response(self._seen[request.query.get("run", "")])


async def _read(request: web.Request, body: type[T]) -> tuple[str, T]:
    key = request.headers.get(KEY)
    if not key:
        raise web.HTTPBadRequest(text=f"the header {KEY} is missing: without it a retry would charge twice")
    try:
        return key, msgspec.json.decode(await request.read(), type=body)
    except msgspec.DecodeError as error:
        raise web.HTTPBadRequest(text=str(error)) from None


async def serve(ledger: Ledger, plan: FaultPlan, port: int) -> None:
    """Serve on the loopback address until the standard input ends."""
    runner = web.AppRunner(Payments(ledger, plan).app(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        host, port = runner.addresses[0][:2]
        print(f"http://{host}:{port}", flush=True)
        await asyncio.to_thread(sys.stdin.buffer.read)
    finally:
        await runner.cleanup()
        ledger.close()


def main() -> None:
    """Read the command line, and serve."""
    parser = argparse.ArgumentParser(prog="python -m examples.orders.payments", description=__doc__)
    parser.add_argument("--ledger", type=Path, required=True, help="the SQLite file; created if need be")
    parser.add_argument("--port", type=int, default=0, help="0, the default, picks a free one")
    parser.add_argument("--seed", type=int, default=7, help="of the faults")
    options = parser.parse_args()
    asyncio.run(serve(Ledger(options.ledger), FaultPlan(options.seed), options.port))


if __name__ == "__main__":
    main()
