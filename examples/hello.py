"""A ten-line actor: it greets whoever it is told about, and is restarted if that ever fails."""

from dataclasses import dataclass

from supervisor import Actor, App, Child


@dataclass(frozen=True)
class Greet:
    """Say hello to `name`."""

    name: str


class Greeter(Actor[Greet]):
    """Greets."""

    async def setup(self) -> None:
        """Greet the world once, to show that it runs."""
        await self.handle(Greet("world"))

    async def handle(self, message: Greet) -> None:
        """React to one message."""
        print(f"hello, {message.name}", flush=True)


greeter = Child("greeter", Greeter)
app = App(actors=[greeter])
