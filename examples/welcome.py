"""A job in ten lines: it greets a new user, and is tried again if that fails.

`python -m supervisor run --app examples.welcome:app`, and in another terminal
`python -m supervisor enqueue send_welcome --app examples.welcome:app --args '{"user": "Ada"}'`.
"""

from dataclasses import dataclass

from supervisor import App, job


@dataclass(frozen=True)
class Welcome:
    """Whom to greet."""

    user: str


@job()
async def send_welcome(welcome: Welcome) -> None:
    """Greet one user."""
    print(f"welcome, {welcome.user}", flush=True)


app = App(jobs=[send_welcome])
