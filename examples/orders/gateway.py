"""The client of the payment service, and the actor that opens and closes it with the process."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Final

import aiohttp

from supervisor import Actor

if TYPE_CHECKING:
    from examples.orders.order import Order

URL: Final = "ORDERS_PAYMENTS"
"""The environment variable with the address of the payment service."""

CRASH_ONCE: Final = "ORDERS_CRASH_ONCE"
"""For demonstrations: names a file that does not exist yet. The process that creates it, right after the first charge
that it made and before anything of that is recorded, dies by SIGKILL on the spot."""

TIMEOUT: Final = aiohttp.ClientTimeout(total=2.0, connect=1.0)
"""Seconds: a payment service that says nothing for so long is asked again, later."""


class PaymentGateway:
    """What the handlers call. A call raises aiohttp.ClientError or TimeoutError when no good answer came.

    Then nobody here knows whether the customer was charged, and it does not matter: the next call has the same key.
    """

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    def use(self, session: aiohttp.ClientSession | None) -> None:
        """Use this session from now on; None when there is no more."""
        self._session = session

    async def charge(self, order: Order, key: str) -> int:
        """Charge an order, once for each `key`; return the number of the charge."""
        number = await self._post("/charges", key, order=order.id, amount=order.amount, currency=order.currency)
        _crash_once()
        return number

    async def send_receipt(self, order: Order, charge: int, key: str) -> None:
        """Send the receipt of a charge, once for each `key`."""
        await self._post("/receipts", key, order=order.id, charge=charge)

    async def _post(self, path: str, key: str, **body: str | int) -> int:
        if self._session is None:
            raise RuntimeError("the gateway is closed")
        headers = {"Idempotency-Key": key}
        async with self._session.post(path, json=body, headers=headers, raise_for_status=True) as response:
            answer = await response.json()
        return int(answer.get("charge", 0))


class GatewaySession(Actor[None]):
    """Holds the connections to the payment service from before the first job until after the last."""

    def __init__(self, gateway: PaymentGateway) -> None:
        self.gateway = gateway

    async def setup(self) -> None:
        """Open the session; it is closed when this actor ends, however it ends."""
        url = os.environ.get(URL)
        if url is None:
            raise RuntimeError(f"set {URL} to what `python -m examples.orders.payments` prints first")
        self.gateway.use(await self.enter(aiohttp.ClientSession(url, timeout=TIMEOUT)))

    async def teardown(self) -> None:
        """Let nobody use it any more."""
        self.gateway.use(None)


def _crash_once() -> None:
    mark = os.environ.get(CRASH_ONCE)
    if mark is None:
        return
    try:
        Path(mark).touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
