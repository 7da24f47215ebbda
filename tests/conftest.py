"""How the tests run: on uvloop like the real process, with two Hypothesis profiles and a repeatable seed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import hypothesis
import pytest
import uvloop

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

hypothesis.settings.register_profile(
    "default",
    deadline=None,  # the machine is shared, so a slow example proves nothing
    max_examples=50,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.register_profile(
    "soak",
    hypothesis.settings.get_profile("default"),
    max_examples=5_000,
    stateful_step_count=200,
)
hypothesis.settings.load_profile("default")


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Give every asyncio test a fresh uvloop."""
    return {"uvloop": uvloop.new_event_loop}


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say which seed a soak run uses, so that a failure can be repeated."""
    seed = os.environ.get("SOAK_SEED")
    return [] if seed is None else [f"soak seed: {seed}"]


@pytest.fixture(scope="session")
def soak_seed() -> int:
    """Give the seed of this soak run, as the environment variable `SOAK_SEED` sets it; 0 without one."""
    return int(os.environ.get("SOAK_SEED", "0"))
