"""Charges orders and sends receipts, each exactly once, whatever dies in between: see `examples/orders/__main__.py`."""

from examples.orders.gateway import GatewaySession, PaymentGateway
from examples.orders.order import Order
from supervisor import App, Child, JobContext, RetryPolicy, job

gateway = PaymentGateway()


@job(queue="orders", max_attempts=10, timeout=30.0, retry=RetryPolicy.exponential(first=0.5, cap=8.0))
async def charge_order(order: Order, ctx: JobContext) -> None:
    """Charge an order, then send its receipt.

    A step that is done is never called again. One that was cut short is: by then the payment service may have charged
    and we not know it, so it gets the same key again, and answers with the same charge.
    """
    charge = await ctx.step("charge", gateway.charge, order, ctx.idempotency_key("charge"))
    await ctx.step("receipt", gateway.send_receipt, order, charge, ctx.idempotency_key("receipt"))


app = App(jobs=[charge_order], actors=[Child("gateway", lambda: GatewaySession(gateway))])
