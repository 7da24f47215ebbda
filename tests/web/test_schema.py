"""Schemathesis asks the server for everything that its own description allows, and much that it does not."""

from __future__ import annotations

import asyncio
import math
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from supervisor.store import figures
from supervisor.web import gate
from tests.web.site import site

if TYPE_CHECKING:
    from pathlib import Path

LIMIT = 240.0

# What these two take must also fit together, which a schema of moderate size cannot say; see test_monitoring.py.
CONFIG = """
[phases.stateful]
enabled = false

[[operations]]
include-path-regex = "^/api/(limits/.name.|tokens)$"
checks.positive_data_acceptance.enabled = false
"""


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("tokens", "options"),
    [
        pytest.param(False, ["--max-examples=10"], id="everything"),
        pytest.param(True, ["--phases=coverage", "--mode=positive", "--checks=ignored_auth"], id="tokens"),
    ],
)
async def test_the_description_is_true(
    tmp_path: Path,
    tokens: bool,
    options: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every answer is one that the description allows, what it forbids is refused, and nothing fails."""
    monkeypatch.setattr(gate, "FAILURES", math.inf)  # it tries many wrong tokens
    (tmp_path / "schemathesis.toml").write_text(CONFIG, encoding="utf-8")
    async with site(tokens=tokens) as web:
        async with web.database.connection() as link:
            for part in figures.PARTS:
                await figures.survey(link, part, 0.0)
        await web.enqueue(5, tenant="0")  # after it, or health would be critical without a worker, and say 503
        given = ["--header", f"Authorization: Bearer {await web.token()}"] if tokens else []
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-c", "from schemathesis.cli import schemathesis; schemathesis()"),
            *("--config-file", str(tmp_path / "schemathesis.toml"), "run", f"{web.url}/openapi.json"),
            *("--seed=1", "--workers=1", "--request-timeout=15", "--no-color", *options, *given),
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        try:
            printed, _ = await asyncio.wait_for(process.communicate(), LIMIT)
        finally:
            if process.returncode is None:
                process.kill()
        assert process.returncode == 0, printed.decode()
