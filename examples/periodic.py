"""A periodic actor: a clock that ticks every second, and keeps time whatever its ticks cost."""

from typing import Never

from supervisor import Actor, App, Child


class Ticker(Actor[Never]):
    """Prints a line each `seconds`. `Never` means that it takes no messages: `tell` is a type error."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    async def run(self) -> None:
        """Tick until asked to stop; `every` skips ticks that were missed, and ends by itself at a stop."""
        number = 0
        async for _ in self.every(self.seconds):
            number += 1
            print(f"tick {number}", flush=True)


app = App(actors=[Child("ticker", lambda: Ticker(1.0))])
