"""A process that migrates: says that it is ready, waits for a line, applies a folder and prints the versions it did.

Started as `python -m tests.store.migrating FOLDER` with the URL of the database in DATABASE_URL.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from supervisor.store.migrate import up

if __name__ == "__main__":
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    report = asyncio.run(up(os.environ["DATABASE_URL"], folder=Path(sys.argv[1])))
    sys.stdout.write(json.dumps([one.version for one in report.applied]))
