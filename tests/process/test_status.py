"""What systemd is told, at the level of single events: the socket may be full at the wrong moment."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys

from supervisor.process.events import ProcessReady
from supervisor.process.status import Status
from supervisor.process.systemd import Notifier
from supervisor.tree.runtime import Runtime
from supervisor.tree.supervisor import Supervisor
from supervisor.tree.tree import Tree


class Deaf(Notifier):
    """Loses the first `READY=1`, as a full socket does."""

    def __init__(self) -> None:
        super().__init__({"NOTIFY_SOCKET": "@nobody-listens-here"})
        self.tries = 0
        self.heard = asyncio.get_running_loop().create_future()

    def ready(self) -> bool:
        """Succeed the second time."""
        self.tries += 1
        if self.tries > 1:
            self.heard.set_result(None)
        return self.tries > 1


async def test_ready_is_sent_until_it_is_heard() -> None:
    """A READY that found no room in systemd's socket is sent again, or the service would never count as started."""
    notifier = Deaf()
    status = Status(Tree(Supervisor("root"), Runtime()), notifier)
    status(ProcessReady("root", 0.1, 1.0, 60.0))
    async with asyncio.timeout(10):
        await notifier.heard
    assert notifier.tries == 2
    status.close()
    notifier.close()


HASTY_SIGNAL = """
import asyncio, os, signal, sys
from supervisor import Actor, App, Child
from supervisor.config import Config
from supervisor.process import runner
from supervisor.process.inspector import Inspector

class Loud(Actor[None]):
    async def setup(self):
        print("started", flush=True)

async def signalled(self):
    os.kill(os.getpid(), signal.SIGTERM)
    for _ in range(10):
        await asyncio.sleep(0)

Inspector.start = signalled
sys.exit(runner.run(App(actors=[Child("loud", Loud)]).root, Config()))
"""


def test_a_signal_before_the_start_is_heeded() -> None:
    """A process that is told to stop before its tree has begun to start ends at once, cleanly, and starts nothing."""
    done = subprocess.run([sys.executable, "-c", HASTY_SIGNAL], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert signal.SIGTERM.name in done.stderr
