"""A tree of one's own: a shop whose till crashes now and then, and the books stay whole.

The ledger starts first and depends on nobody, so it runs on; those behind the till restart with it.

`python -m supervisor run --app examples.tree:app`, and in another terminal
`python -m supervisor tree --watch`. Stop it with Ctrl-C.
"""

import random
from dataclasses import dataclass

from supervisor import Actor, ActorRef, App, Child, Reply, Restart, Strategy, Supervisor


@dataclass(frozen=True)
class Sale:
    """Goods worth `cents` were sold."""

    cents: int


@dataclass(frozen=True)
class Total:
    """Ask for what was taken so far."""

    reply: Reply[int]


class Ledger(Actor[Sale | Total]):
    """Adds up what was sold. The till depends on it, so it starts first and stops last."""

    async def setup(self) -> None:
        """Open the books."""
        self.cents = 0

    async def handle(self, message: Sale | Total) -> None:
        """Book a sale, or answer a question."""
        match message:
            case Sale(cents):
                self.cents += cents
            case Total(reply):
                reply.send(self.cents)


class Till(Actor[Sale]):
    """Passes sales on to the ledger, and jams on some of them: that sale is lost, the till restarts."""

    def __init__(self, ledger: ActorRef[Sale], jams: float) -> None:
        self.ledger = ledger
        self.jams = jams

    async def handle(self, message: Sale) -> None:
        """Ring up one sale."""
        if random.random() < self.jams:  # noqa: S311 - chance, not secrets
            raise RuntimeError(f"the till jammed on {message.cents} cents")
        await self.ledger.tell(message)


class Customers(Actor[None]):
    """Buy something every `seconds`."""

    def __init__(self, till: ActorRef[Sale], seconds: float) -> None:
        self.till = till
        self.seconds = seconds

    async def run(self) -> None:
        """Come in, buy, leave."""
        async for _ in self.every(self.seconds, jitter=0.5):
            await self.till.tell(Sale(random.randint(100, 5000)))  # noqa: S311 - as above


class Reporter(Actor[None]):
    """Reports the takings every `seconds`."""

    def __init__(self, ledger: ActorRef[Total], seconds: float) -> None:
        self.ledger = ledger
        self.seconds = seconds

    async def run(self) -> None:
        """Ask, and print."""
        async for _ in self.every(self.seconds):
            print(f"taken so far: {await self.ledger.ask(Total) / 100:.2f}", flush=True)


def shop(*, jams: float = 0.015, customers: int = 3, every: float = 1.0) -> Supervisor:
    """A fresh shop. A function, so that a test can have one of its own."""
    ledger = Child("ledger", Ledger)
    till = Child("till", lambda: Till(ledger.ref, jams))
    crowd = Supervisor(
        "customers",
        [Child(f"customer-{n}", lambda: Customers(till.ref, every), stop_timeout=1.0) for n in range(1, customers + 1)],
    )
    reporter = Child("reporter", lambda: Reporter(ledger.ref, 5 * every), restart=Restart.TRANSIENT)
    # rest_for_one: without its ledger the rest of the shop cannot go on, so it restarts behind it.
    return Supervisor("shop", [ledger, till, crowd, reporter], Strategy.REST_FOR_ONE, max_restarts=12)


def app() -> App:
    """What the process runs."""
    return App(actors=[shop()])
