"""PostgreSQL, the one store: the only folder that writes SQL or imports asyncpg."""
