"""The setting `schema` against the words that PostgreSQL itself does not take for a name."""

from __future__ import annotations

import re

from supervisor.config.forms import SCHEMA
from tests.store.migration_folder import connection
from tests.store.postgres import fresh_database


async def test_every_reserved_word_is_refused() -> None:
    """No word of SQL that would need quotes can be the schema, and each that needs none can be."""
    async with fresh_database() as dsn, connection(dsn) as opened:
        words = await opened.fetch("SELECT word, catcode IN ('R', 'T') FROM pg_get_keywords()")
    assert len(words) > 400
    wrong = [word for word, reserved in words if (re.fullmatch(SCHEMA, word) is None) is not reserved]
    assert wrong == []
