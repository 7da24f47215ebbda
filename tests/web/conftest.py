"""What the tests of the HTTP interface share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest_asyncio

from tests.web.site import Site, site

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest_asyncio.fixture
async def web() -> AsyncIterator[Site]:
    """Give a server on a fresh database that asks for no tokens."""
    async with site() as made:
        yield made
