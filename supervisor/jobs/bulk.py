"""Checks and encodes the arguments of many jobs, in chunks, before anything of a chunk is written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from supervisor.errors import EnqueueRefused, InvalidPayload
from supervisor.jobs.enqueue_options import checked_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from supervisor.jobs.enqueue_target import Target

A = TypeVar("A")

CHUNK: Final = 10_000
"""Jobs that are written at once, and of a stream in one transaction."""

_SLICE: Final = 500
"""Jobs that are encoded before others get a turn on the event loop: about a millisecond."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Arguments as JSON, and the keys if they have any; the first was `args[start]` of the call."""

    start: int
    texts: list[str]
    keys: list[str] | None

    def __len__(self) -> int:
        return len(self.texts)

    def parts(self) -> Iterator[Chunk]:
        """Cut it into chunks of the usual size."""
        for place in range(0, len(self), CHUNK):
            piece = slice(place, place + CHUNK)
            yield Chunk(self.start + place, self.texts[piece], None if self.keys is None else self.keys[piece])


class Arguments(Generic[A]):
    """The arguments of one call, taken from whatever the caller gave.

    Raises InvalidPayload and EnqueueRefused, with the place of what cannot be enqueued.
    """

    __slots__ = ("_items", "_key", "_place", "_target", "is_whole")

    def __init__(
        self, target: Target[A], args: Iterable[A] | AsyncIterable[A], unique_key: Callable[[A], str] | None
    ) -> None:
        self._target = target
        self._key = unique_key
        self._place = 0
        self.is_whole = isinstance(args, Collection)
        """Whether the caller has all of them at hand."""
        self._items: Iterator[A] | AsyncIterator[A]
        if isinstance(args, str | bytes | bytearray | Mapping):
            raise self._no_collection(args)
        if isinstance(args, Collection):
            self._items = iter(tuple(args))  # nobody adds to it, or takes from it, while it is encoded
        elif isinstance(args, AsyncIterable):
            self._items = aiter(args)
        elif isinstance(args, Iterable):
            self._items = iter(args)
        else:
            raise self._no_collection(args)

    async def all(self) -> Chunk:
        """Encode everything."""
        return await self.chunk(None)

    async def chunk(self, most: int | None = CHUNK) -> Chunk:
        """Encode the next `most` jobs; there are fewer only at the end."""
        made = Chunk(self._place, [], None if self._key is None else [])
        while most is None or len(made) < most:
            size = _SLICE if most is None else min(_SLICE, most - len(made))
            taken = await self._take(size)
            self._encode(taken, made)
            if len(taken) < size:
                break
            await asyncio.sleep(0)
        self._place += len(made)
        return made

    async def _take(self, most: int) -> list[A]:
        if not isinstance(self._items, AsyncIterator):
            return list(islice(self._items, most))
        taken: list[A] = []
        async for item in self._items:
            taken.append(item)
            if len(taken) == most:
                break
        return taken

    def _encode(self, items: list[A], made: Chunk) -> None:
        texts, at_once = made.texts, self._target.encode_many(items)
        try:
            if at_once is not None:
                texts.extend(at_once)
            else:
                for item in items:
                    texts.append(self._target.encode(item))  # one by one: the length says where it stopped
        except InvalidPayload as error:
            place = f"args[{made.start + len(texts)}]{error.path.removeprefix('args')}"
            raise InvalidPayload(error.kind, place, error.reason, error.remedy) from error.__cause__
        if self._key is not None and made.keys is not None:
            for item in items:
                made.keys.append(self._checked_key(self._key(item), made.start + len(made.keys)))

    def _checked_key(self, key: object, place: int) -> str:
        try:
            return checked_key(self._target.kind, key)
        except EnqueueRefused as error:
            raise EnqueueRefused(f"args[{place}]: {error}") from None

    def _no_collection(self, args: object) -> EnqueueRefused:
        return EnqueueRefused(
            f"job {self._target.kind!r}: args is one {type(args).__name__}, not many arguments; "
            "pass a list of them, or call enqueue"
        )
