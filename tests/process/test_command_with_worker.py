"""The commands beside a running worker: what they ask for happens at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from supervisor.cli import main
from tests.process.engine import engine

if TYPE_CHECKING:
    import pytest

    from tests.process.conftest import Start


async def test_commands_and_a_worker(
    start: Start, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A job that is waited for completes or fails, one that runs is cancelled at once, and a failed one runs again."""

    async def run(*words: str, code: int = 0) -> str:
        assert await asyncio.to_thread(main, words) == code
        return capsys.readouterr().out

    async with engine(start) as jobs:
        monkeypatch.setenv("DATABASE_URL", jobs.dsn)
        program = jobs.run()
        done = int(await run("enqueue", "note", "--wait", "--within", "20s"))
        program.out.expect(f"noted {done} ")
        failed = int(await run("enqueue", "fail", "--wait", "--within", "20s", code=1))
        program.out.expect(f"failing {failed} ")
        assert "ValueError: as always" in await run("jobs", "show", str(failed))

        (held,) = await jobs.enqueue("hold")
        program.out.expect(f"holding {held} ")
        assert "its worker stops it now" in await run("jobs", "cancel", str(held))
        program.out.expect(f"let go {held} ")
        assert (await jobs.ended(held))["status"] == "cancelled"

        assert await run("jobs", "retry", str(held)) == f"job {held} runs again\n"
        program.out.expect(f"held again {held} ")
        assert "1 live worker" in await run("queue", "health")
        assert program.end() == 0
