"""The limit: the same statements without any program around them, by pgbench with two clients."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from benchmarks.queue.programs import program

if TYPE_CHECKING:
    from benchmarks.queue.server import Bench

_BATCH: Final = 500
_CLIENTS: Final = 2
_LIMIT: Final = 300.0
_SCRIPT: Final = """\
SELECT string_agg(id::text, ',') AS ids, string_agg(lock_version::text, ',') AS fences, max(run_at) AS due,
       max(id) AS last
FROM supervisor.claim(:worker, 'default', ARRAY['noop'], {batch}, 0::smallint, ':due'::timestamptz, :last) \\gset
SELECT count(*)
FROM supervisor.complete(string_to_array(':ids', ',')::bigint[], string_to_array(':fences', ',')::integer[]);
"""
_RATE: Final = re.compile(r"tps = ([\d.]+)")
_REGISTER: Final = "SELECT id FROM supervisor.register_worker('limit', 'host', 1, 'worker', '0', 3600, '{}')"


async def limit(server: Bench, most: int) -> float:
    """Claim and complete `most` jobs; return the jobs in a second."""
    await server.value("DELETE FROM supervisor.workers WHERE name = 'limit'")
    worker = await server.value(_REGISTER)
    batch = min(_BATCH, most // (2 * _CLIENTS))
    return batch * _transactions_per_second(server.dsn, f"worker={worker}", batch, most // batch // _CLIENTS)


def _transactions_per_second(dsn: str, worker: str, batch: int, rounds: int) -> float:
    with TemporaryDirectory() as folder:
        script = Path(folder, "limit.sql")
        script.write_text(_SCRIPT.format(batch=batch), encoding="utf-8")
        done = subprocess.run(  # noqa: S603 - PostgreSQL's own program
            [
                str(program("pgbench")),
                *("--no-vacuum", "--file", str(script), "--client", str(_CLIENTS), "--jobs", str(_CLIENTS)),
                *("--transactions", str(rounds), "--define", worker),
                *("--define", "due=-infinity", "--define", "last=0", dsn),
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=_LIMIT,
        )
    found = _RATE.search(done.stdout)
    if done.returncode or found is None:
        raise RuntimeError(f"pgbench ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return float(found[1])
