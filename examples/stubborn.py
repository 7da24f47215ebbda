"""A stubborn actor meets the deadline of a stop: Ctrl-C, and watch the four stages go by.

It swallows every cancellation, so it is asked, cancelled, killed and at last abandoned. Its
neighbours stop in peace, and the process leaves with exit code 75: work was left behind.
"""

import asyncio

from supervisor import Actor, App, Child


class Polite(Actor[None]):
    """Ends when asked."""

    async def run(self) -> None:
        """Wait for the end of the day."""
        await self.sleep(float("inf"))

    async def teardown(self) -> None:
        """Say goodbye, to show that others end in order."""
        print("polite: goodbye", flush=True)


class Stubborn(Actor[None]):
    """Does what no actor should: it takes a cancellation for an error and carries on."""

    async def run(self) -> None:
        """Go on for ever, and say so once."""
        cancels = 0
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                cancels += 1
                if cancels == 1:
                    print("stubborn: I would rather not", flush=True)


app = App(actors=[Child("polite", Polite), Child("stubborn", Stubborn, stop_timeout=1.0, cancel_grace=0.5)])
