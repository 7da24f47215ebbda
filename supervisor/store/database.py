"""The way to the database: links from a pool for short use, links of one's own, and whether it is out of reach."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from supervisor.errors import DatabaseUnavailable, StatementRefused
from supervisor.store.link import WITHIN, connect
from supervisor.store.outage import Outage
from supervisor.store.pool import Pool, PoolUse
from supervisor.store.schema_name import DEFAULT_SCHEMA, check_schema

if TYPE_CHECKING:
    from supervisor.store.link import Link
    from supervisor.store.pool import Lending

_CHECK: Final = "SELECT id, current_setting('transaction_isolation') AS isolation FROM supervisor.installation"
_NOT_MIGRATED: Final = frozenset({"3F000", "42P01"})
_NOT_ALLOWED: Final = "42501"


class Database:
    """A database with our schema in it.

    If there is a `direct_url`, the first URL leads through a transaction pooler, and the direct one past it. `name` is
    the application_name in PostgreSQL; `most` is how many links the pool has at most.
    """

    def __init__(
        self,
        url: str,
        *,
        direct_url: str | None = None,
        schema: str = DEFAULT_SCHEMA,
        name: str = "supervisor",
        most: int = 8,
    ) -> None:
        self.schema: Final = check_schema(schema)
        self.name: Final = name
        self.outage: Final = Outage()
        self.installation = ""
        """The id of the schema's installation, once it is open."""
        self._url = url
        self._direct_url: Final = direct_url
        self._most: Final = most
        self._pool: Pool | None = None

    def __repr__(self) -> str:
        return f"<Database schema={self.schema} pool={self._pool}>"

    def move_to(self, url: str) -> None:
        """Take this URL for every connection from now on: that of a server which we started ourselves."""
        self._url = url

    async def open(self, within: float = WITHIN) -> None:
        """Connect, and check that our schema is there.

        Raises:
            ConfigError: a URL cannot be understood.
            DatabaseUnavailable: the database cannot be reached now.
            StatementRefused: it refuses us, or our schema is not there; the hint is the remedy.

        """
        pool = Pool(self._connect, self._most)
        try:
            async with pool.lend(within) as link:
                self.installation = await self._check(link, within)
        except BaseException:
            await pool.close(0.0)
            raise
        self._pool = pool

    def connection(self, within: float = WITHIN) -> Lending:
        """Lend a link for the length of a block.

        Entering it raises DatabaseUnavailable if there is none within that many seconds; it says who has them.
        """
        if self._pool is None:
            raise DatabaseUnavailable("the connections to the database are not open")
        return self._pool.lend(within)

    @property
    def use(self) -> PoolUse:
        """How the pool is used now; may be read from any thread."""
        return PoolUse(0, 0, 0, self._most) if self._pool is None else self._pool.use

    async def dedicated(self, purpose: str, *, direct: bool = False, within: float = WITHIN) -> Link:
        """Open a link of one's own, on whatever event loop runs here; who asked for it closes it.

        `direct`: past the pooler, as LISTEN and everything else that lives in a session needs. Raises as `connect`.
        """
        if direct and self._direct_url is not None:
            url, setting, pooler = self._direct_url, "direct_database_url", False
        else:
            url, setting, pooler = self._url, "database_url", self._direct_url is not None
        name = f"{self.name} {purpose}".rstrip()
        return await connect(url, schema=self.schema, name=name, pooler=pooler, within=within, setting=setting)

    async def close(self, within: float = 5.0) -> None:
        """Close the pool; links that are lent have so many seconds to come back before they are ended."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close(within)

    async def _connect(self, within: float) -> Link:
        return await self.dedicated("", within=within)

    async def _check(self, link: Link, within: float) -> str:
        try:
            row = await link.fetchrow(_CHECK, within=within)
        except StatementRefused as error:
            if error.sqlstate in _NOT_MIGRATED:
                text = f"the database has no schema {self.schema} of this version"
                raise StatementRefused(error.sqlstate, text, "run: python -m supervisor migrate") from None
            if error.sqlstate == _NOT_ALLOWED:
                hint = f"GRANT this user the rights on the schema {self.schema}, or use the user who migrated it"
                raise StatementRefused(error.sqlstate, error.message, hint) from None
            raise
        if row is None:
            raise StatementRefused("02000", f"the table {self.schema}.installation is empty", "restore its one row")
        if row["isolation"] != "read committed":
            raise StatementRefused(
                "25000",
                f"transactions are {row['isolation']} here, and through a pooler that cannot be set for a connection",
                "ALTER ROLE or ALTER DATABASE … SET default_transaction_isolation = 'read committed'",
            )
        return str(row["id"])
