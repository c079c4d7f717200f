"""How the items of a run become shards, and the directory of their journals.

With journals, the key of an item says which of them it is in, whatever order the items come in and however many
workers there are: an item that an earlier run has sent is found again, and one that comes twice is sent once.
"""

import asyncio
import contextlib
import re
import zlib
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
from io import FileIO
from pathlib import Path
from typing import Final, Generic, Self, TypeVar

import attrs

from ..bulk.locks import try_lock
from ..errors import InvalidArgumentError

__all__ = ["Directory", "Shard", "Sharder"]

Item = TypeVar("Item")

_TURN: Final = 1000
"""Items that are read before others of the loop have a turn."""
_HEAD: Final = re.compile(rb"shards: ([1-9][0-9]{0,8})\n")


@attrs.frozen
class Directory:
    """The journals of a run: one for each part of the keys. An open directory belongs to one run.

    Attributes:
        parts: how many journals there are.
    """

    path: Path
    parts: int
    _lock: FileIO

    @classmethod
    def open(cls, path: Path, parts: int) -> Self:
        """Lock the directory, which is made if it is not there.

        Args:
            path: where it is.
            parts: how many journals a new one has.

        Raises:
            InvalidArgumentError: another run has it.
            OSError: it cannot be read or written.
        """
        path.mkdir(parents=True, exist_ok=True)
        lock = FileIO(path / "shards.txt", "a+")
        try:
            return cls(path, _parts_of(lock, path, parts), lock)
        except BaseException:
            lock.close()
            raise

    def journal(self, part: int) -> Path:
        """The journal of a *part* of the keys."""
        return self.path / f"shard-{part:03}-of-{self.parts:03}.jsonl"

    def close(self) -> None:
        """Let others have the directory."""
        self._lock.close()


def _parts_of(lock: FileIO, path: Path, parts: int) -> int:
    if not try_lock(lock):
        raise InvalidArgumentError(f"journal: another run has {path}")
    lock.seek(0)
    if head := _HEAD.fullmatch(lock.read()):
        return int(head[1])
    # It is new, or was made by a run that was killed at once.
    if any(path.glob("shard-*.jsonl")):
        raise InvalidArgumentError(f"journal: {path / 'shards.txt'} does not say how many shards there are")
    lock.truncate(0)
    lock.write(b"shards: %d\n" % parts)
    return parts


@attrs.frozen(eq=False)
class Shard(Generic[Item]):
    """Items that go to a worker together."""

    number: int
    part: int
    """The part of the keys that all of them are in."""
    keys: list[str]
    items: list[Item]


class Sharder(Generic[Item]):
    """Cuts *items* into shards, no faster than there is room for them.

    Args:
        items: taken as there is room.
        key: tells the key of the item at a position.
        parts: into how many parts the keys are divided. Of one part there is never more than one shard about, as
            there is one journal; None for a run without, which has no parts.
        size: how many items a shard has, at most.
        room: how many shards may be about.
    """

    def __init__(
        self,
        items: Iterable[Item] | AsyncIterable[Item],
        key: Callable[[Item, int], str],
        parts: int | None,
        size: Callable[[], int],
        room: Callable[[], int],
    ) -> None:
        self._items = items
        self._key = key
        self._parts = parts
        self._size = size
        self._room = room
        self._cut = 0
        self._about: list[int] = []
        """The parts of the shards that were given and not settled."""
        self._changed = asyncio.Event()

    async def shards(self) -> AsyncGenerator[Shard[Item], None]:
        """Give the shards."""
        filling: dict[int, Shard[Item]] = {}
        position = 0
        async with contextlib.aclosing(_each(self._items)) as items:
            async for item in items:
                key = self._key(item, position)
                position += 1
                part = 0 if self._parts is None else zlib.crc32(key.encode("utf-8", "surrogatepass")) % self._parts
                if (shard := filling.get(part)) is None:
                    shard = filling[part] = Shard(self._cut, part, [], [])
                    self._cut += 1
                shard.keys.append(key)
                shard.items.append(item)
                if len(shard.items) >= self._size():
                    yield await self._next({part: filling.pop(part)})
        while filling:
            shard = await self._next(filling)
            del filling[shard.part]
            yield shard

    async def _next(self, shards: dict[int, Shard[Item]]) -> Shard[Item]:
        """Wait for room for one of *shards*."""
        while True:
            free = None if self._parts is None else shards.keys() - set(self._about)
            if len(self._about) < self._room() and free != set():
                part = next(iter(shards if free is None else free))
                self._about.append(part)
                return shards[part]
            self._changed.clear()
            await self._changed.wait()

    def settle(self, shard: Shard[Item]) -> None:
        """Make room, as a *shard* has come to its end."""
        self._about.remove(shard.part)
        self._changed.set()

    def look(self) -> None:
        """Look again how much room there is."""
        self._changed.set()


async def _each(items: Iterable[Item] | AsyncIterable[Item]) -> AsyncGenerator[Item, None]:
    if not isinstance(items, AsyncIterable):
        for number, item in enumerate(items, 1):
            yield item
            if not number % _TURN:
                await asyncio.sleep(0)
        return
    source = aiter(items)
    try:
        async for item in source:
            yield item
    finally:
        if source is not items and isinstance(source, AsyncGenerator):
            await source.aclose()
