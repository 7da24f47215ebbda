"""The client of a campaign: it enqueues, and journals what it asked for and what it was told.

As a program it can be killed: `python -m tests.soak.enqueuing DSN FOLDER SEED FIRST`.
"""

from __future__ import annotations

import itertools
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import uvloop

from supervisor import Client
from supervisor.errors import DatabaseUnavailable
from tests.soak.ledger import Ledger
from tests.soak.pause import pause

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

KEYS: Final = 40
"""So many unique keys are used, again and again."""
BATCH: Final = 50

USUAL: Final[Mapping[str, tuple[float, int]]] = {
    "note": (0.0, 0),
    "linger": (0.6, 0),
    "order": (0.1, 0),
    "ship": (0.1, 0),
    "ledger": (0.1, 0),
    "flaky": (0.05, 1),
    "nap": (0.0, 0),
    "late": (0.0, 0),
    "crunch": (0.2, 0),
}
"""Kinds that harm nobody, with the seconds that they take and the attempts that are to fail."""


class Enqueuing:
    """Enqueues jobs that have a token each, by which they are known whatever the answer."""

    def __init__(self, client: Client, ledger: Ledger, tokens: Iterator[int]) -> None:
        self._client = client
        self._ledger = ledger
        self._tokens = tokens

    async def one(self, kind: str, seconds: float = 0.0, failures: int = 0, *, key: str | None = None) -> int | None:
        """Enqueue a job; return its id, None if it was not enqueued or nobody knows."""
        token = next(self._tokens)
        self._ledger.write("asked", text=f"{token} {kind} {key or '-'} -")
        try:
            made = await self._client.enqueue(
                kind, {"token": token, "seconds": seconds, "failures": failures}, unique_key=key
            )
        except DatabaseUnavailable as error:
            self._ledger.write("unknown" if error.unknown else "refused-enqueue", text=str(token))
            return None
        self._ledger.write("acked" if made.created else "standing", made.id, text=str(token))
        return made.id

    async def many(self, kind: str, count: int, *, keys: Sequence[str] | None = None) -> None:
        """Enqueue jobs together: with COPY if they have no keys."""
        tokens = list(itertools.islice(self._tokens, count))
        names = dict(zip(tokens, keys, strict=True)) if keys is not None else None
        for token in tokens:
            self._ledger.write("asked", text=f"{token} {kind} {names[token] if names else '-'} {tokens[0]}")

        def key_of(args: object) -> str:
            assert isinstance(args, dict)
            assert names is not None
            return names[args["token"]]

        try:
            made = await self._client.enqueue_many(
                kind, [{"token": token} for token in tokens], unique_key=key_of if names else None
            )
        except DatabaseUnavailable as error:
            for token in tokens:
                self._ledger.write("unknown" if error.unknown else "refused-enqueue", text=str(token))
            return
        for token, job in zip(tokens, made.ids, strict=True):
            self._ledger.write("acked" if names is None else "batched", job, text=str(token))

    async def usual(self, rng: random.Random) -> None:
        """Enqueue a job of a kind that harms nobody."""
        kind = rng.choice(sorted(USUAL))
        await self.one(kind, *USUAL[kind])

    async def any_way(self, rng: random.Random) -> None:
        """Enqueue in one of the four ways: alone or together, with a key or without."""
        match rng.randrange(4):
            case 0:
                await self.one("note")
            case 1:
                await self.one("note", key=f"key-{rng.randrange(KEYS)}")
            case 2:
                await self.many("note", rng.randint(1, BATCH))
            case _:
                names = [f"key-{rng.randrange(KEYS)}" for _ in range(rng.randint(1, BATCH))]
                await self.many("note", len(names), keys=names)


async def main(dsn: str, folder: Path, seed: int, first: int) -> None:
    """Enqueue until killed."""
    rng = random.Random(seed)  # noqa: S311 - repeatable, not secret
    async with Client(dsn) as client:
        enqueuing = Enqueuing(client, Ledger(folder), itertools.count(first))
        while True:
            await enqueuing.any_way(rng)
            await pause(rng.uniform(0.0, 0.003))


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
